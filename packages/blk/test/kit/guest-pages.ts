/** Guest memory with an allocator that knows what is taken, and gives pages that are never where one expects them. */

import { guestPhysical } from '@viommu/common';
import { SharedMemory } from '@viommu/ring';

const PAGE = 4096;
export const BASE = 0x4000_0000n;
export const BASE_PAGE: number = Number(BASE) / PAGE;

export class GuestPages {
  readonly memory: SharedMemory;
  readonly bytes: Uint8Array;
  readonly pages: number;
  readonly #taken = new Map<number, number>();
  readonly #used: Uint8Array;

  constructor(buffer: SharedArrayBuffer, offset: number, sizeBytes: number) {
    this.memory = new SharedMemory({ buffer, offset, size: sizeBytes, base: guestPhysical(BASE) });
    this.bytes = new Uint8Array(buffer, offset, sizeBytes);
    this.pages = sizeBytes / PAGE;
    this.#used = new Uint8Array(this.pages);
  }

  /** Pages in use. */
  get inUse(): number {
    return this.#used.reduce((sum, used) => sum + used, 0);
  }

  /** Takes pages in a row, cleared; -1 if there are none. */
  take(count: number): number {
    for (let first = 0; first + count <= this.pages; first += 1) {
      if (this.#used.subarray(first, first + count).some((used) => used === 1)) continue;
      this.#used.fill(1, first, first + count);
      this.#taken.set(first, count);
      this.bytes.fill(0, first * PAGE, (first + count) * PAGE);
      return BASE_PAGE + first;
    }
    return -1;
  }

  give(page: number): void {
    const first = page - BASE_PAGE;
    const count = this.#taken.get(first);
    if (count === undefined) throw new Error('gave back pages that were not taken');
    this.#taken.delete(first);
    this.#used.fill(0, first, first + count);
  }

  /** The bytes at an offset in a page. */
  at(page: number, offset: number, length: number): Uint8Array {
    const from = (page - BASE_PAGE) * PAGE + offset;
    return this.bytes.subarray(from, from + length);
  }
}
