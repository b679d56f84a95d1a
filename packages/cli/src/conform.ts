/** `viommu conform`: the suite against a device. */

import {
  type CaseResult,
  type ConformanceReport,
  type DeviceTargetFactory,
  caseEvent,
  casesOf,
  closingEvents,
  coreTarget,
  runConformance,
} from '@viommu/conformance';
import { qemuTarget } from '@viommu/peers';
import { ExitCode, usageFailure } from './failure.ts';
import { type Output, formatNoun } from './output.ts';
import { Progress } from './progress.ts';

export interface ConformOptions {
  /** `core`, `qemu`, or `qemu:` with a version, a path or a command line. */
  readonly target?: string;
  /** Only cases whose id begins with this. */
  readonly only?: string;
  /** Names the cases, and runs none. */
  readonly list?: true;
}

const RESULTS = ['fail', 'warn', 'skip', 'pass'] as const;
const STYLES = { pass: 'green', warn: 'yellow', fail: 'red', skip: 'dim' } as const;

/** Runs the suite; the result is the exit code. */
export async function conform(
  options: ConformOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const cases = casesOf(options);
  if (cases.length === 0) throw usageFailure(`no case begins with ${options.only}; see --list`);
  if (options.list === true) {
    for (const { id, level, title } of cases) {
      output.event({ event: 'listed', id, level, title });
      if (!output.json) output.line(`${id}  ${level}  ${title}`);
    }
    return ExitCode.OK;
  }
  const factory = targetOf(options.target ?? 'core');
  const begun = performance.now();
  let state = 'starting';
  const progress = new Progress(output.notes, () => state);
  const report = await runConformance(factory, {
    ...options,
    signal,
    now: () => performance.now() / 1000,
    onResult: (result, done, total) => {
      state = `${done} of ${total} ${result.id}`;
      output.event(caseEvent(result));
    },
  }).finally(() => progress.end());
  const seconds = (performance.now() - begun) / 1000;
  for (const event of closingEvents(report, seconds)) output.event(event);
  if (!output.json) print(report, seconds, output);
  return report.conforms ? ExitCode.OK : ExitCode.FAILED;
}

function targetOf(name: string): DeviceTargetFactory {
  if (name === 'core') return coreTarget;
  if (/^qemu(?::|$)/.test(name)) return qemuTarget(name);
  throw usageFailure(`there is no target ${name}; take core or qemu`);
}

function print(report: ConformanceReport, seconds: number, output: Output): void {
  let section = '';
  for (const result of report.results) {
    if (result.section !== section) {
      section = result.section;
      output.heading(section);
    }
    printCase(result, output);
  }
  const { summary } = report;
  const { covered, total } = summary.clauses;
  const counts = RESULTS.map((name) => `${summary[name]} ${name}`).join(', ');
  output.line();
  output.line(`${report.target}: ${formatNoun(report.results.length, 'case')}: ${counts}.`);
  output.line(`${covered} of ${total} clauses of the IOMMU chapter; ${seconds.toFixed(1)} s.`);
}

function printCase({ id, result, title, evidence }: CaseResult, output: Output): void {
  output.line(`  ${output.style(STYLES[result], result)}  ${id}  ${title}`);
  if (result !== 'pass') for (const line of evidence) output.line(`        ${line}`);
}
