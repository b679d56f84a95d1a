/**
 * The memory under all mapping stores of a device: nodes of a B+tree in typed arrays.
 *
 * A node has room for 32 entries of 32 bytes. In a leaf an entry is one mapping; in an inner node it is a child with the
 * smallest address below it. Addresses are (page, offset), so every byte of the 64-bit space is exact whatever the
 * granule. One buffer holds all entries, seen as doubles for pages and as words for offsets; a single move shifts both.
 *
 * An entry of a leaf that was removed stays where it is, dead: its start still helps a search, and a mapping that comes to
 * its place moves nothing. Most do, since drivers map anew what they have unmapped. A word for each leaf says which
 * entries are live. Decision 0005.
 */

import { assert } from '@viommu/common';
import { bitCount, highestBit, lowBits, lowestBit } from './bit-set.ts';

/** Entries in a node. */
export const FANOUT = 32;
/** No node, or no slot. */
export const NONE = -1;
/** The entries of a leaf, one bit each: all are live. */
const ALL = -1;
/** Farther than any entry of a node is from another. */
const FAR = 2 * FANOUT;

/** How many entries are near another. */
const NEARBY = 4;

// An entry: three pages as doubles, then two words. In an inner node only the start and the child are used.
const ENTRY_DOUBLES = 4;
const ENTRY_WORDS = 8;
const START_PAGE = 0;
const LAST_PAGE = 1;
const PHYS_PAGE = 2;
const START_OFFSET_AND_FLAGS = 6;
/** `last` and `phys` offsets; or the child. */
const OFFSETS_OR_CHILD = 7;
const OFFSET_BITS = 12;
const OFFSET_MASK = 0xfff;

const NODE_DOUBLES = FANOUT * ENTRY_DOUBLES;
/** Nodes in a fresh pool, 1 KiB each. */
const NODES_MIN = 8;
/** Nodes that a pool keeps when the last one is freed. */
const NODES_KEPT = 64;
/** More than `MAPPINGS_MAX` mappings can fill, at eight to a node. */
const NODES_MAX = 1 << 20;

/** The nodes of every tree of one device. Slots and nodes are plain numbers, never reused while a tree holds them. */
export class MappingPool {
  /** Mappings in all trees. */
  mappings = 0;
  /** Nodes in use. */
  nodes = 0;

  #entries!: Float64Array; // Set by the `clear` in the constructor.
  #words!: Uint32Array; // Likewise.
  #count!: Uint8Array; // Likewise.
  /** A bit for each entry; those of inner nodes all live. */
  #live!: Int32Array; // Likewise.
  #next!: Int32Array; // Likewise.
  #previous!: Int32Array; // Likewise.
  #free: number = NONE;
  /** Nodes that were ever in use; those above have never been touched. */
  #touched = 0;

  constructor() {
    this.clear();
  }

  /** Bytes of memory held, used or not. */
  get bytes(): number {
    const perNode = 3 * Int32Array.BYTES_PER_ELEMENT + 1;
    return this.#entries.byteLength + this.#count.length * perNode;
  }

  /** Forgets every tree and gives the memory back. */
  clear(): void {
    this.mappings = 0;
    this.nodes = 0;
    this.#free = NONE;
    this.#touched = 0;
    this.#entries = new Float64Array(NODES_MIN * NODE_DOUBLES);
    this.#words = new Uint32Array(this.#entries.buffer);
    this.#count = new Uint8Array(NODES_MIN);
    this.#live = new Int32Array(NODES_MIN);
    this.#next = new Int32Array(NODES_MIN);
    this.#previous = new Int32Array(NODES_MIN);
  }

