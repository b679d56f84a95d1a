/** What the last `npm test` ran. */

import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** One test that ran: where, under which name of its own, and how it ended. */
export interface TestRun {
  readonly file: string;
  readonly title: string;
  readonly status: string;
}

/** What is read of vitest's JSON report. */
export interface TestReport {
  /** Milliseconds since 1970. */
  readonly startTime: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

const ROOT = new URL('../', import.meta.url);
const REPORT = '.cache/test-report.json';

/** The tests of the last `npm test`, or why they cannot be used: there was none, or files are newer. */
export function lastRuns(): TestRun[] | string {
  const place = new URL(REPORT, ROOT);
  if (!existsSync(place)) return `${REPORT} is missing; npm test writes it.`;
  const report = JSON.parse(readFileSync(place, 'utf8')) as TestReport; // Vitest's.
  const runs = testRuns(report, fileURLToPath(ROOT));
  const reported = new Set(runs.map(({ file }) => file));
  const files = globSync('{test,packages/*/test}/**/*.test.ts', { cwd: ROOT });
  const late = files.filter(
    (file) => !reported.has(file) || statSync(new URL(file, ROOT)).mtimeMs > report.startTime,
  );
  if (late.length === 0) return runs;
  return `${REPORT} is older than ${late.join(', ')}, or without it; npm test writes it.`;
}

/** The tests of a report; `root` is the folder that their paths shall be relative to. */
export function testRuns({ testResults }: TestReport, root: string): TestRun[] {
  return testResults
    .map(({ name, assertionResults }) => ({ file: relative(name, root), assertionResults }))
    .sort((a, b) => (a.file < b.file ? -1 : 1))
    .flatMap(({ file, assertionResults }) =>
      assertionResults.map(({ title, status }) => ({ file, title, status })),
    );
}

function relative(path: string, root: string): string {
  return path.startsWith(root) ? path.slice(root.length) : path;
}

/** `passed` if all did; else the first other ending. */
export function resultOf(tests: readonly TestRun[]): string {
  return tests.find(({ status }) => status !== 'passed')?.status ?? 'passed';
}
