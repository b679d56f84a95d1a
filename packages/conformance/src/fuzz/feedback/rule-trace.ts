/** Pairs of rules as features: what a stream reaches of a target that is not instrumented. */

import { PairCoverage } from '../coverage.ts';

/** Told of rules as the coverage of blind streams is, and says of each pair which number it has. */
export class RuleTrace extends PairCoverage {
  readonly #rules = new Map<string, number>();
  readonly #names: string[] = [''];
  readonly #pairs = new Map<number, number>();
  readonly #pairNames: string[] = [];
  #last = 0;
  #taken: number[] = [];

  override get size(): number {
    return this.#pairs.size;
  }

  /** A stream begins: nothing was decided before. */
  begin(): void {
    this.#last = 0;
    this.#taken.length = 0;
  }

  override add(rule: string): void {
    let number = this.#rules.get(rule);
    if (number === undefined) {
      number = this.#names.length;
      this.#rules.set(rule, number);
      this.#names.push(rule);
    }
    const key = this.#last * RULES_MAX + number;
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      pair = this.#pairNames.length;
      this.#pairs.set(key, pair);
      this.#pairNames.push(`${this.#names[this.#last]} → ${rule}`);
    }
    this.#taken.push(pair);
    this.#last = number;
  }

  /** The numbers of the pairs since this was last asked for or {@link begin} was called; valid until a rule decides. */
  recent(): readonly number[] {
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }

  /** A pair in words. */
  nameOf(pair: number): string {
    return this.#pairNames[pair] ?? '';
  }
}

const RULES_MAX = 4096;
