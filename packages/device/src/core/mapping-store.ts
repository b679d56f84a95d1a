/**
 * The mappings of one domain: a B+tree over a shared {@link MappingPool}, ordered by start address.
 *
 * Mappings never overlap, are never merged and never cut, as the standard has it. Search, insertion and removal take a
 * walk from the root; leaves are linked, so a range of mappings is a walk along them. A store filled from either end, as
 * guests do, leaves full nodes behind. A node below half its room joins a neighbour where both fit, so that a node
 * has eight entries on average at the very least, whatever was mapped and unmapped before.
 */

import { assert } from '@viommu/common';
import { LEVELS_MAX, MappingPath } from './mapping-path.ts';
import { FANOUT, type MappingPool, NONE } from './mapping-pool.ts';

/** A node with fewer entries looks for a neighbour to join. */
const HALF = FANOUT / 2;
/** Two neighbours join if they have no more than this together, so that the next insertion does not split them again. */
const JOINED_MAX = 24;

/** Where a full node is cut: in the middle, or at the edge of the tree where it grows. */
type Growth = 'inside' | 'low end' | 'high end';

/** Mappings in order, without overlap. A *slot* names one mapping until the next change of any store of the pool. */
export class MappingStore {
  /** Mappings in this store. */
  size = 0;

  readonly #pool: MappingPool;
  #root: number = NONE;
  /** Levels above the leaves. */
  #height = 0;
  /** The way that was walked last. */
  readonly #path: MappingPath;

  constructor(pool: MappingPool) {
    this.#pool = pool;
    this.#path = new MappingPath(pool);
  }

  /** Nodes that a search visits. */
  get levels(): number {
    return this.#root === NONE ? 0 : this.#height + 1;
  }

  /** The slot of the mapping that holds the byte at `offset` in `page`, or -1. */
  find(page: number, offset: number): number {
    const slot = this.#startingUpTo(page, offset);
    return slot !== NONE && this.#pool.reaches(slot, page, offset) ? slot : NONE;
  }