  /** An empty node, linked to nothing. */
  allocate(): number {
    let node = this.#free;
    if (node !== NONE) {
      this.#free = this.next(node);
    } else {
      node = this.#touched;
      if (node === this.#count.length) this.#grow();
      this.#touched = node + 1;
    }
    this.nodes += 1;
    this.#count[node] = 0;
    this.#live[node] = 0;
    this.#next[node] = NONE;
    this.#previous[node] = NONE;
    return node;
  }

  /** Takes a node back. The last one takes the memory of a large pool with it. */
  release(node: number): void {
    this.nodes -= 1;
    if (this.nodes === 0 && this.#count.length > NODES_KEPT) {
      assert(this.mappings === 0, 'mappings have nodes');
      this.clear();
      return;
    }
    this.#next[node] = this.#free;
    this.#free = node;
  }

  /** Entries in a node, dead ones included. */
  count(node: number): number {
    return this.#count[node]!; // A node of this pool.
  }

  /** Live entries in a node. */
  size(node: number): number {
    return bitCount(this.#live[node]!); // A node of this pool.
  }

  /** True if the entry at `index` of a leaf is live. */
  isLive(leaf: number, index: number): boolean {
    return (this.#live[leaf]! & (1 << index)) !== 0; // A node of this pool.
  }

  /** The slot of the last live entry before `index` in a leaf, or -1. */
  liveBefore(leaf: number, index: number): number {
    const live = this.#live[leaf]! & lowBits(index); // A node of this pool.
    return live === 0 ? NONE : leaf * FANOUT + highestBit(live);
  }

  /** The slot of the first live entry from `index` on in a leaf, or -1. */
  liveFrom(leaf: number, index: number): number {
    const live = this.#live[leaf]! & ~lowBits(index); // A node of this pool.
    return live === 0 ? NONE : leaf * FANOUT + lowestBit(live);
  }

  /** The leaf with the next higher addresses. */
  next(leaf: number): number {
    return this.#next[leaf]!; // A node of this pool.
  }

  /** The leaf with the next lower addresses. */
  previous(leaf: number): number {
    return this.#previous[leaf]!; // A node of this pool.
  }

  startPage(slot: number): number {
    return this.#entries[slot * ENTRY_DOUBLES + START_PAGE]!; // A slot of this pool.
  }

  startOffset(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + START_OFFSET_AND_FLAGS]! & OFFSET_MASK; // Likewise.
  }

  lastPage(slot: number): number {
    return this.#entries[slot * ENTRY_DOUBLES + LAST_PAGE]!; // Likewise.
  }

  lastOffset(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + OFFSETS_OR_CHILD]! & OFFSET_MASK; // Likewise.
  }

  physPage(slot: number): number {
    return this.#entries[slot * ENTRY_DOUBLES + PHYS_PAGE]!; // Likewise.
  }

  physOffset(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + OFFSETS_OR_CHILD]! >>> OFFSET_BITS; // Likewise.
  }

