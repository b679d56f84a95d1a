/**
 * What watchers of a driver write down: how often each clause could have been broken, and how it was. One ledger for
 * everything that watches, so that a case can ask about its clause alone.
 */

/** A clause that was broken. */
export interface Finding {
  /** The id of a clause, or `advice.…` for what no clause forbids and a driver had better not do. */
  readonly clause: string;
  readonly message: string;
}

/** Of one clause a few are enough. */
const FINDINGS_MAX = 8;

export class Ledger {
  readonly findings: Finding[] = [];
  readonly #looks: Map<string, number> = new Map();
  readonly #breaches: Map<string, number> = new Map();

  /** Notes that the clause applied, and if the condition does not hold that it was broken. Returns the condition. */
  check(clause: string, condition: boolean, message: string | (() => string)): boolean {
    this.#looks.set(clause, this.looks(clause) + 1);
    if (condition) return true;
    const breaches = this.breaches(clause) + 1;
    this.#breaches.set(clause, breaches);
    if (breaches <= FINDINGS_MAX)
      this.findings.push({ clause, message: typeof message === 'string' ? message : message() });
    return false;
  }

  /** How often the clause applied. */
  looks(clause: string): number {
    return this.#looks.get(clause) ?? 0;
  }

  /** How often it was broken. */
  breaches(clause: string): number {
    return this.#breaches.get(clause) ?? 0;
  }

  /** The clauses that applied at all. */
  get clauses(): readonly string[] {
    return [...this.#looks.keys()];
  }

  /** What was found about one clause. */
  of(clause: string): readonly Finding[] {
    return this.findings.filter((finding) => finding.clause === clause);
  }
}
