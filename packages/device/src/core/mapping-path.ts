/** The way from the root of a mapping store to one of its leaves, which is noted: the next one is often the same. */

import { FANOUT, type MappingPool, NONE } from './mapping-pool.ts';

/** Far above what the limit on mappings allows with eight entries to a node. */
export const LEVELS_MAX = 16;

/** A walk from a leaf (level 0) to the root. */
export class MappingPath {
  /** By level: the node. */
  readonly node: Int32Array = new Int32Array(LEVELS_MAX);
  /** By level: the index that was taken in the node; in the leaf that of the entry behind what was looked for. */
  readonly index: Int32Array = new Int32Array(LEVELS_MAX);
  /** True while the way leads to a leaf of the tree: until nodes are cut, joined or freed. */
  noted = false;

  readonly #pool: MappingPool;

  constructor(pool: MappingPool) {
    this.#pool = pool;
  }

  /**
   * Walks to the leaf where `offset` in `page` belongs, and notes the way. Returns the index of the first entry there,
   * live or dead, that starts behind it.
   */
  locate(root: number, height: number, page: number, offset: number): number {
    const pool = this.#pool;
    // Drivers work in one place for a while, and go through it in order: the way is often the one noted last, and the
    // index one of the next.
    if (this.noted) {
      const leaf = this.node[0]!; // There is a level 0.
      const index = pool.searchNear(leaf, this.index[0]!, page, offset); // Likewise.
      if (index !== NONE) {
        this.index[0] = index;
        return index;
      }
      if (pool.spans(leaf, page)) return this.#search(leaf, page, offset);
    }
    return this.#search(this.#descend(root, height, page, offset), page, offset);
  }

  #search(leaf: number, page: number, offset: number): number {
    const index = this.#pool.search(leaf, 0, page, offset);
    this.index[0] = index;
    return index;
  }

  /** Walks from the root to the leaf where `offset` in `page` belongs, and notes the way. */
  #descend(root: number, height: number, page: number, offset: number): number {
    const pool = this.#pool;
    let node = root;
    for (let level = height; level > 0; level -= 1) {
      // The start of a first child is not looked at: everything lower belongs there as well.
      const index = pool.search(node, 1, page, offset) - 1;
      this.node[level] = node;
      this.index[level] = index;
      node = pool.child(node * FANOUT + index);
    }
    this.node[0] = node;
    this.noted = true;
    return node;
  }

  /** Moves the noted way to the next leaf. False if there is none. */
  step(height: number): boolean {
    const pool = this.#pool;
    let level = 1;
    while (level <= height && this.index[level]! + 1 === pool.count(this.node[level]!))
      // On the noted way.
      level += 1;
    if (level > height) return false;
    let node = this.node[level]!; // Likewise.
    this.index[level] = this.index[level]! + 1; // Likewise.
    for (; level > 0; level -= 1) {
      node = pool.child(node * FANOUT + this.index[level]!); // Likewise.
      this.node[level - 1] = node;
      this.index[level - 1] = 0;
    }
    return true;
  }
}
