/** The fuzzer in threads: seeds are dealt out, findings are collected, a thread whose target never returns is replaced. */

import { availableParallelism } from 'node:os';
import { IommuError } from '@viommu/common';
import { Piscina } from 'piscina';
import { type TargetSpec, loadTarget } from '../node/target-module.ts';
import { signatureOf } from './deviation.ts';
import type { Finding } from './finding.ts';
import { randomSetup } from './platform.ts';
import { Random } from './random.ts';
import type { ShardResult } from './shard.ts';
import type { WorkerTask } from './shard-worker.ts';

/** How far a run has come. */
export interface Progress {
  /** Streams. */
  readonly runs: number;
  readonly requests: number;
  readonly accesses: number;
  readonly findings: number;
  /** Pairs of rules that followed each other. */
  readonly coverage: number;
  readonly seconds: number;
}

export interface FuzzOptions {
  /** The first seed; default 1. */
  readonly seed?: number | undefined;
  readonly seconds: number;
  /** Default as many as there are processors, or as the target allows. */
  readonly threads?: number | undefined;
  /** Runs each so-and-so-many-th seed only: `index` from 0 to `count` - 1. */
  readonly shard?: { readonly index: number; readonly count: number } | undefined;
  /** Called with each finding once, as it is there. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
  /** Called several times a second. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Ends the run early; what was found until then is returned all the same. */
  readonly signal?: AbortSignal | undefined;
}

/** What a run came to. */
export interface FuzzReport extends Progress {
  readonly target: string;
  readonly found: readonly Finding[];
}

type Pool = Piscina<WorkerTask, ShardResult>;

/** A shard ends after this long, unless something is shrunk. */
const SHARD_MS = 400;
/** A stream that takes longer than this hangs. */
const HANG_MS = 20_000;
const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** Fuzzes a target that every thread loads for itself. @throws {IommuError} `EINVAL` if it cannot be loaded. */
export async function fuzz(spec: TargetSpec, options: FuzzOptions): Promise<FuzzReport> {
  const { seed = 1, seconds, shard = { index: 0, count: 1 }, signal } = options;
  const factory = await loadTarget(spec);
  factory.close?.();
  const parallel = factory.parallel ?? availableParallelism();
  const threads = Math.max(1, Math.min(parallel, options.threads ?? parallel));
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const total = { runs: 0, requests: 0, accesses: 0 };
  const found = new Map<string, Finding>();
  const coverage = new Set<string>();
  const progress = (): Progress => ({
    ...total,
    findings: found.size,
    coverage: coverage.size,
    seconds: (performance.now() - begun) / 1000,
  });
  const take = (finding: Finding): void => {
    if (found.has(signatureOf(finding))) return;
    found.set(signatureOf(finding), finding);
    options.onFinding?.(finding);
  };
  const halt = (): number => Atomics.store(stop, 0, 1);
  signal?.addEventListener('abort', halt);
  if (signal?.aborted === true) halt();

  const pool: Pool = new Piscina({
    filename: new URL(`./shard-worker.${EXTENSION}`, import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    concurrentTasksPerWorker: 1,
  });
  const stride = shard.count * threads;
  const lane = async (index: number): Promise<void> => {
    const running = new Float64Array(new SharedArrayBuffer(8));
    let next = seed + shard.index + shard.count * index;
    while (Atomics.load(stop, 0) === 0) {
      const left = end - performance.now();
      if (left <= 0) return;
      const timeMs = Math.min(SHARD_MS, left);
      const known = [...found.keys()];
      const bound = AbortSignal.timeout(Math.ceil(timeMs) + HANG_MS);
      try {
        const task = { spec, running, stop, seed: next, stride, timeMs, known };
        const result = await pool.run(task, { signal: bound });
        next = result.next;
        total.runs += result.runs;
        total.requests += result.requests;
        total.accesses += result.accesses;
        for (const pair of result.coverage) coverage.add(pair);
        result.findings.forEach(take);
      } catch (error) {
        // The target could not even be loaded.
        if (!bound.aborted && total.runs === 0)
          throw new IommuError('EINVAL', error instanceof Error ? error.message : 'no thread runs');
        const hung = running[0] ?? next;
        total.runs += 1;
        take(lost(hung, bound.aborted || !(error instanceof Error) ? undefined : error));
        next = hung + stride;
      }
      options.onProgress?.(progress());
    }
  };
  try {
    await Promise.all(Array.from({ length: threads }, (_, index) => lane(index)));
  } finally {
    signal?.removeEventListener('abort', halt);
    await pool.destroy();
  }
  return { target: factory.name, ...progress(), found: [...found.values()] };
}

/** The finding of a thread that is gone; `error` is undefined if it was ended for its silence. */
function lost(seed: number, error: Error | undefined): Finding {
  const stream = { setup: randomSetup(new Random(seed)), steps: [] };
  const known = { seed, foundAfter: 0, stream, bySeed: true, tolerated: [] };
  return error === undefined
    ? { ...known, kind: 'hang', matter: 'a stream has no end', evidence: `seed ${seed}` }
    : { ...known, kind: 'crash', matter: 'the thread ended', evidence: error.message };
}
