/** Ranges that do not overlap, in order: the mappings of one domain as a watcher remembers them. */

/** Both ends are included. */
export interface BookedRange {
  readonly start: bigint;
  readonly last: bigint;
  /** Nobody but the device knows whether it is still there. */
  readonly doubtful: boolean;
}

export class RangeBook {
  readonly #ranges: BookedRange[] = [];

  /** Those that have an address in common with a range, in order. */
  touching(start: bigint, last: bigint): readonly BookedRange[] {
    const found: BookedRange[] = [];
    for (let at = this.#firstEndingFrom(start); at < this.#ranges.length; at += 1) {
      const range = this.#ranges[at]!; // Below the length.
      if (range.start > last) break;
      found.push(range);
    }
    return found;
  }

  /** Adds a range; what it touches goes. */
  add(start: bigint, last: bigint, doubtful = false): void {
    if (last < start) return;
    this.removeTouching(start, last);
    this.#ranges.splice(this.#firstEndingFrom(start), 0, { start, last, doubtful });
  }

  /** Removes what lies within a range as a whole. */
  removeWithin(start: bigint, last: bigint): void {
    this.#remove(start, last, (range) => range.start >= start && range.last <= last);
  }

  removeTouching(start: bigint, last: bigint): void {
    this.#remove(start, last, () => true);
  }

  /** What touches a range may be there or not. */
  doubt(start: bigint, last: bigint): void {
    for (const range of this.touching(start, last)) this.add(range.start, range.last, true);
  }

  #remove(start: bigint, last: bigint, chosen: (range: BookedRange) => boolean): void {
    const touched = this.touching(start, last);
    const first = touched[0];
    if (first === undefined) return;
    const at = this.#ranges.indexOf(first, this.#firstEndingFrom(start));
    this.#ranges.splice(at, touched.length, ...touched.filter((range) => !chosen(range)));
  }

  /** The index of the first range that does not end before `start`. */
  #firstEndingFrom(start: bigint): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.last < start) low = middle + 1; // Below the length.
      else high = middle;
    }
    return low;
  }
}
