/** The fuzzers in threads: seeds are dealt out, findings are collected. */

import { availableParallelism } from 'node:os';
import { loadTarget } from '../node/target-module.ts';
import { AGAINST } from './against.ts';
import type { CorpusEntry } from './corpus-file.ts';
import { hookObstacle } from './feedback/hook.ts';
import { GUIDED } from './feedback/trial.ts';
import type { Finding } from './finding.ts';
import { FuzzThread } from './fuzz-thread.ts';
import { Lane } from './lane.ts';
import { FUZZERS } from './registry.ts';
import type { FuzzResult, Progress } from './result-file.ts';
import { Stop } from './run-cell.ts';
import { STREAM } from './run-stream.ts';
import type { Subject } from './shard-worker.ts';
import { Total } from './total.ts';

export interface FuzzOptions {
  /** By name; default all that suit what is tried: {@link fuzzersOf}. */
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
  /** Inputs to begin with. */
  readonly corpus?: readonly CorpusEntry[] | undefined;
  /** Called with each input that is new and reaches something new. */
  readonly onEntry?: ((entry: CorpusEntry) => void) | undefined;
  /** Called with each finding once, as it is there. */
  readonly onFinding?: ((finding: Finding) => void) | undefined;
  /** Hears what cannot be done here, and why. */
  readonly onNote?: ((note: string) => void) | undefined;
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

/** Fuzzes targets that every thread loads for itself. @throws {IommuError} `EINVAL` if one cannot be loaded. */
export async function fuzz(subject: Subject, options: FuzzOptions): Promise<FuzzReport> {
  const { seed = 1, seconds, shard = { index: 0, count: 1 }, signal } = options;
  const { name, parallel } = await looked(subject);
  const threads = Math.max(1, Math.min(parallel, options.threads ?? parallel));
  const fuzzers = options.fuzzers ?? fuzzersOf(subject);
  const obstacle = subject.target.module === 'core' ? hookObstacle() : undefined;
  if (fuzzers.includes(GUIDED) && obstacle !== undefined) options.onNote?.(obstacle);
  const now = (): number => performance.now();
  const hear = (finding: Finding): void => options.onFinding?.(finding);
  const total = new Total(fuzzers, threads, hear, now);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const corpus = [...(options.corpus ?? [])];
  // One thread that learns knows what several would each have to find out.
  const unguided = fuzzers.filter((fuzzer) => fuzzer !== GUIDED);
  const lanes = Array.from(
    { length: threads },
    (_, index) =>
      new Lane({
        subject,
        fuzzers: index > 0 && unguided.length > 0 ? unguided : fuzzers,
        index,
        seed: seed + shard.index + shard.count * index,
        stride: shard.count * threads,
        now,
        stop,
        hangMs: options.hangMs ?? HANG_MS,
        total,
        corpus,
        keep: (entry) => options.onEntry?.(entry),
        turned: () => options.onProgress?.(total.progress),
      }),
  );
  const halt = (): number => Atomics.store(stop, 0, Stop.HALT);
  let timer: NodeJS.Timeout | undefined;
  signal?.addEventListener('abort', halt);
  if (signal?.aborted === true) halt();
  try {
    await Promise.all(lanes.map((lane) => lane.load()));
    total.begin();
    const over = (): number => Atomics.compareExchange(stop, 0, Stop.NONE, Stop.OVER);
    timer = setTimeout(over, seconds * 1000);
    const end = now() + seconds * 1000;
    await Promise.all(lanes.map((lane) => lane.run(end)));
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', halt);
    await Promise.all(lanes.map((lane) => lane.close()));
  }
  const { progress, covered, findings } = total;
  return { target: name, ...progress, covered, found: findings };
}

/** Names of the fuzzers that suit what is tried. */
export function fuzzersOf({ target, against }: Subject): readonly string[] {
  if (against !== undefined) return [AGAINST];
  const streams = [STREAM, GUIDED];
  return target.module === 'core' ? [...streams, ...FUZZERS.map(({ name }) => name)] : streams;
}

/** Runs a finding again, in a thread that is ended if it never returns; undefined if nothing is wrong any more. */
export async function replay(
  subject: Subject,
  finding: Finding,
  hangMs: number = HANG_MS,
): Promise<Finding | undefined> {
  return inThread(subject, hangMs, false, (thread) => thread.replay(finding));
}

/** Of these inputs, some that reach all that they do. */
export async function minimiseCorpus(
  subject: Subject,
  entries: readonly CorpusEntry[],
): Promise<readonly CorpusEntry[]> {
  const instrumented = subject.target.module === 'core';
  return inThread(subject, HANG_MS, instrumented, (thread) => thread.minimise(entries));
}

async function inThread<Result>(
  subject: Subject,
  hangMs: number,
  instrumented: boolean,
  work: (thread: FuzzThread) => Promise<Result>,
): Promise<Result> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const thread = new FuzzThread({ subject, stop, hangMs, instrumented });
  try {
    return await work(thread);
  } finally {
    await thread.close();
  }
}

/** What is tried, by name, and in how many threads it can be. */
async function looked({ target, against }: Subject): Promise<{ name: string; parallel: number }> {
  const specs = against === undefined ? [target] : [target, against];
  const factories = await Promise.all(specs.map(loadTarget));
  for (const factory of factories) factory.close?.();
  return {
    name: factories.map((factory) => factory.name).join(' against '),
    parallel: Math.min(...factories.map(({ parallel = availableParallelism() }) => parallel)),
  };
}
