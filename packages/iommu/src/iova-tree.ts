/**
 * The ranges of an address space that are taken, in order.
 *
 * Every range knows the gap below it, and every subtree the largest gap in it, so that a search goes straight to the
 * highest place that fits. The tree is a treap: a search tree by first page and a heap by a pseudo-random priority,
 * balanced for that reason. Nodes are rows of typed arrays, so that nothing is allocated while the tree does not grow.
 */

import { PAGE_MAX, assert } from '@viommu/common';

/** Above every page: the gap below it is what is free at the top. */
const ANCHOR_PAGE = PAGE_MAX + 1;
/** The first page that needs more than 32 bits of address. */
const PAGE_4_GIB = 1 << 20;
/** No node. Its row stays zero, which makes it a subtree without a gap. */
const NIL = 0;
const CAPACITY_MIN = 64;

/** Taken ranges, disjoint; `[first, last]` in pages. */
export class IovaTree {
  /** Searches that looked at the tree: what a fast failure saves. */
  searches = 0;
  /** Ranges that are given out, cached ones included. */
  rangeCount = 0;
  /** Reservations, after joining. */
  reservedCount = 0;
  readonly #lowest: number;
  #root = NIL;
  #capacity = CAPACITY_MIN;
  /** Rows that were in use, linked by `#left`. */
  #unused = NIL;
  #rows = 1;
  #seed = 0x9e3779b9 | 0;
  /** Aligned searches for this much or more, at this limit or below, have failed, and nothing was freed since. */
  #failedPages = 0;
  #failedLimit = -1;
  /** The row above which the last search found its gap. */
  #above = NIL;

  #first = new Float64Array(CAPACITY_MIN);
  #last = new Float64Array(CAPACITY_MIN);
  /** Free pages directly below the range. */
  #gap = new Float64Array(CAPACITY_MIN);
  /** The largest gap in the subtree. */
  #largest = new Float64Array(CAPACITY_MIN);
  #left = new Int32Array(CAPACITY_MIN);
  #right = new Int32Array(CAPACITY_MIN);
  #parent = new Int32Array(CAPACITY_MIN);
  #priority = new Int32Array(CAPACITY_MIN);
  #reserved = new Uint8Array(CAPACITY_MIN);

  /** An empty tree of pages from `lowestPage` on, which is 1 or more, as 0 says that there is no range. */
  constructor(lowestPage: number) {
    assert(
      lowestPage >= 1 && lowestPage <= PAGE_MAX,
      'an address space begins at a page from 1 on',
    );
    this.#lowest = lowestPage;
    const anchor = this.#newRow(ANCHOR_PAGE, ANCHOR_PAGE, true);
    this.#gap[anchor] = ANCHOR_PAGE - lowestPage;
    this.#largest[anchor] = ANCHOR_PAGE - lowestPage;
    this.#root = anchor;
  }

