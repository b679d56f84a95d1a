/** Runs the driver's side of the suite: every case against a driver of its own, on a device of its own. */

import { clauseOf } from '../catalogue.ts';
import { summarize } from '../coverage.ts';
import type { DriverTarget, DriverTargetFactory } from '../driver-target.ts';
import { type Manifest, mark, vanished } from '../manifest.ts';
import type { ConformanceReport } from '../run.ts';
import { TargetFailure } from '../target.ts';
import { type CaseResult, Skipped, Violation, resultOfBroken } from '../verdict.ts';
import type { DriverCase } from './case.ts';
import type { Finding } from './ledger.ts';
import { DriverSession } from './session.ts';
import { weightOf } from './stream-monitor.ts';
import { DRIVER_CASES } from './suite.ts';

export interface DriverConformanceOptions {
  /** Only cases whose id begins with this. */
  readonly only?: string | undefined;
  /** Default all cases on the driver's side. */
  readonly cases?: readonly DriverCase[];
  readonly manifest?: Manifest | undefined;
  readonly onResult?: ((result: CaseResult, done: number, total: number) => void) | undefined;
  /** Seconds on any clock; without one no case takes any time. */
  readonly now?: () => number;
  readonly signal?: AbortSignal | undefined;
}

/** The cases that a run has. */
export function driverCasesOf({
  only = '',
  cases = DRIVER_CASES,
}: DriverConformanceOptions): DriverCase[] {
  return cases.filter(({ id }) => id.startsWith(only));
}

/**
 * Runs the suite against a driver in this thread. What the watchers find in a case about another clause counts too: it
 * is a result of its own, `<clause>#<the case it was seen in>`, unless a case of that clause has said so already.
 */
export async function runDriverConformance(
  factory: DriverTargetFactory,
  options: DriverConformanceOptions = {},
): Promise<ConformanceReport> {
  const { now = () => 0, signal, onResult, manifest } = options;
  const cases = driverCasesOf(options);
  const outcomes: DriverCaseOutcome[] = [];
  for (const one of cases) {
    signal?.throwIfAborted();
    const outcome = await runDriverCase(one, factory, now);
    outcomes.push(outcome);
    onResult?.(mark(outcome.result, manifest), outcomes.length, cases.length);
  }
  return driverReportOf(factory.name, outcomes, options);
}

/** What one case comes to, and what the watchers found about other clauses meanwhile. */
export interface DriverCaseOutcome {
  readonly result: CaseResult;
  readonly findings: readonly Finding[];
}

/** The report on a complete run; `onResult` hears of the results that no case stands for. */
export function driverReportOf(
  target: string,
  outcomes: readonly DriverCaseOutcome[],
  { only = '', manifest, onResult }: DriverConformanceOptions,
): ConformanceReport {
  const results = outcomes.map(({ result }) => mark(result, manifest));
  const strays = new Map<string, { readonly finding: Finding; readonly seenIn: string }>();
  for (const { result, findings } of outcomes)
    for (const finding of findings)
      if (!strays.has(finding.clause)) strays.set(finding.clause, { finding, seenIn: result.id });
  for (const { finding, seenIn } of strays.values()) {
    if (!finding.clause.startsWith(only)) continue;
    if (
      results.some(
        ({ clause, result }) => clause === finding.clause && result !== 'pass' && result !== 'skip',
      )
    )
      continue;
    const result = mark(strayResult(finding, seenIn), manifest);
    results.push(result);
    onResult?.(result, results.length, results.length);
  }
  return {
    target,
    results,
    vanished: vanished(results, manifest),
    summary: summarize(results, only, 'driver'),
    conforms: !results.some(
      ({ result, expected }) =>
        expected !== true && (result === 'fail' || (manifest !== undefined && result === 'warn')),
    ),
  };
}

/** Runs one case. Never throws. */
export async function runDriverCase(
  one: DriverCase,
  factory: DriverTargetFactory,
  now: () => number = () => 0,
): Promise<DriverCaseOutcome> {
  const begun = now();
  let target: DriverTarget | undefined;
  let session: DriverSession | undefined;
  let verdict: Pick<CaseResult, 'result' | 'how' | 'evidence'>;
  try {
    target = await factory.open();
    session = new DriverSession(target, one.id, one.device);
    one.run(session);
    const { warnings, notes } = session;
    verdict =
      warnings.length > 0
        ? { result: 'warn', evidence: [...warnings, ...notes, ...session.evidence()] }
        : { result: 'pass', evidence: notes };
  } catch (error) {
    // What is broken already is broken, even if the case could not be brought to its end.
    const [finding] = error instanceof Skipped ? (session?.ledger.of(clauseOf(one.id)) ?? []) : [];
    const reason = finding === undefined ? error : new Violation(finding.message);
    verdict = verdictOf(reason, one, session);
  }
  try {
    target?.dispose();
  } catch (error) {
    if (verdict.result === 'pass' || verdict.result === 'skip')
      verdict = verdictOf(error, one, session);
  }
  const { id, title, section, level } = one;
  const clause = clauseOf(id);
  const findings = (session?.ledger.findings ?? []).filter((finding) => finding.clause !== clause);
  return {
    result: { id, clause, title, section, level, ...verdict, seconds: now() - begun },
    findings,
  };
}

function verdictOf(
  error: unknown,
  { level }: DriverCase,
  session: DriverSession | undefined,
): Pick<CaseResult, 'result' | 'how' | 'evidence'> {
  const told = [
    ...(session?.warnings ?? []),
    ...(session?.notes ?? []),
    ...(session?.evidence() ?? []),
  ];
  if (error instanceof Skipped)
    return { result: 'skip', evidence: [error.message, ...(session?.notes ?? [])] };
  if (error instanceof TargetFailure)
    return {
      result: 'fail',
      how: error.how,
      evidence: [error.message, ...error.lastWords, ...told],
    };
  if (error instanceof Violation) {
    const result = error.weight === 'fail' ? 'fail' : resultOfBroken(level);
    return { result, evidence: [error.message, ...told] };
  }
  // A driver in this thread that throws has crashed; so has a suite with a mistake in it, and the stack tells which.
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { result: 'fail', how: 'crash', evidence: [...text.split('\n').slice(0, 8), ...told] };
}

function strayResult({ clause, message }: Finding, seenIn: string): CaseResult {
  const { level, result } = weightOf(clause);
  return {
    id: `${clause}#${seenIn}`,
    clause,
    title: clause.startsWith('advice.') ? 'no clause forbids it' : 'seen on the way',
    section: 'Seen on the way',
    level,
    result,
    evidence: [`${message} (in ${seenIn})`],
    seconds: 0,
  };
}
