/**
 * The mappings of one domain as the guest knows them, in order of their pages.
 *
 * A sorted list cut into chunks of up to 64: finding, adding and removing touch one or two chunks and a short list of
 * them. Everything is page numbers in typed arrays, so that nothing is allocated per mapping. What an operation finds
 * is kept as a position in two small integers and read from there.
 */

import { assert } from '@viommu/common';

const CAPACITY = 64;
/** A chunk joins its neighbour when the two would fill no more than this. */
const JOIN_MAX = CAPACITY / 2;
/** Empty chunks kept for later. */
const SPARE_MAX = 16;
// Columns of a chunk, one behind the other.
const START = 0;
const LAST = CAPACITY;
const PHYS = 2 * CAPACITY;

/** What {@link MappingTree.forEach} calls: pages inclusive, flags as in a MAP request. */
export type MappingVisitor = (
  startPage: number,
  lastPage: number,
  physPage: number,
  flags: number,
) => void;

/** Mappings that do not overlap. Pages are whole numbers, 0..2^52 - 1; ends are inclusive. */
export class MappingTree {
  /** Mappings in the tree. */
  size = 0;
  /** Never without an entry, except that an empty tree has no chunk. */
  readonly #chunks: Chunk[] = [];
  readonly #spare: Chunk[] = [];
  /** Where the last search ended: the mapping with the greatest start up to the page searched for. */
  #chunk = 0;
  #entry = 0;

  /** How many chunks the mappings fill; what memory grows with. */
  get chunkCount(): number {
    return this.#chunks.length;
  }

