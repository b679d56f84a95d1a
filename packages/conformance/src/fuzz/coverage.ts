/**
 * What streams reach, seen from outside: pairs of rules that decided one request after the other, and outcomes of
 * accesses. It needs nothing of the target, so it serves for any.
 */

export class PairCoverage {
  readonly #numbers = new Map<string, number>();
  readonly #pairs = new Set<number>();
  #fresh: string[] = [];
  #names: string[] = [];
  #last = 0;

  /** Pairs seen so far. */
  get size(): number {
    return this.#pairs.size;
  }

  /** A rule decided. */
  add(rule: string): void {
    let number = this.#numbers.get(rule);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(rule, number);
      this.#names.push(rule);
    }
    const pair = this.#last * RULES_MAX + number;
    if (!this.#pairs.has(pair)) {
      this.#pairs.add(pair);
      this.#fresh.push(`${this.#names[this.#last]} → ${rule}`);
    }
    this.#last = number;
  }

  /** The pairs that are new since the last call. */
  take(): readonly string[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }
}

const RULES_MAX = 4096;
