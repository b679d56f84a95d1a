/** The sentences of the standard that cases are named after, its open points, and what it states as fact. */

import clauseData from './data/clause.json' with { type: 'json' };
import factData from './data/fact.json' with { type: 'json' };
import openPointData from './data/open-point.json' with { type: 'json' };
import uncoveredData from './data/uncovered.json' with { type: 'json' };

/** How strict a clause is; `open` for points that the standard leaves open, `fact` for what it states without a keyword. */
export type Level = 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT' | 'MAY' | 'open' | 'fact';

export type Side = 'device' | 'driver';

/** One sentence of the standard with MUST, SHOULD or MAY. */
export interface Clause {
  /** Area, side, group and matter: `iommu.dev.map.overlap`. */
  readonly id: string;
  readonly area: string;
  /** Whose duty it is. */
  readonly side: Side;
  readonly level: Exclude<Level, 'open' | 'fact'>;
  readonly section: string;
  readonly summary: string;
  /** How to find out. */
  readonly test: string;
  readonly observable: 'black-box' | 'white-box' | 'not-testable';
}

/** A choice the standard leaves open, and which of its outcomes the suite accepts. */
export interface OpenPoint {
  /** `open.4.1`. */
  readonly id: string;
  readonly section: string;
  readonly summary: string;
  readonly accepts: string;
}

/** A sentence without a keyword. */
export interface Fact {
  /** `fact.iommu.translate`. */
  readonly id: string;
  /** On whose side it can be seen. */
  readonly side: Side;
  readonly summary: string;
  readonly test: string;
}

/** What a case id stands for. */
export interface Entry {
  readonly id: string;
  readonly side: Side | undefined;
  readonly level: Level;
  readonly section: string;
  readonly summary: string;
}

export const CLAUSES: readonly Clause[] = clauseData as readonly Clause[]; // JSON has no literal types; a test checks each
export const OPEN_POINTS: readonly OpenPoint[] = openPointData;
export const FACTS: readonly Fact[] = factData as readonly Fact[]; // likewise
/** Why a clause on the device's or driver's side of the IOMMU chapter has no case: one sentence by clause id. */
export const UNCOVERED: Readonly<Record<string, string>> = uncoveredData;

const ENTRIES: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ...CLAUSES.map((clause) => [clause.id, clause] as const),
  ...OPEN_POINTS.map((point): [string, Entry] => [
    point.id,
    { ...point, level: 'open', side: undefined },
  ]),
  ...FACTS.map((fact): [string, Entry] => [
    fact.id,
    { ...fact, level: 'fact', section: 'Stated as fact' },
  ]),
]);

/** The clause, open point or fact of a case: its id up to `#`. */
export function clauseOf(id: string): string {
  return id.split('#', 1)[0] ?? id;
}

/** What an id stands for, if it is known. */
export function entryOf(id: string): Entry | undefined {
  return ENTRIES.get(clauseOf(id));
}
