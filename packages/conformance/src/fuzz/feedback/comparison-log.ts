/** Operands of comparisons: what a step held, and what it would have had to hold. */

import type { Listener } from './probe.ts';

/** Operands that were not equal. */
export interface Operands {
  readonly comparison: number;
  /** The index of the step that was being taken. */
  readonly step: number;
  /** Signed numbers of 32 bits are kept as unsigned ones. */
  readonly left: bigint;
  readonly right: bigint;
}

/** Kept of one comparison: the first ones, and the last ones. */
const FIRST_MAX = 4;
const LAST_MAX = 4;

export class ComparisonLog {
  /** The step that is taken now. */
  step = 0;
  readonly #found = new Map<number, Operands[]>();
  readonly #counts = new Map<number, number>();
  readonly #equal: (comparison: number) => void;

  /** `equal` hears of comparisons whose operands are equal. */
  constructor(equal: (comparison: number) => void) {
    this.#equal = equal;
  }

  get operands(): readonly Operands[] {
    return [...this.#found.values()].flat();
  }

  readonly listener: Listener = (comparison, first, second) => {
    const left = wholeOf(first);
    const right = wholeOf(second);
    if (left === undefined || right === undefined) return;
    if (left === right) return this.#equal(comparison);
    const known = this.#found.get(comparison) ?? [];
    if (known.some((each) => each.left === left && each.right === right)) return;
    const count = this.#counts.get(comparison) ?? 0;
    this.#counts.set(comparison, count + 1);
    const at = count < FIRST_MAX ? count : FIRST_MAX + (count % LAST_MAX);
    known[at] = { comparison, step: this.step, left, right };
    this.#found.set(comparison, known);
  };
}

function wholeOf(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return BigInt.asUintN(64, value);
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) return undefined;
  return value < 0 ? BigInt.asUintN(32, BigInt(value)) : BigInt(value);
}
