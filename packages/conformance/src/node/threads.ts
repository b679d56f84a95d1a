/**
 * Runs the suite in threads of its own: a device that never returns is ended with its thread, which costs that case a
 * verdict and the others nothing.
 */

import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import type { DeviceCase } from '../case.ts';
import { mark } from '../manifest.ts';
import { type ConformanceOptions, type ConformanceReport, casesOf, reportOf } from '../run.ts';
import { resultOf } from '../run-case.ts';
import type { CaseResult } from '../verdict.ts';
import type { CaseTask } from './case-worker.ts';
import { type TargetSpec, loadTarget } from './target-module.ts';

export interface ThreadOptions extends Omit<ConformanceOptions, 'cases' | 'now'> {
  /** Default as many as there are processors, or as the target allows. */
  readonly threads?: number | undefined;
}

const CASE_MS = 20_000;
/** A thread and what it loads: some cases for each, or it does not pay. */
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
  const factory = await loadTarget(spec);
  const { format = 'split', manifest = factory.manifest, signal, onResult } = options;
  const { caseTimeoutMs = CASE_MS, parallel = availableParallelism(), name } = factory;
  factory.close?.();
  const cases = casesOf(options);
  const wanted = options.threads ?? Math.ceil(cases.length / CASES_PER_THREAD);
  const threads = Math.max(1, Math.min(parallel, wanted, availableParallelism()));
  const pool = new Piscina<CaseTask, CaseResult | undefined>({
    filename: new URL(`./case-worker.${EXTENSION}`, import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    // A lane of the loop below each: nothing waits in the pool.
    concurrentTasksPerWorker: 1,
  });
  const results: (CaseResult | undefined)[] = cases.map(() => undefined);
  let told = 0;
  const tell = (): void => {
    for (let next = results[told]; next !== undefined; next = results[told]) {
      told += 1;
      onResult?.(next, told, cases.length);
    }
  };
  const turns = cases.entries();
  const lane = async (): Promise<void> => {
    for (const [index, one] of turns) {
      signal?.throwIfAborted();
      const task = { spec, id: one.id, format };
      results[index] = mark(await runBounded(pool, one, task, caseTimeoutMs, signal), manifest);
      tell();
    }
  };
  try {
    // One for each thread, so that no case pays for it. What goes wrong does so again in a case, and is told there.
    const load = { spec, id: '', format };
    await Promise.allSettled(Array.from({ length: threads }, () => pool.run(load)));
    await Promise.all(Array.from({ length: threads }, lane));
  } finally {
    await pool.destroy();
  }
  const complete = results.filter((result) => result !== undefined);
  return reportOf(name, complete, { ...options, manifest });
}

async function runBounded(
  pool: Piscina<CaseTask, CaseResult | undefined>,
  one: DeviceCase,
  task: CaseTask,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<CaseResult> {
  const begun = performance.now();
  const bound = AbortSignal.timeout(timeoutMs);
  try {
    const result = await pool.run(task, {
      signal: signal === undefined ? bound : AbortSignal.any([bound, signal]),
    });
    if (result !== undefined) return result;
    throw new Error('the case has no result');
  } catch (error) {
    signal?.throwIfAborted();
    const seconds = (performance.now() - begun) / 1000;
    return bound.aborted
      ? resultOf(
          one,
          { result: 'fail', how: 'hang', evidence: [`no end within ${timeoutMs / 1000} s`] },
          seconds,
        )
      : resultOf(one, { result: 'fail', how: 'crash', evidence: [String(error)] }, seconds);
  }
}
