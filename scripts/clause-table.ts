/** Which test stands for which clause of the standard, and what is missing. */

import { escape, namesOf, table } from './page.ts';
import { resultOf, type TestRun } from './test-report.ts';

/** One sentence of the standard with MUST, SHOULD or MAY, as `packages/conformance/src/data/clause.json` has it. */
export interface Clause {
  /** Area, side, group and matter: `iommu.dev.map.overlap`. A test of the clause begins its title with it. */
  readonly id: string;
  readonly area: string;
  /** Whose duty it is. */
  readonly side: 'driver' | 'device';
  readonly level: 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT' | 'MAY';
  readonly section: string;
  readonly summary: string;
  /** How to find out. */
  readonly test: string;
  readonly observable: 'black-box' | 'white-box' | 'not-testable';
}

/** Why a clause has no test: one sentence by clause id. */
export type Exceptions = Readonly<Record<string, string>>;

const AREAS = new Map([
  ['iommu', 'The IOMMU device'],
  ['split', 'Split virtqueues'],
  ['packed', 'Packed virtqueues'],
  ['basic', 'Basic facilities'],
  ['mmio', 'Virtio over MMIO'],
  ['pci', 'Virtio over PCI'],
]);

/** Areas that nothing serves yet; a clause of theirs needs no reason. */
const NOT_BUILT: ReadonlySet<string> = new Set(['pci']);

/** What a title begins with if it claims a clause, right or wrong. */
const CLAIM = new RegExp(`^(?:${[...AREAS.keys()].join('|')})\\.(?:drv|dev)\\.[\\w.-]*\\w`);

/** The clause that a test claims by its title. */
export function claimOf(title: string): string | undefined {
  return CLAIM.exec(title)?.[0];
}

/** What is wrong: clauses without test and reason, tests and reasons without clause, reasons that a test refutes. */
export function findings(
  clauses: readonly Clause[],
  exceptions: Exceptions,
  runs: readonly TestRun[],
): string[] {
  const known = new Set(clauses.map(({ id }) => id));
  const tested = new Set(runs.map(({ title }) => claimOf(title)));
  return [
    ...runs.flatMap(({ file, title }) => {
      const claim = claimOf(title);
      return claim === undefined || known.has(claim)
        ? []
        : [`${file}: "${title}" names no clause of the catalogue`];
    }),
    ...Object.keys(exceptions).flatMap((id) => {
      if (!known.has(id)) return [`${id} has a reason and is no clause of the catalogue`];
      return tested.has(id) ? [`${id} has a test, and a reason to have none`] : [];
    }),
    ...clauses
      .filter(({ id, area }) => !NOT_BUILT.has(area) && !tested.has(id) && !(id in exceptions))
      .map(({ id, observable }) => `${id} (${observable}) has neither a test nor a reason`),
  ];
}

/** The page `docs/clauses.md`. */
export function clausePage(
  clauses: readonly Clause[],
  exceptions: Exceptions,
  runs: readonly TestRun[],
): string {
  const byClause = Map.groupBy(runs, ({ title }) => claimOf(title));
  const areas = [...AREAS].map(([area, name]) => {
    const members = clauses.filter((clause) => clause.area === area);
    const tested = members.filter(({ id }) => byClause.has(id));
    const excused = members.filter(({ id }) => !byClause.has(id) && id in exceptions);
    const passed = tested.filter(({ id }) => resultOf(byClause.get(id) ?? []) === 'passed');
    return { area, name, members, tested, excused, passed };
  });
  const totals = areas.map(({ area, members, tested, excused, passed }) => [
    `\`${area}\``,
    ...[members, tested, passed, excused].map(({ length }) => String(length)),
    NOT_BUILT.has(area) ? 'not built yet' : String(members.length - tested.length - excused.length),
  ]);
  const sections = areas.flatMap(({ area, name, members, tested, excused }) => [
    `## ${name}`,
    '',
    ...(NOT_BUILT.has(area) ? [`Not built yet: ${members.length} clauses.`, ''] : []),
    ...(tested.length === 0
      ? []
      : [
          ...table(
            ['clause', 'level', 'side', 'test', 'result'],
            tested.map(({ id, level, side }) => {
              const tests = byClause.get(id) ?? [];
              return [`\`${id}\``, level, side, namesOf(tests, claimOf), resultOf(tests)];
            }),
          ),
          '',
        ]),
    ...(excused.length === 0
      ? []
      : [
          'Without a test:',
          '',
          ...table(
            ['clause', 'level', 'side', 'reason'],
            excused.map(({ id, level, side }) => [
              `\`${id}\``,
              level,
              side,
              escape(exceptions[id] ?? ''),
            ]),
          ),
          '',
        ]),
  ]);
  return [
    '# Clauses',
    '',
    '<!-- Written by `npm run clauses` from the last `npm test`. -->',
    '',
    'Every sentence of the standard with MUST, SHOULD or MAY that concerns this project, the tests whose names begin with',
    'its id, and how they ended. `packages/conformance/src/data/clause.json` says what each clause asks for and how to find out;',
    '`npx vitest run -t ID` runs the tests of one. A clause without a test has a reason in `test/clause/exception.json`.',
    '',
    ...table(['area', 'clauses', 'tested', 'passed', 'with a reason', 'open'], totals),
    '',
    ...sections,
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}
