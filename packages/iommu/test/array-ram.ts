/** Guest memory of a test: an array of bytes, and pages that are given out in order. */

import { PAGE_SIZE } from '@viommu/common';
import type { GuestRam } from '../src/guest-ram.ts';

/** Gives out the lowest pages that are free. What it is asked to copy or clear has to lie inside. */
export class ArrayRam implements GuestRam {
  readonly firstPage: number;
  readonly lastPage: number;
  readonly #bytes: Uint8Array;
  readonly #taken: Map<number, number> = new Map();
  /** Bytes moved by {@link copy}. */
  copied = 0;

  constructor(firstPage: number, pageCount: number) {
    this.firstPage = firstPage;
    this.lastPage = firstPage + pageCount - 1;
    this.#bytes = new Uint8Array(pageCount * PAGE_SIZE);
  }

  /** Pages given out and not taken back. */
  get pagesTaken(): number {
    return [...this.#taken.values()].reduce((sum, count) => sum + count, 0);
  }

  allocatePages(pageCount: number): number {
    let page = this.firstPage;
    for (const [start, count] of [...this.#taken].toSorted(([a], [b]) => a - b)) {
      if (start - page >= pageCount) break;
      page = start + count;
    }
    if (page + pageCount - 1 > this.lastPage) return -1;
    this.#taken.set(page, pageCount);
    this.clear(page, 0, pageCount * PAGE_SIZE);
    return page;
  }

  freePages(startPage: number): void {
    if (!this.#taken.delete(startPage)) throw new Error(`page ${startPage} was not given out`);
  }

  copy(fromPage: number, fromOffset: number, toPage: number, toOffset: number, size: number): void {
    this.copied += size;
    this.bytes(toPage, toOffset, size).set(this.bytes(fromPage, fromOffset, size));
  }

  clear(page: number, offset: number, sizeBytes: number): void {
    this.bytes(page, offset, sizeBytes).fill(0);
  }

  /** The bytes themselves. */
  bytes(page: number, offset: number, sizeBytes: number): Uint8Array {
    const at = (page - this.firstPage) * PAGE_SIZE + offset;
    if (!(at >= 0 && sizeBytes >= 0 && at + sizeBytes <= this.#bytes.length))
      throw new Error(`${sizeBytes} bytes at page ${page}+${offset} are not memory`);
    return this.#bytes.subarray(at, at + sizeBytes);
  }
}
