/**
 * Writes `docs/clauses.md` and `docs/promises.md` from the report of the last `npm test`, or checks that they are up to
 * date (`--check`): then also that every clause has a test or a reason, and every promise a test.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Clause, clausePage, type Exceptions, findings } from './clause-table.ts';
import { type Row, promiseFindings, promisePage } from './promise-table.ts';
import { type TestRun, lastRuns } from './test-report.ts';

const ROOT = new URL('../', import.meta.url);

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

const runs = lastRuns();
if (typeof runs === 'string') complain(runs);
else run(runs);

function run(tests: readonly TestRun[]): void {
  const clauses = JSON.parse(read('packages/conformance/src/data/clause.json')) as Clause[]; // checked by test/tidy/clause.test.ts
  const exceptions = JSON.parse(read('test/clause/exception.json')) as Exceptions; // checked likewise
  findings(clauses, exceptions, tests).forEach(complain);
  write('docs/clauses.md', clausePage(clauses, exceptions, tests));

  const rows = JSON.parse(read('test/promise/row.json')) as Row[]; // checked by test/tidy/promise.test.ts
  promiseFindings(rows, tests).forEach(complain);
  write('docs/promises.md', promisePage(rows, tests));
}

function write(path: string, page: string): void {
  const place = new URL(path, ROOT);
  if (existsSync(place) && readFileSync(place, 'utf8') === page) return;
  if (values.check) {
    complain(`${path} is out of date; npm run clauses writes it.`);
  } else {
    writeFileSync(place, page);
    console.log(`Wrote ${path}.`);
  }
}

function complain(line: string): void {
  console.error(line);
  process.exitCode = 1;
}
