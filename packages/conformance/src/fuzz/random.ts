/** Random values for streams; the same seed always gives the same ones. */

export class Random {
  #state: number;

  /** `seed` is a whole number from 0 to 2^53 - 1. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
    const high = Math.floor(seed / 2 ** 32);
    // Seeds that differ only above 32 bits are others, and neighbours have nothing in common.
    this.#state = (Math.imul(this.next() ^ high, 0x9e37_79b1) ^ seed) >>> 0;
  }

  /** A whole number of 32 bits. */
  next(): number {
    // Mulberry32.
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number from 0 to `below` - 1. */
  number(below: number): number {
    return this.next() % below;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.next() % times === 0;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.next() % items.length]!; // Nobody asks for one out of none.
  }
}
