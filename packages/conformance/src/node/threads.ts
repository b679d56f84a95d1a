/**
 * Runs the suite in threads of its own: a device or driver that never returns is ended with its thread, which costs that
 * case a verdict and the others nothing.
 */

import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import { type Side, clauseOf } from '../catalogue.ts';
import { driverCasesOf, driverReportOf } from '../driver/run.ts';
import { mark } from '../manifest.ts';
import { type ConformanceOptions, type ConformanceReport, casesOf, reportOf } from '../run.ts';
import type { DeviceTargetFactory } from '../target.ts';
import type { CaseResult } from '../verdict.ts';
import type { CaseOutcome, CaseTask } from './case-worker.ts';
import { type TargetSpec, loadDriver, loadTarget } from './target-module.ts';

export interface ThreadOptions extends Omit<ConformanceOptions, 'cases' | 'now'> {
  /** Whose clauses; default the device's. */
  readonly side?: Side | undefined;
  /** Default as many as there are processors, or as the target allows. */
  readonly threads?: number | undefined;
}

type Pool = Piscina<CaseTask, CaseOutcome | undefined>;
type CaseHead = Pick<CaseResult, 'id' | 'title' | 'section' | 'level'>;

const CASE_MS = 20_000;
/** A thread and what it loads take as long as many cases: with fewer for each it does not pay. */
const CASES_PER_THREAD = 16;
const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/**
 * Runs the suite against a target that every thread loads for itself. Results come in the order of the suite.
 *
 * @throws {IommuError} `EINVAL` if the target cannot be loaded; the reason of the signal.
 */
export async function runInThreads(
  spec: TargetSpec,
  options: ThreadOptions = {},
): Promise<ConformanceReport> {
  const { side = 'device', format = 'split', signal, onResult } = options;
  const { name, caseTimeoutMs = CASE_MS, parallel, manifest } = await headOf(spec, side);
  const settled = { ...options, manifest: options.manifest ?? manifest };
  const { only } = options;
  const cases: readonly CaseHead[] =
    side === 'device' ? casesOf({ only }) : driverCasesOf({ only });
  const pool = createPool(threadsFor(cases.length, options.threads, parallel));
  const outcomes: (CaseOutcome | undefined)[] = cases.map(() => undefined);
  let told = 0;
  const tell = (): void => {
    for (let next = outcomes[told]; next !== undefined; next = outcomes[told]) {
      told += 1;
      onResult?.(mark(next.result, settled.manifest), told, cases.length);
    }
  };
  const turns = cases.entries();
  const lane = async (): Promise<void> => {
    for (const [index, one] of turns) {
      signal?.throwIfAborted();
      const task = { spec, side, id: one.id, format };
      const bounds = { timeoutMs: caseTimeoutMs, signal };
      let outcome = await runBounded(pool, one, task, bounds);
      // Time runs out on a busy machine, too: a hang is believed the second time, in a thread that is up.
      if (outcome.result.how === 'hang') {
        await pool.run({ ...task, id: '' }).catch(() => undefined);
        outcome = await runBounded(pool, one, task, bounds);
      }
      outcomes[index] = outcome;
      tell();
    }
  };
  try {
    // One for each thread, so that no case pays for it. What goes wrong does so again in a case, and is told there.
    const lanes = Array.from({ length: pool.maxThreads });
    await Promise.allSettled(lanes.map(() => pool.run({ spec, side, id: '', format })));
    await Promise.all(lanes.map(lane));
  } finally {
    await pool.destroy();
  }
  const complete = outcomes.filter((outcome) => outcome !== undefined);
  if (side === 'driver') return driverReportOf(name, complete, settled);
  const results = complete.map(({ result }) => mark(result, settled.manifest));
  return reportOf(name, results, settled);
}

/** What a target says about itself; the threads load it again. */
async function headOf(
  spec: TargetSpec,
  side: Side,
): Promise<Pick<DeviceTargetFactory, 'name' | 'caseTimeoutMs' | 'parallel' | 'manifest'>> {
  if (side === 'driver') return loadDriver(spec);
  const factory = await loadTarget(spec);
  factory.close?.();
  return factory;
}

function threadsFor(
  cases: number,
  wanted = Math.ceil(cases / CASES_PER_THREAD),
  parallel = availableParallelism(),
): number {
  return Math.max(1, Math.min(parallel, wanted, cases));
}

function createPool(threads: number): Pool {
  return new Piscina({
    filename: new URL(`./case-worker.${EXTENSION}`, import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    // Each has a lane of its own: nothing waits in the pool.
    concurrentTasksPerWorker: 1,
  });
}

async function runBounded(
  pool: Pool,
  one: CaseHead,
  task: CaseTask,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
): Promise<CaseOutcome> {
  const begun = performance.now();
  const bound = AbortSignal.timeout(timeoutMs);
  try {
    const outcome = await pool.run(task, {
      signal: signal === undefined ? bound : AbortSignal.any([bound, signal]),
    });
    if (outcome !== undefined) return outcome;
    throw new Error('the case has no result');
  } catch (error) {
    signal?.throwIfAborted();
    const seconds = (performance.now() - begun) / 1000;
    return bound.aborted
      ? lost(one, 'hang', `no end within ${timeoutMs / 1000} s`, seconds)
      : lost(one, 'crash', String(error), seconds);
  }
}

/** The result of a case whose thread is gone. */
function lost(
  { id, title, section, level }: CaseHead,
  how: 'crash' | 'hang',
  evidence: string,
  seconds: number,
): CaseOutcome {
  const head = { id, clause: clauseOf(id), title, section, level };
  return { result: { ...head, result: 'fail', how, evidence: [evidence], seconds }, findings: [] };
}
