/** Which pages of guest memory are in use: first fit over a list of free stretches, the lowest address first. */

import { type GuestPhysical, IommuError, PAGE_SIZE, guestPhysical } from '@viommu/common';

/** Pages `[start, end)`, counted from the base. */
interface Stretch {
  start: number;
  end: number;
}

/** Hands out pages of one stretch of guest-physical memory. Not for two threads at once. */
export class PageAllocator {
  readonly #base: bigint;
  readonly #pages: number;
  /** In ascending order; no two touch. */
  readonly #free: Stretch[];
  /** By first page: the number of pages handed out there. */
  readonly #taken: Map<number, number> = new Map();
  /** Pages that are free. */
  freePages: number;

  /** `base` and `sizeBytes` are multiples of 4096. */
  constructor(base: GuestPhysical, sizeBytes: number) {
    this.#base = base;
    this.#pages = Math.floor(sizeBytes / PAGE_SIZE);
    this.#free = [{ start: 0, end: this.#pages }];
    this.freePages = this.#pages;
  }

  /**
   * Takes `bytes` of memory, rounded up to whole pages. What is in it is whatever was there.
   *
   * `alignment` is a power of two, at least 1; every address is a multiple of 4096 in any case.
   *
   * @throws {IommuError} `EINVAL` for a size or an alignment that is none, `ENOMEM` if no stretch is large enough.
   */
  allocate(bytes: number, alignment: number = PAGE_SIZE): GuestPhysical {
    if (!Number.isSafeInteger(bytes) || bytes <= 0)
      throw new IommuError('EINVAL', `Cannot allocate ${bytes} bytes of guest memory.`);
    if (!Number.isSafeInteger(alignment) || alignment < 1 || !isPowerOfTwo(alignment))
      throw new IommuError('EINVAL', `The alignment ${alignment} is no power of two.`);
    const count = Math.ceil(bytes / PAGE_SIZE);
    for (let index = 0; index < this.#free.length; index += 1) {
      const stretch = this.#free[index]!; // Below the length.
      const start = this.#alignUp(stretch.start, alignment);
      if (start + count > stretch.end) continue;
      const rest: Stretch[] = [
        { start: stretch.start, end: start },
        { start: start + count, end: stretch.end },
      ];
      this.#free.splice(index, 1, ...rest.filter(({ start: from, end }) => from < end));
      this.#taken.set(start, count);
      this.freePages -= count;
      return guestPhysical(this.#base + BigInt(start) * BigInt(PAGE_SIZE));
    }
    throw new IommuError('ENOMEM', `No ${count} free pages of guest memory in one piece.`);
  }

  /**
   * Gives back what {@link allocate} returned.
   *
   * @throws {IommuError} `EINVAL` if the address is not the start of something allocated.
   */
  free(address: GuestPhysical): void {
    const offset = address - this.#base;
    const start = Number(offset / BigInt(PAGE_SIZE));
    const count = offset % BigInt(PAGE_SIZE) === 0n ? this.#taken.get(start) : undefined;
    if (count === undefined)
      throw new IommuError('EINVAL', `Nothing was allocated at 0x${address.toString(16)}.`);
    this.#taken.delete(start);
    this.freePages += count;
    const found = this.#free.findIndex((stretch) => stretch.start > start);
    const index = found < 0 ? this.#free.length : found;
    const before = this.#free[index - 1];
    const after = this.#free[index];
    const merged = { start, end: start + count };
    let from = index;
    let replaced = 0;
    if (before?.end === merged.start) {
      merged.start = before.start;
      from -= 1;
      replaced += 1;
    }
    if (after?.start === merged.end) {
      merged.end = after.end;
      replaced += 1;
    }
    this.#free.splice(from, replaced, merged);
  }

  /** The first page from `page` on whose address is a multiple of `alignment`. */
  #alignUp(page: number, alignment: number): number {
    if (alignment <= PAGE_SIZE) return page;
    const unit = alignment / PAGE_SIZE;
    const base = Number((this.#base / BigInt(PAGE_SIZE)) % BigInt(unit));
    return Math.ceil((page + base) / unit) * unit - base;
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}