  /** Adds a mapping. False, and nothing changes, if it would overlap another. */
  insert(startPage: number, lastPage: number, physPage: number, flags: number): boolean {
    if (this.touches(startPage, lastPage)) return false;
    // `touches` found the mapping in front of the new one, if there is one.
    let entry = this.#entry + 1;
    let chunkAt = this.#chunk;
    if (chunkAt < 0) {
      chunkAt = 0;
      if (this.#chunks.length === 0) this.#insertChunk(0);
    }
    let chunk = this.#chunks[chunkAt]!; // Just found or made.
    if (chunk.count === CAPACITY) {
      const kept = this.#split(chunkAt, entry);
      if (entry > kept || kept === CAPACITY) {
        chunk = this.#chunks[chunkAt + 1]!; // Just made.
        entry -= kept;
      }
    }
    chunk.insert(entry, startPage, lastPage, physPage, flags);
    this.size += 1;
    return true;
  }

  /** True if a mapping has a page from `startPage` to `lastPage`. */
  touches(startPage: number, lastPage: number): boolean {
    return (
      this.#seek(lastPage) && this.#chunks[this.#chunk]!.columns[LAST + this.#entry]! >= startPage
    ); // Found.
  }

  /**
   * The end of the run of mappings, each beginning right behind the one before, that begins exactly at `startPage` and
   * stops at the first hole or at `limitPage`. -1 if no mapping begins there, or if `limitPage` would cut one of the run.
   */
  lastOfRun(startPage: number, limitPage: number): number {
    if (!this.#seek(startPage)) return -1;
    let chunkAt = this.#chunk;
    let entry = this.#entry;
    let chunk = this.#chunks[chunkAt]!; // Found.
    if (chunk.columns[START + entry] !== startPage) return -1;
    for (;;) {
      const last = chunk.columns[LAST + entry]!; // Below the count.
      if (last > limitPage) return -1;
      entry += 1;
      if (entry === chunk.count) {
        chunkAt += 1;
        entry = 0;
        const next = this.#chunks[chunkAt];
        if (next === undefined) return last;
        chunk = next;
      }
      if (last === limitPage || chunk.columns[START + entry] !== last + 1) return last;
    }
  }

  /** Removes the mappings from `startPage`, where one begins, to `lastPage`, where one ends. */
  remove(startPage: number, lastPage: number): void {
    const found = this.#seek(startPage);
    assert(found, 'a mapping begins where a removal does');
    let chunkAt = this.#chunk;
    let entry = this.#entry;
    for (let more = true; more;) {
      const chunk = this.#chunks[chunkAt];
      assert(chunk !== undefined, 'a mapping ends where a removal does');
      let end = entry;
      while (end < chunk.count && chunk.columns[LAST + end]! < lastPage) end += 1; // Below the count.
      more = end === chunk.count;
      if (!more) end += 1;
      chunk.remove(entry, end);
      this.size -= end - entry;
      if (chunk.count === 0) this.#removeChunk(chunkAt);
      else chunkAt += 1;
      entry = 0;
    }
    // At most two chunks have lost some: those in front of the hole and behind it. Three pairs have one of them.
    for (let pair = 1; pair <= 3; pair += 1) this.#join(chunkAt - pair);
  }

  /** The physical page that `page` is mapped to, or -1. */
  translate(page: number): number {
    if (!this.#seek(page)) return -1;
    const { columns } = this.#chunks[this.#chunk]!; // Found.
    const entry = this.#entry;
    if (columns[LAST + entry]! < page) return -1; // Below the count, as all entries found are.
    return columns[PHYS + entry]! + (page - columns[START + entry]!);
  }

  /** True if exactly this mapping is in the tree. */
  has(startPage: number, lastPage: number): boolean {
    if (!this.#seek(startPage)) return false;
    const { columns } = this.#chunks[this.#chunk]!; // Found.
    return columns[START + this.#entry] === startPage && columns[LAST + this.#entry] === lastPage;
  }

  /** Calls `visit` with each mapping in ascending order. It must not change the tree. */
  forEach(visit: MappingVisitor): void {
    for (const { columns, flags, count } of this.#chunks)
      for (let entry = 0; entry < count; entry += 1)
        // Below the count.
        visit(
          columns[START + entry]!,
          columns[LAST + entry]!,
          columns[PHYS + entry]!,
          flags[entry]!,
        );
  }

  /** Removes everything. */
  clear(): void {
    this.#chunks.length = 0;
    this.size = 0;
  }

  /** Finds the mapping with the greatest start up to `page`. False, with an entry of -1, if there is none. */
  #seek(page: number): boolean {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (chunks[middle]!.columns[START]! <= page) low = middle + 1; // Chunks have an entry.
      else high = middle;
    }
    this.#chunk = low - 1;
    this.#entry = low === 0 ? -1 : chunks[low - 1]!.seek(page); // Below the length.
    return low > 0;
  }

  /** Makes room in a full chunk for a new `entry`: moves entries to a new chunk behind it. Returns how many stay. */
  #split(chunkAt: number, entry: number): number {
    const full = this.#chunks[chunkAt]!; // The caller found it full.
    // Addresses are often given out in one direction: then leave full chunks full.
    let from = CAPACITY / 2;
    if (entry === CAPACITY && chunkAt === this.#chunks.length - 1) from = CAPACITY;
    else if (entry === 0 && chunkAt === 0) from = 0;
    const chunk = this.#insertChunk(chunkAt + 1);
    chunk.append(full, from);
    full.count = from;
    return from;
  }

  #insertChunk(at: number): Chunk {
    const chunk = this.#spare.pop() ?? new Chunk();
    this.#chunks.push(chunk);
    this.#chunks.copyWithin(at + 1, at, this.#chunks.length - 1);
    this.#chunks[at] = chunk;
    return chunk;
  }

  #removeChunk(at: number): void {
    const chunk = this.#chunks[at]!; // The caller emptied it.
    this.#chunks.copyWithin(at, at + 1);
    this.#chunks.pop();
    if (this.#spare.length < SPARE_MAX) this.#spare.push(chunk);
  }

  /** Joins the chunk at `at` with the one behind it if they are nearly empty. */
  #join(at: number): void {
    if (at < 0 || at + 1 >= this.#chunks.length) return;
    const chunk = this.#chunks[at]!; // Below the length, both.
    const next = this.#chunks[at + 1]!;
    if (chunk.count + next.count > JOIN_MAX) return;
    chunk.append(next, 0);
    next.count = 0;
    this.#removeChunk(at + 1);
  }
}

/** Up to {@link CAPACITY} mappings in order. */
class Chunk {
  /** First pages, last pages, first physical pages. */
  readonly columns: Float64Array = new Float64Array(3 * CAPACITY);
  readonly flags: Uint8Array = new Uint8Array(CAPACITY);
  count = 0;

  /** The last entry whose start is up to `page`, or -1. */
  seek(page: number): number {
    const { columns } = this;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (columns[START + middle]! <= page) low = middle + 1; // Below the count.
      else high = middle;
    }
    return low - 1;
  }

  insert(
    entry: number,
    startPage: number,
    lastPage: number,
    physPage: number,
    flags: number,
  ): void {
    this.#move(entry, this.count, entry + 1);
    this.columns[START + entry] = startPage;
    this.columns[LAST + entry] = lastPage;
    this.columns[PHYS + entry] = physPage;
    this.flags[entry] = flags;
    this.count += 1;
  }

  /** Removes the entries from `from` up to `end`, which stays. */
  remove(from: number, end: number): void {
    this.#move(end, this.count, from);
    this.count -= end - from;
  }

  /** Adds the entries of `other` from `from` on; they lie behind all entries here. */
  append(other: Chunk, from: number): void {
    const { count } = this;
    const end = other.count;
    for (let column = START; column <= PHYS; column += CAPACITY)
      this.columns.set(other.columns.subarray(column + from, column + end), column + count);
    this.flags.set(other.flags.subarray(from, end), count);
    this.count += end - from;
  }

  #move(from: number, end: number, to: number): void {
    if (from === end) return;
    for (let column = START; column <= PHYS; column += CAPACITY)
      this.columns.copyWithin(column + to, column + from, column + end);
    this.flags.copyWithin(to, from, end);
  }
}
