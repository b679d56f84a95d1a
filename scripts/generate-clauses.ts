/**
 * Writes `docs/clauses.md` from the report of the last `npm test`, or checks that it is up to date (`--check`): then
 * also that every clause has a test or a reason.
 */

import { existsSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type Clause,
  clausePage,
  type Exceptions,
  findings,
  type TestReport,
  testRuns,
} from './clause-table.ts';

const ROOT = new URL('../', import.meta.url);
const REPORT = '.cache/test-report.json';
const PAGE = 'docs/clauses.md';

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

if (existsSync(new URL(REPORT, ROOT))) run();
else complain(`${REPORT} is missing; npm test writes it.`);

function run(): void {
  const clauses = JSON.parse(read('test/clause/catalogue.json')) as Clause[]; // checked by test/tidy/clause.test.ts
  const exceptions = JSON.parse(read('test/clause/exception.json')) as Exceptions; // checked likewise
  const report = JSON.parse(read(REPORT)) as TestReport; // written by vitest
  const runs = testRuns(report, fileURLToPath(ROOT));

  const reported = new Set(runs.map(({ file }) => file));
  const files = globSync('{test,packages/*/test}/**/*.test.ts', { cwd: ROOT });
  const late = files.filter(
    (file) => !reported.has(file) || statSync(new URL(file, ROOT)).mtimeMs > report.startTime,
  );
  if (late.length > 0) {
    complain(`${REPORT} is older than ${late.join(', ')}, or without it; npm test writes it.`);
    return;
  }

  findings(clauses, exceptions, runs).forEach(complain);
  const page = clausePage(clauses, exceptions, runs);
  const place = new URL(PAGE, ROOT);
  if (existsSync(place) && readFileSync(place, 'utf8') === page) return;
  if (values.check) {
    complain(`${PAGE} is out of date; npm run clauses writes it.`);
  } else {
    writeFileSync(place, page);
    console.log(`Wrote ${PAGE}.`);
  }
}

function complain(line: string): void {
  console.error(line);
  process.exitCode = 1;
}
