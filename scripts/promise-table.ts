/** Which tests show which promise to the user, and which scenario of the design. */

import { escape, namesOf, table } from './page.ts';
import { resultOf, type TestRun } from './test-report.ts';

/** One promise, as `test/promise/row.json` has it. */
export interface Row {
  /** `S`, the number of its subject, and its number there. A test of the promise begins its title with it. */
  readonly id: string;
  /** What it is about. */
  readonly seed: string;
  readonly promise: string;
}

/** Scenarios of the design, by part: `A1` to `A25` and so on. A test of one has its number in brackets. */
const SCENARIOS: Readonly<Record<string, number>> = { A: 25, B: 26, C: 23, D: 14, E: 13, F: 10 };

const CLAIM = /^(?:S\d+\.\d+\b[ ,]*)+/;

/** The promises that a test claims by the beginning of its title. */
export function promisesOf(title: string): string[] {
  return CLAIM.exec(title)?.[0].match(/S\d+\.\d+/g) ?? [];
}

/** The scenarios that a title names. */
export function scenariosOf(title: string): string[] {
  return [...title.matchAll(/\[([A-F]\d+)\]/g)].map(([, id]) => id ?? '');
}

/** All scenarios there are. */
function scenarios(): string[] {
  return Object.entries(SCENARIOS).flatMap(([part, count]) =>
    Array.from({ length: count }, (_, n) => `${part}${n + 1}`),
  );
}

/** What is wrong: promises and scenarios without a test, and tests of what there is not. */
export function promiseFindings(rows: readonly Row[], runs: readonly TestRun[]): string[] {
  const known = new Set(rows.map(({ id }) => id));
  const claimed = new Set(runs.flatMap(({ title }) => promisesOf(title)));
  const all = scenarios();
  const shown = new Set(runs.flatMap(({ title }) => scenariosOf(title)));
  return [
    ...runs.flatMap(({ file, title }) => [
      ...promisesOf(title)
        .filter((id) => !known.has(id))
        .map((id) => `${file}: "${title}" names ${id}, which is no promise`),
      ...scenariosOf(title)
        .filter((id) => !all.includes(id))
        .map((id) => `${file}: "${title}" names ${id}, which is no scenario`),
    ]),
    ...rows.filter(({ id }) => !claimed.has(id)).map(({ id }) => `${id} has no test`),
    ...all.filter((id) => !shown.has(id)).map((id) => `scenario ${id} has no test`),
  ];
}

/** The page `docs/promises.md`. */
export function promisePage(rows: readonly Row[], runs: readonly TestRun[]): string {
  const byRow = new Map<string, TestRun[]>(rows.map(({ id }) => [id, []]));
  for (const run of runs) for (const id of promisesOf(run.title)) byRow.get(id)?.push(run);
  const testsOf = (id: string): TestRun[] => byRow.get(id) ?? [];
  const passed = rows.filter(
    ({ id }) => testsOf(id).length > 0 && resultOf(testsOf(id)) === 'passed',
  );
  const sections = [...Map.groupBy(rows, ({ seed }) => seed)].flatMap(([seed, members]) => [
    `## ${escape(seed)}`,
    '',
    ...table(
      ['row', 'promise', 'test', 'result'],
      members.map(({ id, promise }) => {
        const tests = testsOf(id);
        const result = tests.length === 0 ? 'no test' : resultOf(tests);
        const names = namesOf(tests, (title) => CLAIM.exec(title)?.[0]);
        return [id, promise.replaceAll('|', '\\|'), names, result];
      }),
    ),
    '',
  ]);
  const shown = new Set(runs.flatMap(({ title }) => scenariosOf(title)));
  return [
    '# Promises',
    '',
    '<!-- Written by `npm run clauses` from the last `npm test`. -->',
    '',
    'What was promised to the user, the tests whose names begin with the number of the promise, and how they ended.',
    '`npx vitest run -t S1.2` runs the tests of one.',
    '',
    `${passed.length} of ${rows.length} promises have tests and all of them passed; ${shown.size} of`,
    `${scenarios().length} scenarios of the design (\`[A7]\` in a title) have a test.`,
    '',
    ...sections,
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}