  /**
   * Takes the highest `pages` pages in a row that end at or below `limitPage`; with `aligned` they start at a multiple
   * of the next power of two. Returns the first, or 0 if there are none.
   */
  allocate(pages: number, limitPage: number, aligned: boolean): number {
    assert(pages >= 1, 'a range has a page');
    // A smaller range could have been placed where a larger one can.
    if (aligned && pages >= this.#failedPages && limitPage <= this.#failedLimit) return 0;
    let alignment = 1;
    if (aligned) while (alignment < pages) alignment *= 2;
    this.searches += 1;
    const first = this.#highest(this.#root, pages, Math.min(limitPage, PAGE_MAX), alignment);
    if (first !== 0) {
      this.#insert(first, first + pages - 1, this.#above, false);
      this.rangeCount += 1;
    } else if (limitPage < PAGE_4_GIB && limitPage >= this.#failedLimit) {
      // 32 bits fill up, and are asked for again and again.
      this.#failedPages = pages;
      this.#failedLimit = limitPage;
    }
    return first;
  }

  /** Frees the range that holds `page`. False if there is none, or it is reserved. */
  free(page: number): boolean {
    const row = this.#rowOf(page);
    if (row === NIL || this.#reserved[row] === 1) return false;
    if (this.#first[row]! < PAGE_4_GIB) this.#failedLimit = -1; // A row that was found exists.
    this.#remove(row);
    this.rangeCount -= 1;
    return true;
  }

  /**
   * Makes pages unavailable for good. Reservations that overlap are joined; ranges that are given out stay, and become
   * free when they are freed.
   */
  reserve(firstPage: number, lastPage: number): void {
    let first = Math.max(firstPage, this.#lowest);
    let last = Math.min(lastPage, PAGE_MAX);
    for (;;) {
      if (first > last) return;
      const row = this.#firstEndingFrom(first);
      const rowFirst = this.#first[row]!; // A row, since the anchor ends above every page.
      const rowLast = this.#last[row]!; // The same.
      if (rowFirst > last) {
        this.#reserveGap(first, last, row);
        return;
      }
      if (this.#reserved[row] === 1) {
        first = Math.min(first, rowFirst);
        last = Math.max(last, rowLast);
        this.#remove(row);
        this.reservedCount -= 1;
      } else {
        if (first < rowFirst) this.#reserveGap(first, rowFirst - 1, row);
        first = rowLast + 1;
      }
    }
  }

  /** True if a range that is given out has a page from `firstPage` to `lastPage`. */
  usedWithin(firstPage: number, lastPage: number): boolean {
    const last = Math.min(lastPage, PAGE_MAX);
    for (let from = firstPage; from <= last;) {
      const row = this.#firstEndingFrom(from);
      if (this.#first[row]! > last) return false; // A row, as above.
      if (this.#reserved[row] === 0) return true;
      from = this.#last[row]! + 1; // The same.
    }
    return false;
  }

  /** The range that holds `page`, for tests and reports. */
  find(page: number): { first: number; last: number; reserved: boolean } | undefined {
    const row = this.#rowOf(page);
    if (row === NIL) return undefined;
    const first = this.#first[row]!; // A row that was found exists.
    return { first, last: this.#last[row]!, reserved: this.#reserved[row] === 1 }; // The same.
  }

  /** The first page of the best place in a subtree, or 0; the row above it is left in `#above`. */
  #highest(row: number, pages: number, limit: number, alignment: number): number {
    let at = row;
    // Each subtree is either left at once, since no gap in it is large enough, or gives a range nearly always: only
    // gaps that alignment, or the limit in the one gap around it, spoils are looked at in vain.
    while (at !== NIL && this.#largest[at]! >= pages) {
      const end = this.#first[at]! - 1; // The row is not `NIL`.
      const gap = this.#gap[at]!; // The same.
      const begin = end + 1 - gap;
      if (begin <= limit) {
        if (end < limit) {
          const right = this.#highest(this.#right[at]!, pages, limit, alignment); // The same.
          if (right !== 0) return right;
        }
        if (gap >= pages) {
          const first = Math.floor((Math.min(end, limit) + 1 - pages) / alignment) * alignment;
          if (first >= begin) {
            this.#above = at;
            return first;
          }
        }
      }
      at = this.#left[at]!; // The same.
    }
    return 0;
  }

  #rowOf(page: number): number {
    const row = this.#firstEndingFrom(page);
    return this.#first[row]! <= page ? row : NIL; // A row, since the anchor ends above every page.
  }

  /** The lowest range that ends at `page` or above: the anchor if there is no other. */
  #firstEndingFrom(page: number): number {
    let best = NIL;
    let at = this.#root;
    while (at !== NIL) {
      if (this.#last[at]! >= page) {
        best = at;
        at = this.#left[at]!; // The row is not `NIL`.
      } else at = this.#right[at]!; // The same.
    }
    return best;
  }

  #reserveGap(first: number, last: number, above: number): void {
    this.#insert(first, last, above, true);
    this.reservedCount += 1;
  }

  /** Inserts a range into the gap below the row `above`. */
  #insert(first: number, last: number, above: number, reserved: boolean): void {
    const row = this.#newRow(first, last, reserved);
    this.#gap[row] = first - (this.#first[above]! - this.#gap[above]!); // `above` is a row.
    this.#gap[above] = this.#first[above]! - last - 1; // The same.
    // Its place is the one directly before `above`.
    let parent = above;
    if (this.#left[above] === NIL) this.#left[above] = row;
    else {
      parent = this.#left[above]!; // The same.
      while (this.#right[parent] !== NIL) parent = this.#right[parent]!; // The same.
      this.#right[parent] = row;
    }
    this.#parent[row] = parent;
    while (this.#parent[row] !== NIL && this.#priority[row]! > this.#priority[this.#parent[row]!]!)
      this.#rotateUp(row); // Rows all of them, as the root's parent is `NIL`.
    // `above` lies on the way, or has been turned below the row, and refreshed by that.
    this.#refreshUp(row);
  }

  #remove(row: number): void {
    // The range above gets the pages and the gap; there is one, since the anchor is never removed.
    const above = this.#firstEndingFrom(this.#last[row]! + 1); // `row` is a row.
    this.#gap[above] = this.#first[above]! - (this.#first[row]! - this.#gap[row]!); // Rows, both.
    for (;;) {
      const left = this.#left[row]!; // The same.
      const right = this.#right[row]!; // The same.
      if (left === NIL && right === NIL) break;
      this.#rotateUp(
        right === NIL || (left !== NIL && this.#priority[left]! > this.#priority[right]!)
          ? left
          : right, // Rows.
      );
    }
    const parent = this.#parent[row]!; // The same.
    this.#replaceChild(parent, row, NIL);
    this.#left[row] = this.#unused;
    this.#unused = row;
    // Its neighbour was above it, as it had nothing to its right.
    this.#refreshUp(parent);
  }

  /** Turns a row and its parent around, and keeps the order. */
  #rotateUp(row: number): void {
    const parent = this.#parent[row]!; // `row` is a row, and has a parent.
    const grandparent = this.#parent[parent]!; // The same.
    let moved: number;
    if (this.#left[parent] === row) {
      moved = this.#right[row]!; // The same.
      this.#left[parent] = moved;
      this.#right[row] = parent;
    } else {
      moved = this.#left[row]!; // The same.
      this.#right[parent] = moved;
      this.#left[row] = parent;
    }
    if (moved !== NIL) this.#parent[moved] = parent;
    this.#parent[parent] = row;
    this.#parent[row] = grandparent;
    this.#replaceChild(grandparent, parent, row);
    this.#refresh(parent);
    this.#refresh(row);
  }

  #replaceChild(parent: number, child: number, by: number): void {
    if (parent === NIL) this.#root = by;
    else if (this.#left[parent] === child) this.#left[parent] = by;
    else this.#right[parent] = by;
  }

  #refreshUp(row: number): void {
    for (let at = row; at !== NIL; at = this.#parent[at]!) this.#refresh(at); // Rows.
  }

  #refresh(row: number): void {
    this.#largest[row] = Math.max(
      this.#gap[row]!, // Rows, all of them.
      this.#largest[this.#left[row]!]!,
      this.#largest[this.#right[row]!]!,
    );
  }

  #newRow(first: number, last: number, reserved: boolean): number {
    let row = this.#unused;
    if (row !== NIL) this.#unused = this.#left[row]!; // A row.
    else {
      if (this.#rows === this.#capacity) this.#grow();
      row = this.#rows;
      this.#rows += 1;
    }
    // xorshift32: any sequence without a pattern in common with the ranges does.
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    this.#first[row] = first;
    this.#last[row] = last;
    this.#left[row] = NIL;
    this.#right[row] = NIL;
    this.#parent[row] = NIL;
    this.#priority[row] = this.#seed;
    this.#reserved[row] = reserved ? 1 : 0;
    return row;
  }

  #grow(): void {
    this.#capacity *= 2;
    const copy = <T extends { set(from: T): void }>(to: T, from: T): T => (to.set(from), to);
    const size = this.#capacity;
    this.#first = copy(new Float64Array(size), this.#first);
    this.#last = copy(new Float64Array(size), this.#last);
    this.#gap = copy(new Float64Array(size), this.#gap);
    this.#largest = copy(new Float64Array(size), this.#largest);
    this.#left = copy(new Int32Array(size), this.#left);
    this.#right = copy(new Int32Array(size), this.#right);
    this.#parent = copy(new Int32Array(size), this.#parent);
    this.#priority = copy(new Int32Array(size), this.#priority);
    this.#reserved = copy(new Uint8Array(size), this.#reserved);
  }
}
