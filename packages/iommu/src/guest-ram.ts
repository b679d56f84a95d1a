/** What the core needs of guest memory: pages to give out, and bytes to move. */

/** Guest memory by page number and offset. Pages given out lie one behind the other and are cleared. */
export interface GuestRam {
  /** The first and last page of it. */
  readonly firstPage: number;
  readonly lastPage: number;
  /** Takes pages; returns the first, or -1 if there are none. */
  allocatePages(pageCount: number): number;
  /** Takes back what {@link allocatePages} gave. */
  freePages(startPage: number): void;
  /** Copies within guest memory; the ranges may lie anywhere in it and do not overlap. */
  copy(
    fromPage: number,
    fromOffset: number,
    toPage: number,
    toOffset: number,
    sizeBytes: number,
  ): void;
  /** Sets bytes to 0. */
  clear(page: number, offset: number, sizeBytes: number): void;
}
