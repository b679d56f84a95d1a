/**
 * Positions that stand for addresses of a device: small integers for ranges that may lie anywhere in 64 bits.
 *
 * A position has the same offset in its page as the address it stands for, and positions side by side stand for
 * addresses side by side. There are two kinds. *Areas* are what queues are made of; they keep their positions until
 * everything is forgotten. *Buffers* belong to one chain; they keep theirs until the next chain is taken.
 */

import { PAGE_MAX, PAGE_SIZE, pageOfWords } from '@viommu/common';

const PAGE_SHIFT = 12;
/** Pages of areas, in all: eight queues of the largest size have some 2000. */
const AREA_PAGES_MAX = 8192;
/** Buffers come behind the areas and before this, so that a position stays below 2^31. */
const PAGES_MAX = 0x8_0000;
const NONE = -1;

/** The positions of one device. */
export class PositionTable {
  /** By page of positions: the page of addresses. */
  #areas: Float64Array = new Float64Array(64);
  #areaCount = 0;
  /** The areas, for one that comes back: its first page of positions, and its pages. */
  readonly #known: (readonly [first: number, pages: number])[] = [];
  /** By buffer, in ascending order: its first page of positions, and the page of addresses that begins there. */
  #buffers: Int32Array = new Int32Array(64);
  #bufferPages: Float64Array = new Float64Array(64);
  #bufferCount = 0;
  #nextBuffer = AREA_PAGES_MAX;
  /** The buffer found last: they are mostly used in a row. */
  #hint = 0;

  /** A position for `length` bytes at `high:low` that lasts; -1 if they leave 64 bits, or there are too many areas. */
  area(low: number, high: number, length: number): number {
    const offset = low & (PAGE_SIZE - 1);
    const page = pageOfWords(low, high);
    const pages = pagesOf(page, offset, length);
    if (pages === NONE) return NONE;
    for (const [first, count] of this.#known)
      if (count >= pages && this.#areas[first] === page) return (first << PAGE_SHIFT) | offset;
    const first = this.#areaCount;
    if (pages > AREA_PAGES_MAX - first) return NONE;
    while (this.#areas.length < first + pages) this.#areas = grown(this.#areas);
    for (let index = 0; index < pages; index += 1) this.#areas[first + index] = page + index;
    this.#areaCount = first + pages;
    this.#known.push([first, pages]);
    return (first << PAGE_SHIFT) | offset;
  }

  /** A position that lasts until {@link dropBuffers}; -1 if the bytes leave 64 bits, or a chain has nearly 2 GiB. */
  buffer(low: number, high: number, length: number): number {
    const offset = low & (PAGE_SIZE - 1);
    const page = pageOfWords(low, high);
    const pages = pagesOf(page, offset, length);
    if (pages === NONE || pages > PAGES_MAX - this.#nextBuffer) return NONE;
    const index = this.#bufferCount;
    if (index === this.#buffers.length) {
      const buffers = new Int32Array(2 * index);
      buffers.set(this.#buffers);
      this.#buffers = buffers;
      this.#bufferPages = grown(this.#bufferPages);
    }
    const first = this.#nextBuffer;
    this.#buffers[index] = first;
    this.#bufferPages[index] = page;
    this.#bufferCount = index + 1;
    this.#nextBuffer = first + pages;
    return (first << PAGE_SHIFT) | offset;
  }

  /** The positions of all buffers become meaningless. */
  dropBuffers(): void {
    this.#bufferCount = 0;
    this.#hint = 0;
    // Where the last buffers ended the next ones begin, so that a stale position is noticed; now and then from the start.
    if (this.#nextBuffer >= PAGES_MAX >>> 1) this.#nextBuffer = AREA_PAGES_MAX;
  }

  /** Drops areas and buffers. */
  forget(): void {
    this.dropBuffers();
    this.#nextBuffer = AREA_PAGES_MAX;
    this.#areaCount = 0;
    this.#known.length = 0;
  }

  /** The page of addresses behind a page of positions; -1 if that is none. */
  pageAt(positionPage: number): number {
    if (positionPage < this.#areaCount) return this.#areas[positionPage]!; // Below the count.
    let index = this.#hint;
    if (!this.#holds(index, positionPage)) {
      index = this.#holds(index + 1, positionPage) ? index + 1 : this.#search(positionPage);
      if (index === NONE) return NONE;
      this.#hint = index;
    }
    return this.#bufferPages[index]! + (positionPage - this.#buffers[index]!); // A buffer.
  }

  #holds(index: number, positionPage: number): boolean {
    return (
      index < this.#bufferCount &&
      this.#buffers[index]! <= positionPage && // Below the count, as the next.
      positionPage < this.#endOf(index)
    );
  }

  #endOf(index: number): number {
    return index + 1 < this.#bufferCount ? this.#buffers[index + 1]! : this.#nextBuffer; // Below the count.
  }

  /** The buffer that a page of positions belongs to. */
  #search(positionPage: number): number {
    let low = 0;
    let high = this.#bufferCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#buffers[middle]! <= positionPage) low = middle + 1; // Below the count.
      else high = middle;
    }
    return low > 0 && positionPage < this.#endOf(low - 1) ? low - 1 : NONE;
  }
}

/** Pages that a range touches; -1 if it leaves 64 bits. */
function pagesOf(page: number, offset: number, length: number): number {
  const pages = Math.floor((offset + Math.max(length, 1) - 1) / PAGE_SIZE) + 1;
  return page + pages - 1 > PAGE_MAX ? NONE : pages;
}

function grown(pages: Float64Array): Float64Array {
  const more = new Float64Array(2 * pages.length);
  more.set(pages);
  return more;
}