  /** The slot of the lowest mapping, or -1. */
  first(): number {
    let node = this.#root;
    if (node === NONE) return NONE;
    for (let level = this.#height; level > 0; level -= 1) node = this.#pool.child(node * FANOUT);
    return this.#pool.liveFrom(node, 0);
  }

  /** The slot of the mapping that follows the one at `slot`, or -1. */
  next(slot: number): number {
    const leaf = Math.floor(slot / FANOUT);
    return this.#at(leaf, slot + 1 - leaf * FANOUT);
  }

  /** The slot of the lowest mapping that touches the range, or -1. */
  firstOverlap(
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
  ): number {
    const pool = this.#pool;
    let slot = this.#startingUpTo(startPage, startOffset);
    if (slot === NONE) slot = this.first();
    else if (!pool.reaches(slot, startPage, startOffset)) slot = this.next(slot);
    return slot !== NONE && pool.startsUpTo(slot, lastPage, lastOffset) ? slot : NONE;
  }

  /** True if a mapping touches the range. */
  overlaps(startPage: number, startOffset: number, lastPage: number, lastOffset: number): boolean {
    return this.firstOverlap(startPage, startOffset, lastPage, lastOffset) !== NONE;
  }

  /** Adds a mapping. False, and nothing changes, if it would touch one that is there. */
  insert(
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
    physPage: number,
    physOffset: number,
    flags: number,
  ): boolean {
    const pool = this.#pool;
    if (this.#root === NONE) {
      this.#root = pool.allocate();
      this.#height = 0;
      this.#path.noted = false;
    }
    const index = this.#path.locate(this.#root, this.#height, startPage, startOffset);
    const leaf = this.#path.node[0]!; // Where the way leads.
    const before = this.#before(leaf, index);
    if (before !== NONE && pool.reaches(before, startPage, startOffset)) return false;
    const after = this.#at(leaf, index);
    if (after !== NONE && pool.startsUpTo(after, lastPage, lastOffset)) return false;
    let slot = pool.room(leaf, index);
    if (slot === NONE) {
      let growth: Growth = 'inside';
      if (index === FANOUT && after === NONE) growth = 'high end';
      else if (index === 0 && before === NONE) growth = 'low end';
      this.#split(0, index, growth, startPage, startOffset);
      slot = pool.room(this.#path.node[0]!, this.#path.index[0]!); // Where the split left the new entry.
    }
    pool.setMapping(
      slot,
      startPage,
      startOffset,
      lastPage,
      lastOffset,
      physPage,
      physOffset,
      flags,
    );
    this.size += 1;
    pool.mappings += 1;
    return true;
  }

  /** Removes the mappings inside the range. False, and nothing is removed, if the range would cut one. */
  removeInside(
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
  ): boolean {
    if (this.#root === NONE) return true;
    const index = this.#path.locate(this.#root, this.#height, startPage, startOffset) - 1;
    const leaf = this.#path.node[0]!; // Where the way leads.
    // Mostly it is one mapping that the driver made.
    if (
      !this.#startsAt(leaf, index, startPage, startOffset) ||
      !this.#pool.endsAt(leaf * FANOUT + index, lastPage, lastOffset)
    )
      return this.#removeRange(startPage, startOffset, lastPage, lastOffset);
    this.#pool.killOne(leaf, index);
    this.size -= 1;
    this.#pool.mappings -= 1;
    if (this.#pool.size(leaf) < HALF) this.#shrink(0);
    return true;
  }

  #removeRange(
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
  ): boolean {
    const pool = this.#pool;
    let checked = false;
    for (;;) {
      let index = this.#path.locate(this.#root, this.#height, startPage, startOffset);
      let leaf = this.#path.node[0]!; // Where the way leads.
      // A mapping that starts where the range does is not before it, and nothing reaches it from before.
      if (this.#startsAt(leaf, index - 1, startPage, startOffset)) index -= 1;
      else {
        if (!checked) {
          const before = this.#before(leaf, index);
          if (before !== NONE && pool.reaches(before, startPage, startOffset)) return false;
        }
        let slot = pool.liveFrom(leaf, index);
        if (slot === NONE) {
          if (!this.#path.step(this.#height)) return true;
          leaf = this.#path.node[0]!; // Where the step went.
          slot = pool.liveFrom(leaf, 0);
        }
        index = slot - leaf * FANOUT;
        if (!pool.startsUpTo(slot, lastPage, lastOffset)) return true;
      }
      const count = pool.count(leaf);
      let end = index + 1;
      while (end < count && pool.startsUpTo(leaf * FANOUT + end, lastPage, lastOffset)) end += 1;
      const next = end === count ? pool.next(leaf) : NONE;
      const more = next !== NONE && pool.startsUpTo(pool.liveFrom(next, 0), lastPage, lastOffset);
      if (!checked) {
        const final = more ? this.#startingUpTo(lastPage, lastOffset) : pool.liveBefore(leaf, end);
        if (reachesBeyond(pool, final, lastPage, lastOffset)) return false;
        checked = true;
      }
      const removed = pool.kill(leaf, index, end);
      this.size -= removed;
      pool.mappings -= removed;
      if (pool.size(leaf) < HALF) this.#shrink(0);
      if (!more) return true;
    }
  }

  /** Removes everything. */
  clear(): void {
    this.#pool.mappings -= this.size;
    this.size = 0;
    if (this.#root !== NONE) this.#releaseTree(this.#root, this.#height);
    this.#path.noted = false;
    this.#root = NONE;
    this.#height = 0;
  }

  /** The slot of the highest mapping that starts at or before `offset` in `page`, or -1. */
  #startingUpTo(page: number, offset: number): number {
    const pool = this.#pool;
    let node = this.#root;
    if (node === NONE) return NONE;
    for (let level = this.#height; level > 0; level -= 1)
      node = pool.child(node * FANOUT + pool.search(node, 1, page, offset) - 1);
    return this.#before(node, pool.search(node, 0, page, offset));
  }

  /** True if a live entry of a leaf starts at `offset` in `page`; none has the index -1. */
  #startsAt(leaf: number, index: number, page: number, offset: number): boolean {
    const pool = this.#pool;
    const slot = leaf * FANOUT + index;
    return (
      index >= 0 &&
      pool.startPage(slot) === page &&
      pool.startOffset(slot) === offset &&
      pool.isLive(leaf, index)
    );
  }

  /** The slot of the mapping before `index` in a leaf, in the leaf before if need be, or -1. */
  #before(leaf: number, index: number): number {
    const slot = this.#pool.liveBefore(leaf, index);
    if (slot !== NONE) return slot;
    const previous = this.#pool.previous(leaf);
    return previous === NONE ? NONE : this.#pool.liveBefore(previous, FANOUT);
  }

  /** The slot of the mapping at `index` in a leaf or behind it, in the next leaf if need be, or -1. */
  #at(leaf: number, index: number): number {
    const slot = this.#pool.liveFrom(leaf, index);
    if (slot !== NONE) return slot;
    const next = this.#pool.next(leaf);
    return next === NONE ? NONE : this.#pool.liveFrom(next, 0);
  }

  /**
   * Cuts the full node of the noted way at `level`, so that an entry starting at `offset` in `page` can go in at
   * `index`. Afterwards the way names the node and the index where it goes.
   */
  #split(level: number, index: number, growth: Growth, page: number, offset: number): void {
    const pool = this.#pool;
    this.#path.noted = false;
    const node = this.#path.node[level]!; // On the noted way.
    let kept = HALF;
    if (growth === 'high end') kept = FANOUT;
    // The child that is cut at the low end stays, and the entry goes behind it.
    else if (growth === 'low end') kept = level === 0 ? 0 : 1;
    const right = pool.allocate();
    pool.move(node, kept, right);
    if (level === 0) pool.link(right, node);
    const inRight = index > kept || kept === FANOUT;
    this.#path.node[level] = inRight ? right : node;
    this.#path.index[level] = inRight ? index - kept : index;
    if (kept === FANOUT) this.#adopt(level + 1, growth, page, offset, right);
    else {
      const slot = right * FANOUT;
      this.#adopt(level + 1, growth, pool.startPage(slot), pool.startOffset(slot), right);
    }
  }

  /** Enters `child`, whose addresses start at `offset` in `page`, behind the noted child at `level`. */
  #adopt(level: number, growth: Growth, page: number, offset: number, child: number): void {
    const pool = this.#pool;
    if (level > this.#height) {
      assert(level < LEVELS_MAX, 'the limit on mappings bounds the levels');
      const root = pool.allocate();
      pool.open(root, 0);
      pool.setChild(root * FANOUT, 0, 0, this.#root);
      this.#root = root;
      this.#height = level;
      this.#path.node[level] = root;
      this.#path.index[level] = 0;
    }
    let index = this.#path.index[level]! + 1; // On the noted way.
    if (pool.count(this.#path.node[level]!) === FANOUT) {
      this.#split(level, index, growth, page, offset);
      index = this.#path.index[level]!; // Where the split left the child.
    }
    const node = this.#path.node[level]!; // Likewise.
    pool.open(node, index);
    pool.setChild(node * FANOUT + index, page, offset, child);
  }

  /** After entries of the noted node at `level` were removed: joins it with a neighbour, or frees it. */
  #shrink(level: number): void {
    const pool = this.#pool;
    const node = this.#path.node[level]!; // On the noted way.
    const count = pool.size(node);
    if (level === this.#height) {
      this.#shrinkRoot();
      return;
    }
    if (count >= HALF) return;
    const parent = this.#path.node[level + 1]!; // Likewise: the node is not the root.
    const index = this.#path.index[level + 1]!; // Likewise.
    const slot = parent * FANOUT + index;
    if (count === 0) this.#drop(level, parent, index);
    else if (
      index + 1 < pool.count(parent) &&
      count + pool.size(pool.child(slot + 1)) <= JOINED_MAX
    )
      this.#join(level, parent, index + 1);
    else if (index > 0 && count + pool.size(pool.child(slot - 1)) <= JOINED_MAX)
      this.#join(level, parent, index);
    else return;
    this.#shrink(level + 1);
  }

  #shrinkRoot(): void {
    const pool = this.#pool;
    const root = this.#root;
    if (pool.size(root) === 0) {
      this.#path.noted = false;
      this.#root = NONE;
      this.#height = 0;
      pool.release(root);
    } else if (this.#height > 0 && pool.count(root) === 1) {
      this.#path.noted = false;
      this.#root = pool.child(root * FANOUT);
      this.#height -= 1;
      pool.release(root);
    }
  }

  /** Moves the child at `index` of `parent` into the one before it. */
  #join(level: number, parent: number, index: number): void {
    const pool = this.#pool;
    const slot = parent * FANOUT + index;
    const right = pool.child(slot);
    const left = pool.child(slot - 1);
    // The start of its first child is known only here.
    if (level > 0) pool.setStart(right * FANOUT, pool.startPage(slot), pool.startOffset(slot));
    else {
      pool.compact(left);
      pool.compact(right);
    }
    pool.move(right, 0, left);
    this.#drop(level, parent, index);
  }

  /** Frees the empty child at `index` of `parent`. */
  #drop(level: number, parent: number, index: number): void {
    const pool = this.#pool;
    this.#path.noted = false;
    const node = pool.child(parent * FANOUT + index);
    if (level === 0) pool.unlink(node);
    pool.close(parent, index);
    pool.release(node);
  }

  #releaseTree(node: number, level: number): void {
    const pool = this.#pool;
    if (level > 0)
      for (let index = 0; index < pool.count(node); index += 1)
        this.#releaseTree(pool.child(node * FANOUT + index), level - 1);
    pool.release(node);
  }
}

function reachesBeyond(pool: MappingPool, slot: number, page: number, offset: number): boolean {
  const last = pool.lastPage(slot);
  return last > page || (last === page && pool.lastOffset(slot) > offset);
}
