/** Pages that processor and device use at the same time: taken from guest memory, and shown to the host if need be. */

import { IommuError, PAGE_SIZE } from '@viommu/common';
import type { GuestRam } from './guest-ram.ts';
import type { CoreLog } from './log.ts';

/** How a protected guest lets its host touch pages, and takes that back. @throws {IommuError} if it cannot */
export interface PageSharing {
  share(startPage: number, pageCount: number): void;
  unshare(startPage: number, pageCount: number): void;
}

/** Takes and gives back the pages of coherent memory. */
export class CoherentPages {
  readonly #ram: GuestRam;
  readonly #log: CoreLog;
  readonly #sharing: PageSharing | undefined;

  constructor(ram: GuestRam, log: CoreLog, sharing: PageSharing | undefined) {
    this.#ram = ram;
    this.#log = log;
    this.#sharing = sharing;
  }

  /** Pages for `sizeBytes` bytes; 0 if that is no size. */
  static countOf(sizeBytes: number): number {
    return sizeBytes > 0 ? Math.ceil(sizeBytes / PAGE_SIZE) : 0;
  }

  /** Takes cleared pages. Returns the first, or -1 if there are none. */
  take(pageCount: number): number {
    if (pageCount <= 0) return -1;
    const page = this.#ram.allocatePages(pageCount);
    if (page < 0) return -1;
    try {
      this.#sharing?.share(page, pageCount);
    } catch (error) {
      // Some of them may be shared by now.
      this.giveBack(page, pageCount);
      if (!(error instanceof IommuError)) throw error;
      return -1;
    }
    return page;
  }

  /** Gives pages back. Those that stay shared are never used again: the host could read what comes next. */
  giveBack(page: number, pageCount: number): void {
    try {
      this.#sharing?.unshare(page, pageCount);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.leak(page, pageCount);
      return;
    }
    this.#ram.freePages(page);
  }

  /** Gives pages up for good. */
  leak(page: number, pageCount: number): void {
    this.#log.warn(
      'pagesLeaked',
      `${pageCount} pages from ${page} on are given up: others may still reach them`,
    );
  }
}