  flags(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + START_OFFSET_AND_FLAGS]! >>> OFFSET_BITS; // Likewise.
  }

  child(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + OFFSETS_OR_CHILD]!; // Likewise.
  }

  /** True if the mapping at `slot` starts at or before `offset` in `page`. */
  startsUpTo(slot: number, page: number, offset: number): boolean {
    const start = this.startPage(slot);
    return start < page || (start === page && this.startOffset(slot) <= offset);
  }

  /** True if the mapping at `slot` ends at or behind `offset` in `page`. */
  reaches(slot: number, page: number, offset: number): boolean {
    const last = this.lastPage(slot);
    return last > page || (last === page && this.lastOffset(slot) >= offset);
  }

  /** True if the mapping at `slot` ends at `offset` in `page`. */
  endsAt(slot: number, page: number, offset: number): boolean {
    return this.lastPage(slot) === page && this.lastOffset(slot) === offset;
  }

  /** True if the whole page lies between the starts of the first and the last mapping in a leaf. */
  spans(leaf: number, page: number): boolean {
    const count = this.count(leaf);
    if (count === 0) return false;
    const first = leaf * FANOUT;
    return this.startPage(first) < page && page < this.startPage(first + count - 1);
  }

  /** The index of the first entry, from `from` on, that starts behind `offset` in `page`. */
  search(node: number, from: number, page: number, offset: number): number {
    const entries = this.#entries;
    let low = from;
    let high = this.#count[node]!; // A node of this pool.
    while (low < high) {
      const middle = (low + high) >>> 1;
      const slot = node * FANOUT + middle;
      const start = entries[slot * ENTRY_DOUBLES]!; // A slot of this pool.
      if (start < page || (start === page && this.startOffset(slot) <= offset)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** What {@link search} returns for a leaf, if that is `index` or one of the next few; else -1. */
  searchNear(leaf: number, index: number, page: number, offset: number): number {
    const entries = this.#entries;
    const first = leaf * FANOUT;
    if (index === 0 || !this.startsUpTo(first + index - 1, page, offset)) return NONE;
    const end = Math.min(index + NEARBY, this.#count[leaf]!); // A node of this pool.
    for (let at = index; at < end; at += 1) {
      const start = entries[(first + at) * ENTRY_DOUBLES]!; // A slot of this pool.
      if (start > page || (start === page && this.startOffset(first + at) > offset)) return at;
    }
    return NONE;
  }

  setMapping(
    slot: number,
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
    physPage: number,
    physOffset: number,
    flags: number,
  ): void {
    const double = slot * ENTRY_DOUBLES;
    this.#entries[double + START_PAGE] = startPage;
    this.#entries[double + LAST_PAGE] = lastPage;
    this.#entries[double + PHYS_PAGE] = physPage;
    const word = slot * ENTRY_WORDS;
    this.#words[word + START_OFFSET_AND_FLAGS] = startOffset | (flags << OFFSET_BITS);
    this.#words[word + OFFSETS_OR_CHILD] = lastOffset | (physOffset << OFFSET_BITS);
  }

  setChild(slot: number, page: number, offset: number, child: number): void {
    this.#words[slot * ENTRY_WORDS + OFFSETS_OR_CHILD] = child;
    this.setStart(slot, page, offset);
  }

  setStart(slot: number, page: number, offset: number): void {
    this.#entries[slot * ENTRY_DOUBLES + START_PAGE] = page;
    this.#words[slot * ENTRY_WORDS + START_OFFSET_AND_FLAGS] = offset;
  }

  /**
   * Makes room in a leaf for a mapping that belongs at `index`, with as few moves as it takes: none if there is a dead
   * entry on either side. Returns the slot of the room, which is live from now on, or -1 if all entries are.
   */
  room(leaf: number, index: number): number {
    const live = this.#live[leaf]!; // A node of this pool.
    if (live === ALL) return NONE;
    const first = leaf * FANOUT;
    if (index > 0 && (live & (1 << (index - 1))) === 0) {
      this.#live[leaf] = live | (1 << (index - 1));
      return first + index - 1;
    }
    // Entries that were never used are behind all others, and as good as dead.
    const above = ~live & ~lowBits(index);
    const below = ~live & lowBits(index);
    const up = above === 0 ? FAR : lowestBit(above);
    const down = below === 0 ? -FAR : highestBit(below);
    if (index - 1 - down <= up - index) {
      this.#moveEntries(first + down + 1, first + index, first + down);
      this.#live[leaf] = live | (1 << down);
      return first + index - 1;
    }
    this.#moveEntries(first + index, first + up, first + index + 1);
    this.#live[leaf] = live | (1 << up);
    if (up === this.count(leaf)) this.#count[leaf] = up + 1;
    return first + index;
  }

  /** Lets a live entry die. */
  killOne(leaf: number, index: number): void {
    this.#live[leaf] = this.#live[leaf]! & ~(1 << index); // A node of this pool.
  }

  /** Lets the entries of a leaf from `index` up to `end` die. Returns how many of them were live. */
  kill(leaf: number, index: number, end: number): number {
    const live = this.#live[leaf]!; // A node of this pool.
    const left = live & (lowBits(index) | ~lowBits(end));
    this.#live[leaf] = left;
    return bitCount(live ^ left);
  }

  /** Takes the dead entries out of a leaf. */
  compact(leaf: number): void {
    const count = this.count(leaf);
    const first = leaf * FANOUT;
    let end = 0;
    for (let index = 0; index < count; index += 1) {
      if (!this.isLive(leaf, index)) continue;
      if (end < index) this.#moveEntries(first + index, first + index + 1, first + end);
      end += 1;
    }
    this.#setCount(leaf, end);
  }

  /** Makes room for a child at `index` of an inner node that is not full; what is in it then is not defined. */
  open(node: number, index: number): void {
    const count = this.count(node);
    const at = node * FANOUT + index;
    this.#moveEntries(at, node * FANOUT + count, at + 1);
    this.#setCount(node, count + 1);
  }

  /** Takes the child at `index` out of an inner node. */
  close(node: number, index: number): void {
    const count = this.count(node);
    const at = node * FANOUT + index;
    this.#moveEntries(at + 1, node * FANOUT + count, at);
    this.#setCount(node, count - 1);
  }

  /** Moves the entries of `from`, those before `index` excepted, to the end of `to`; there are no dead ones. */
  move(from: number, index: number, to: number): void {
    const count = this.count(from);
    const end = this.count(to);
    this.#moveEntries(from * FANOUT + index, from * FANOUT + count, to * FANOUT + end);
    this.#setCount(from, index);
    this.#setCount(to, end + count - index);
  }

  /** Puts `leaf` behind `before` in the order of leaves. */
  link(leaf: number, before: number): void {
    const next = this.next(before);
    this.#next[before] = leaf;
    this.#previous[leaf] = before;
    this.#next[leaf] = next;
    if (next !== NONE) this.#previous[next] = leaf;
  }

  /** Takes `leaf` out of the order of leaves. */
  unlink(leaf: number): void {
    const next = this.next(leaf);
    const previous = this.previous(leaf);
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
  }

  /** Moves the entries from slot `from` up to `end` to slot `to` and those behind it. */
  #moveEntries(from: number, end: number, to: number): void {
    if (from < end)
      this.#entries.copyWithin(to * ENTRY_DOUBLES, from * ENTRY_DOUBLES, end * ENTRY_DOUBLES);
  }

  /** All of so many entries are live. */
  #setCount(node: number, count: number): void {
    this.#count[node] = count;
    this.#live[node] = lowBits(count);
  }

  #grow(): void {
    const nodes = 2 * this.#count.length;
    assert(nodes <= NODES_MAX, 'the limit on mappings bounds the nodes');
    const entries = new Float64Array(nodes * NODE_DOUBLES);
    const words = new Uint32Array(entries.buffer);
    words.set(this.#words);
    this.#entries = entries;
    this.#words = words;
    this.#count = grown(this.#count, new Uint8Array(nodes));
    this.#live = grown(this.#live, new Int32Array(nodes));
    this.#next = grown(this.#next, new Int32Array(nodes));
    this.#previous = grown(this.#previous, new Int32Array(nodes));
  }
}

function grown<Column extends Uint8Array | Int32Array>(from: Column, to: Column): Column {
  to.set(from);
  return to;
}
