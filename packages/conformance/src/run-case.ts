/** Runs one case against one target, and turns whatever happens into a verdict. */

import { DeviceStatus } from '@viommu/common';
import type { DeviceCase } from './case.ts';
import { clauseOf, entryOf } from './catalogue.ts';
import { Session } from './device/session.ts';
import type { RingFormat } from './device/start.ts';
import { missing } from './need.ts';
import { type DeviceTarget, type DeviceTargetFactory, TargetFailure } from './target.ts';
import {
  type CaseResult,
  NoAnswer,
  type Result,
  Skipped,
  Violation,
  resultOfBroken,
} from './verdict.ts';

export interface RunCaseOptions {
  readonly format: RingFormat;
  /** Seconds on any clock. */
  readonly now: () => number;
}

const STACK_LINES = 8;

type Verdict = Pick<CaseResult, 'result' | 'how' | 'evidence'>;

/** Opens a target of its own for the case. Never throws. */
export async function runCase(
  one: DeviceCase,
  factory: DeviceTargetFactory,
  { format, now }: RunCaseOptions,
): Promise<CaseResult> {
  if (one.unreachable !== undefined)
    return resultOf(one, { result: 'skip', evidence: [one.unreachable] }, 0);
  const begun = now();
  let target: DeviceTarget | undefined;
  let verdict: Verdict;
  try {
    target = await factory.open(one.wish ?? {});
    verdict = judge(one, target, format, factory);
  } catch (error) {
    verdict = verdictOf(error, one, factory, undefined);
  }
  try {
    target?.dispose();
  } catch (error) {
    if (verdict.result === 'pass' || verdict.result === 'skip')
      verdict = verdictOf(error, one, factory, undefined);
  }
  return resultOf(one, verdict, now() - begun);
}

/** The result of a case, complete. */
export function resultOf(
  { id, title, section, level }: DeviceCase,
  verdict: Verdict,
  seconds: number,
): CaseResult {
  return { id, clause: clauseOf(id), title, section, level, ...verdict, seconds };
}

function judge(
  one: DeviceCase,
  target: DeviceTarget,
  format: RingFormat,
  factory: DeviceTargetFactory,
): Verdict {
  const entry = entryOf(one.id);
  if (entry === undefined) throw new Error(`${one.id} is not in the catalogue`);
  let session: Session | undefined;
  try {
    session = new Session({ target, entry, format });
    const reason = missing(one.needs ?? [], session);
    if (reason !== undefined) throw new Skipped(reason);
    if (one.start !== false) session.start(one.start);
    one.run(session);
    if (session.started) serveToTheEnd(one, session);
    const { warnings, notes, transcript } = session;
    return warnings.length > 0
      ? { result: 'warn', evidence: [...warnings, ...notes, ...transcript.lines()] }
      : { result: 'pass', evidence: notes };
  } catch (error) {
    return verdictOf(error, one, factory, session);
  }
}

/** Whatever a case did, the device serves afterwards. */
function serveToTheEnd({ mayBreak }: DeviceCase, session: Session): void {
  const status = session.target.readStatus();
  // A case that reset the device and left it there has nothing to serve.
  if ((status & DeviceStatus.DRIVER_OK) === 0) return;
  if (mayBreak === true && (status & DeviceStatus.DEVICE_NEEDS_RESET) !== 0) return;
  session.checkServes();
}

function verdictOf(
  error: unknown,
  one: DeviceCase,
  { apart }: DeviceTargetFactory,
  session: Session | undefined,
): Verdict {
  const steps = session === undefined ? [] : [...session.warnings, ...session.notes];
  const told = [...steps, ...(session?.transcript.lines() ?? [])];
  if (error instanceof Skipped) return { result: 'skip', evidence: [error.message, ...steps] };
  if (error instanceof TargetFailure)
    return {
      result: 'fail',
      how: error.how,
      evidence: [error.message, ...error.lastWords, ...told],
    };
  if (error instanceof NoAnswer)
    return { result: 'fail', how: 'hang', evidence: [error.message, ...told] };
  if (error instanceof Violation) {
    const result: Result = error.weight === 'fail' ? 'fail' : resultOfBroken(one.level);
    // What was found on the way is not forgotten.
    const worse = result === 'pass' && (session?.warnings.length ?? 0) > 0 ? 'warn' : result;
    return { result: worse, evidence: [error.message, ...told] };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const thrown = text.split('\n').slice(0, STACK_LINES);
  if (apart === true)
    return { result: 'skip', evidence: ['the suite or its target has a mistake', ...thrown] };
  // A device in this thread that throws has crashed; so has a suite with a mistake in it, and the stack tells which.
  return { result: 'fail', how: 'crash', evidence: [...thrown, ...told] };
}
