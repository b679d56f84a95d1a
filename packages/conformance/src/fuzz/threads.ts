/** The fuzzers in threads: seeds are dealt out, findings are collected, a thread whose target never returns is replaced. */

import { availableParallelism } from 'node:os';
import { IommuError } from '@viommu/common';
import { type TargetSpec, loadTarget } from '../node/target-module.ts';
import { signatureOf } from './deviation.ts';
import type { Finding, FindingInput } from './finding.ts';
import { randomSetup } from './platform.ts';
import { Random } from './random.ts';
import { FUZZERS } from './registry.ts';
import type { FuzzResult } from './result-file.ts';
import { STREAM } from './run-stream.ts';
import { shrink } from './shrink.ts';
import { type ShardOutcome, ThreadPool } from './thread-pool.ts';
import { Turns } from './turn.ts';

/** What one fuzzer did. */
export interface Part {
  readonly fuzzer: string;
  readonly runs: number;
  readonly requests: number;
  /** A second, with all threads at it. */
  readonly perSecond: number;
}

/** How far a run has come. */
export interface Progress {
  /** Seeds that were run. */
  readonly runs: number;
  readonly requests: number;
  readonly accesses: number;
  readonly findings: number;
  /** Pairs of rules that followed each other. */
  readonly coverage: number;
  readonly seconds: number;
  readonly parts: readonly Part[];
}

export interface FuzzOptions {
  /** By name; default all of them for our own device, and streams alone for any other. */
  readonly fuzzers?: readonly string[] | undefined;
  /** The first seed; default 1. */
  readonly seed?: number | undefined;
  readonly seconds: number;
  /** Default as many as there are processors, or as the target allows. */
  readonly threads?: number | undefined;
  /** Runs each so-and-so-many-th seed only: `index` from 0 to `count` - 1. */
  readonly shard?: { readonly index: number; readonly count: number } | undefined;
  /** A run that takes longer than this hangs; default 20,000. */
  readonly hangMs?: number | undefined;
  /** Called with each finding once, as it is there. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
  /** Called several times a second. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Ends the run early; what was found until then is returned all the same. */
  readonly signal?: AbortSignal | undefined;
}

/** What a run came to. */
export interface FuzzReport extends FuzzResult {
  readonly found: readonly Finding[];
}

/** A run that takes longer than this hangs, unless the caller knows better. */
const HANG_MS = 20_000;
/** An input that never ends is shrunk for so long at most; a try of it hangs after so long. */
const HANG_SHRINK_MS = 20_000;
const HANG_TRY_MS = 1000;
const HANG_TRIES = 8;

