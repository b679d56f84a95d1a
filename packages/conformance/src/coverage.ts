/** How much of the catalogue a run covers. */

import { CLAUSES, type Clause, type Side, UNCOVERED } from './catalogue.ts';
import type { CaseResult } from './verdict.ts';

/** Of a set of clauses. */
export interface Share {
  /** At least one case ran, whatever it said. */
  readonly covered: number;
  readonly total: number;
}

export interface Summary {
  readonly pass: number;
  readonly fail: number;
  readonly warn: number;
  readonly skip: number;
  /** Failures and warnings that a manifest lists. */
  readonly expected: number;
  /** The IOMMU chapter. */
  readonly clauses: Share;
  /** Clauses of the IOMMU chapter that nothing ran for, with the reason. */
  readonly uncovered: Readonly<Record<string, string>>;
  /** The other areas of the standard, by name. */
  readonly areas: Readonly<Record<string, Share>>;
}

/** Counts results, and clauses on `side` whose id begins with `only`. */
export function summarize(
  results: readonly CaseResult[],
  only = '',
  side: Side = 'device',
): Summary {
  const count = (wanted: string): number =>
    results.filter(({ result }) => result === wanted).length;
  const ran = new Set(results.flatMap(({ clause, result }) => (result === 'skip' ? [] : [clause])));
  const clauses = CLAUSES.filter((clause) => clause.side === side && clause.id.startsWith(only));
  const share = (members: readonly Clause[]): Share => ({
    covered: members.filter(({ id }) => ran.has(id)).length,
    total: members.length,
  });
  const inArea = (wanted: string): Clause[] => clauses.filter(({ area }) => area === wanted);
  const iommu = inArea('iommu');
  const others = new Set(clauses.map(({ area }) => area).filter((area) => area !== 'iommu'));
  return {
    pass: count('pass'),
    fail: count('fail'),
    warn: count('warn'),
    skip: count('skip'),
    expected: results.filter(({ expected }) => expected === true).length,
    clauses: share(iommu),
    uncovered: Object.fromEntries(
      iommu.filter(({ id }) => !ran.has(id)).map(({ id }) => [id, reasonOf(id, results)]),
    ),
    areas: Object.fromEntries([...others].map((area) => [area, share(inArea(area))])),
  };
}

/** Why nothing ran for a clause: what its case was skipped for, or why it has none. */
function reasonOf(id: string, results: readonly CaseResult[]): string {
  const skipped = results.find(({ clause }) => clause === id);
  return skipped?.evidence[0] ?? UNCOVERED[id] ?? 'no case';
}
