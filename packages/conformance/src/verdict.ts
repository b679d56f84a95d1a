/** What a case comes to: results, and the ways in which a running case ends early. */

import type { Level } from './catalogue.ts';

export type Result = 'pass' | 'fail' | 'warn' | 'skip';

/** What one case said about one target. */
export interface CaseResult {
  /** The clause, and for further cases of the same one `#` and a name: `iommu.dev.map.overlap#exact`. */
  readonly id: string;
  /** The id up to `#`. */
  readonly clause: string;
  readonly title: string;
  readonly section: string;
  readonly level: Level;
  readonly result: Result;
  /** The device died, or never came back. */
  readonly how?: 'crash' | 'hang';
  /** Why, as lines: first one sentence, then what was sent and what came back, byte by byte. */
  readonly evidence: readonly string[];
  readonly seconds: number;
  /** A manifest lists this divergence: it is known, and has its verdict all the same. */
  readonly expected?: true;
}

/** Ends a case: the device falls short. */
export class Violation extends Error {
  override readonly name = 'Violation';
  /** `level`: as bad as the clause is strict. `fail`, whatever the clause: nothing may be lost or corrupted. */
  readonly weight: 'level' | 'fail';

  constructor(message: string, weight: 'level' | 'fail' = 'level') {
    super(message);
    this.weight = weight;
  }
}

/** Ends a case: the device did not answer, and shows no sign that it wants a reset. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** Ends a case: it cannot make its point with this target. */
export class Skipped extends Error {
  override readonly name = 'Skipped';
}

/** What a broken expectation of a clause or entry with this level comes to. */
export function resultOfBroken(level: Level): Result {
  if (level === 'MUST' || level === 'MUST NOT') return 'fail';
  // Choices are free: what was found is reported.
  return level === 'MAY' ? 'pass' : 'warn';
}