/** Fuzzes a target that every thread loads for itself. @throws {IommuError} `EINVAL` if it cannot be loaded. */
export async function fuzz(spec: TargetSpec, options: FuzzOptions): Promise<FuzzReport> {
  const { seed = 1, seconds, shard = { index: 0, count: 1 }, signal } = options;
  const factory = await loadTarget(spec);
  factory.close?.();
  const parallel = factory.parallel ?? availableParallelism();
  const threads = Math.max(1, Math.min(parallel, options.threads ?? parallel));
  const fuzzers = options.fuzzers ?? fuzzersOf(spec);
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const found = new Map<string, Finding>();
  const coverage = new Set<string>();
  const total = { runs: 0, requests: 0, accesses: 0 };
  const parts = new Map(
    fuzzers.map((fuzzer) => [fuzzer, { fuzzer, runs: 0, requests: 0, timeMs: 0 }]),
  );
  const progress = (): Progress => ({
    ...total,
    findings: found.size,
    coverage: coverage.size,
    seconds: (performance.now() - begun) / 1000,
    parts: [...parts.values()].map(({ timeMs, ...part }) => ({
      ...part,
      perSecond: timeMs > 0 ? (part.requests / timeMs) * 1000 * threads : 0,
    })),
  });
  const take = (finding: Finding): void => {
    if (found.has(signatureOf(finding))) return;
    found.set(signatureOf(finding), finding);
    options.onFinding?.(finding);
  };

  const pool = new ThreadPool(spec, threads, options.hangMs ?? HANG_MS);
  const halt = (): void => pool.halt();
  signal?.addEventListener('abort', halt);
  if (signal?.aborted === true) halt();
  const timer = setTimeout(() => pool.end(), seconds * 1000);
  const stride = shard.count * threads;
  const lane = async (index: number): Promise<void> => {
    const turns = new Turns(fuzzers, index);
    const first = seed + shard.index + shard.count * index;
    const next = new Map(fuzzers.map((fuzzer) => [fuzzer, first]));
    while (!pool.halted && performance.now() < end) {
      const { fuzzer, timeMs } = turns.next(end - performance.now());
      const from = next.get(fuzzer) ?? first;
      const known = [...found.keys()];
      const task = { fuzzer, seed: from, stride, timeMs, known, shrink: true };
      const outcome = await pool.shard(task);
      const part = parts.get(fuzzer);
      if (outcome.kind === 'done') {
        const { result } = outcome;
        next.set(fuzzer, result.next);
        turns.took(fuzzer, result.timeMs);
        total.runs += result.runs;
        total.requests += result.requests;
        total.accesses += result.accesses;
        if (part !== undefined) {
          part.runs += result.runs;
          part.requests += result.requests;
          part.timeMs += result.timeMs;
        }
        for (const pair of result.coverage) coverage.add(pair);
        result.findings.forEach(take);
      } else {
        if (!outcome.begun)
          throw new IommuError('EINVAL', outcome.error?.message ?? 'The target is never loaded.');
        next.set(fuzzer, outcome.seed + stride);
        total.runs += 1;
        take(await lost(pool, fuzzer, outcome, options.hangMs ?? HANG_MS));
      }
      options.onProgress?.(progress());
    }
  };
  try {
    await Promise.all(Array.from({ length: threads }, (_, index) => lane(index)));
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', halt);
    await pool.close();
  }
  return {
    target: factory.name,
    ...progress(),
    covered: [...coverage],
    found: [...found.values()],
  };
}

/** Runs a finding again, in a thread that is ended if it never returns; undefined if nothing is wrong any more. */
export async function replay(
  spec: TargetSpec,
  finding: Finding,
  hangMs: number = HANG_MS,
): Promise<Finding | undefined> {
  const pool = new ThreadPool(spec, 1, hangMs);
  try {
    return await pool.replay(finding);
  } finally {
    await pool.close();
  }
}

function fuzzersOf({ module }: TargetSpec): readonly string[] {
  return module === 'core' ? [STREAM, ...FUZZERS.map(({ name }) => name)] : [STREAM];
}

/** The finding of a thread that is gone: by then, only the seed is known, and how far it came. */
async function lost(
  pool: ThreadPool,
  fuzzer: string,
  { seed, count, error }: Extract<ShardOutcome, { kind: 'lost' }>,
  hangMs: number,
): Promise<Finding> {
  const rebuilt = await pool.rebuild(fuzzer, seed, count);
  const input = rebuilt ?? emptyInput(fuzzer, seed);
  const symptom =
    error === undefined
      ? { kind: 'hang', matter: 'it never ends', evidence: `seed ${seed}` }
      : { kind: 'crash', matter: 'the thread ended', evidence: error.message };
  const finding = { fuzzer, seed, foundAfter: count, ...symptom, input, tolerated: [] };
  const latest = performance.now() + Math.min(HANG_SHRINK_MS, HANG_TRIES * hangMs);
  const tryMs = Math.min(HANG_TRY_MS, hangMs);
  return shrink(finding, (other) => pool.replay({ ...finding, input: other }, tryMs), {
    ended: () => pool.halted || performance.now() > latest,
  });
}

function emptyInput(fuzzer: string, seed: number): FindingInput {
  if (fuzzer !== STREAM) return { kind: 'tape', tape: [], notes: [] };
  return { kind: 'stream', stream: { setup: randomSetup(new Random(seed)), steps: [] } };
}
