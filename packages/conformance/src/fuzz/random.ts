/** Random values: the same seed always gives the same ones, and what was drawn can be drawn again from a tape. */

/** Draws behind the end of a tape: enough for what ends by itself. */
const BEHIND_MAX = 100_000;

export class Random {
  #state = 0;
  #tape: readonly number[] | undefined;
  #at = 0;
  #drawn: number[] | undefined;
  #drew: ((count: number) => void) | undefined;

  /** `seed` is a whole number from 0 to 2^53 - 1. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
    const high = Math.floor(seed / 2 ** 32);
    // Seeds that differ only above 32 bits are others, and neighbours have nothing in common.
    this.#state = (Math.imul(this.next() ^ high, 0x9e37_79b1) ^ seed) >>> 0;
  }

  /** Gives these values, and 0 after the last of them. @throws {Error} if it is asked for more without an end. */
  static of(tape: readonly number[]): Random {
    const random = new Random(0);
    random.#tape = tape;
    return random;
  }

  /** Keeps what is drawn from now on in {@link drawn}; `drew` hears how much that is, each time. */
  keep(drew?: (count: number) => void): this {
    this.#drawn = [];
    this.#drew = drew;
    return this;
  }

  /** What was drawn since {@link keep}: a tape. */
  get drawn(): readonly number[] {
    return this.#drawn ?? [];
  }

  /** A whole number of 32 bits. */
  next(): number {
    return this.#keep(this.#draw());
  }

  /** A whole number from 0 to `below` - 1, or 0 if there is none; what is simple should be near 0. */
  number(below: number): number {
    return this.#keep(this.#draw() % Math.max(below, 1));
  }

  /** True once in `times`; what is simple should be false. */
  once(times: number): boolean {
    return this.number(times) === times - 1;
  }

  /** One of these; what is simple should come first. */
  pick<Item>(items: readonly Item[]): Item {
    return items[this.number(items.length)]!; // Nobody asks for one out of none.
  }

  #draw(): number {
    return this.#tape === undefined ? this.#make() : this.#play(this.#tape);
  }

  #keep(value: number): number {
    if (this.#drawn !== undefined) {
      this.#drawn.push(value);
      this.#drew?.(this.#drawn.length);
    }
    return value;
  }

  #make(): number {
    // Mulberry32.
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  #play(tape: readonly number[]): number {
    const value = tape[this.#at] ?? 0;
    this.#at += 1;
    if (this.#at > tape.length + BEHIND_MAX) throw new Error('The tape is long over.');
    return value;
  }
}
