/** Which block a workload goes to next, and whether it reads or writes it. */

/** By name. */
export const WORKLOADS = ['randread', 'randwrite', 'seqread', 'seqwrite', 'mixed'] as const;

export type WorkloadName = (typeof WORKLOADS)[number];

/** Of ten requests of `mixed`, so many read. */
const MIXED_READS = 7;

/** Reads and writes blocks in some order, none of them twice at a time: who comes first would be anybody's guess. */
export class Pattern {
  /** What {@link next} chose. */
  block = 0;
  writes = false;
  readonly #blocks: number;
  readonly #busy: Uint8Array;
  #state: number;
  #at = 0;
  #left = Infinity;
  #random = false;
  #reads = 0;

  /** `blocks` blocks, more than there are ever requests in flight; `seed` is any number but 0. */
  constructor(blocks: number, seed: number) {
    this.#blocks = blocks;
    this.#busy = new Uint8Array(blocks);
    this.#state = seed | 0;
  }

  /** From now on: without an end. */
  use(name: WorkloadName): void {
    this.#left = Infinity;
    this.#random = !name.startsWith('seq');
    this.#reads = name === 'mixed' ? MIXED_READS : name.endsWith('read') ? 10 : 0;
  }

  /** From now on: each block once, from the first to the last. */
  sweep(what: 'read' | 'write'): void {
    this.#left = this.#blocks;
    this.#at = 0;
    this.#random = false;
    this.#reads = what === 'read' ? 10 : 0;
  }

  /** Chooses a block, which is busy until {@link done}. False at the end. */
  next(): boolean {
    if (this.#left === 0) return false;
    this.#left -= 1;
    let block = this.#random ? (this.#draw() >>> 0) % this.#blocks : this.#at;
    while (this.#busy[block] === 1) block = block + 1 === this.#blocks ? 0 : block + 1;
    if (!this.#random) this.#at = block + 1 === this.#blocks ? 0 : block + 1;
    this.#busy[block] = 1;
    this.block = block;
    this.writes =
      this.#reads === 0 || (this.#reads < 10 && (this.#draw() >>> 8) % 10 >= this.#reads);
    return true;
  }

  /** A block is over. */
  done(block: number): void {
    this.#busy[block] = 0;
  }

  /** Marsaglia's xorshift. */
  #draw(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x;
  }
}
