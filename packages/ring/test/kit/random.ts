/** Random numbers that are the same in every run: a seed, and nothing else, decides. */

/** A small generator (xorshift32); good enough to pick cases, and for nothing else. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed | 0, 0x9e37_79b1) ^ 0x5bd1_e995) | 0 || 1;
  }

  /** An unsigned 32-bit number. */
  word(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** 0 to `bound` - 1. */
  below(bound: number): number {
    return this.word() % bound;
  }

  /** True once in `period` draws, on average. */
  once(period: number): boolean {
    return this.below(period) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!; // Below the length.
  }

  /** Puts `items` into another order, in place. */
  shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last -= 1) {
      const other = this.below(last + 1);
      [items[last], items[other]] = [items[other]!, items[last]!]; // Both below the length.
    }
    return items;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}
