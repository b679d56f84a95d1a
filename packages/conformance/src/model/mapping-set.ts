/** The mappings of one domain: an array, sorted by address. */

/** What one MAP made. Both ends are included; `flags` are bits of `MapFlag`. */
export interface Mapping {
  readonly start: bigint;
  readonly last: bigint;
  readonly phys: bigint;
  readonly flags: number;
}

/** Mappings that do not touch each other. Neighbours are never merged (4.14). */
export class MappingSet {
  readonly #sorted: Mapping[] = [];

  get size(): number {
    return this.#sorted.length;
  }

  /** All of them, in order. */
  get all(): readonly Mapping[] {
    return this.#sorted;
  }

  /** The mapping at an address. */
  at(address: bigint): Mapping | undefined {
    const mapping = this.#sorted[this.#indexFrom(address)];
    return mapping !== undefined && mapping.start <= address ? mapping : undefined;
  }

  /** True if a mapping shares a byte with the range. */
  touches(start: bigint, last: bigint): boolean {
    const mapping = this.#sorted[this.#indexFrom(start)];
    return mapping !== undefined && mapping.start <= last;
  }

  /** The first mapping that the range holds in part only. */
  firstCut(start: bigint, last: bigint): Mapping | undefined {
    // Those in between are held as a whole, so the first and the last one that the range touches are all to look at.
    const first = this.#sorted[this.#indexFrom(start)];
    if (first !== undefined && first.start < start && first.start <= last) return first;
    const end = this.#sorted[this.#indexFrom(last)];
    return end !== undefined && end.start <= last && end.last > last ? end : undefined;
  }

  add(mapping: Mapping): void {
    this.#sorted.splice(this.#indexFrom(mapping.start), 0, mapping);
  }

  /** Removes the mappings that the range holds as a whole. */
  removeInside(start: bigint, last: bigint): void {
    let from = this.#indexFrom(start);
    const first = this.#sorted[from];
    if (first !== undefined && first.start < start) from += 1;
    let to = this.#indexFrom(last);
    const end = this.#sorted[to];
    if (end !== undefined && end.last === last) to += 1;
    if (to > from) this.#sorted.splice(from, to - from);
  }

  copy(): MappingSet {
    const copy = new MappingSet();
    copy.#sorted.push(...this.#sorted);
    return copy;
  }

  /** The index of the first mapping that does not end before the address. */
  #indexFrom(address: bigint): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle]!.last < address) low = middle + 1; // Below the length.
      else high = middle;
    }
    return low;
  }
}
