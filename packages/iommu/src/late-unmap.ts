/** Buffers that were unmapped, and that nobody has waited for yet. */

const CAPACITY = 256;
const MASK = CAPACITY - 1;
/** In place of a page of the bounce pool. */
export const NOT_BOUNCED = -1;

/** In the order in which they were unmapped. Typed columns, so that none of them is an object. */
export class LateUnmaps {
  /** How many came, and how many are done, modulo 2^32. */
  #added = 0;
  #done = 0;
  readonly #start: Float64Array = new Float64Array(CAPACITY);
  readonly #pages: Float64Array = new Float64Array(CAPACITY);
  readonly #poolPage: Float64Array = new Float64Array(CAPACITY);
  readonly #offset: Uint16Array = new Uint16Array(CAPACITY);
  readonly #sizeBytes: Float64Array = new Float64Array(CAPACITY);
  readonly #direction: Uint8Array = new Uint8Array(CAPACITY);
  readonly #short: Uint8Array = new Uint8Array(CAPACITY);
  readonly #skipsCopy: Uint8Array = new Uint8Array(CAPACITY);

  /** Where the next one goes: what is there now comes {@link isBefore} it. */
  get end(): number {
    return this.#added;
  }

  get full(): boolean {
    return ((this.#added - this.#done) | 0) === CAPACITY;
  }

  /** True if there is an oldest one, and it came before `end` was asked for. */
  isBefore(end: number): boolean {
    return ((end - this.#done) | 0) > 0;
  }

  /** Where the device had the oldest. */
  get oldestStart(): number {
    return this.#start[this.#done & MASK]!; // Masked, as all of these.
  }

  get oldestPages(): number {
    return this.#pages[this.#done & MASK]!;
  }

  /** Some of its pages stayed mapped. */
  get oldestShort(): boolean {
    return this.#short[this.#done & MASK] === 1;
  }

  /** Where it bounced, or {@link NOT_BOUNCED}; only then the rest is of interest. */
  get oldestPoolPage(): number {
    return this.#poolPage[this.#done & MASK]!;
  }

  get oldestOffset(): number {
    return this.#offset[this.#done & MASK]!;
  }

  get oldestSizeBytes(): number {
    return this.#sizeBytes[this.#done & MASK]!;
  }

  get oldestDirection(): number {
    return this.#direction[this.#done & MASK]!;
  }

  get oldestSkipsCopy(): boolean {
    return this.#skipsCopy[this.#done & MASK] === 1;
  }

  /** The oldest is done with. */
  drop(): void {
    this.#done = (this.#done + 1) | 0;
  }

  /** Adds one. There is room. */
  add(
    start: number,
    pages: number,
    short: boolean,
    poolPage: number,
    offset: number,
    sizeBytes: number,
    direction: number,
    skipsCopy: boolean,
  ): void {
    const at = this.#added & MASK;
    this.#added = (this.#added + 1) | 0;
    this.#start[at] = start;
    this.#pages[at] = pages;
    this.#short[at] = short ? 1 : 0;
    this.#poolPage[at] = poolPage;
    this.#offset[at] = offset;
    this.#sizeBytes[at] = sizeBytes;
    this.#direction[at] = direction;
    this.#skipsCopy[at] = skipsCopy ? 1 : 0;
  }
}
