/** A thread that runs fuzzers, and is replaced once it is silent for too long. */

import { IommuError } from '@viommu/common';
import { Piscina } from 'piscina';
import type { CorpusEntry } from './corpus-file.ts';
import { Announcement } from './feedback/announcement.ts';
import type { Finding, FindingInput } from './finding.ts';
import { RunCell, runCells } from './run-cell.ts';
import type { ShardResult, ShardTask } from './shard.ts';
import type { ShardWork, Subject, WorkerTask } from './shard-worker.ts';

/** Loading all there is takes less than this in any case. */
const LOAD_MS = 30_000;
/** How often it is looked whether a thread is silent for too long. */
const LOOK_MS = 50;
const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** What became of a task: done, or the thread is lost; `error` is undefined if it was ended for its silence. */
export type ShardOutcome =
  | { readonly kind: 'done'; readonly result: ShardResult }
  | {
      readonly kind: 'lost';
      readonly seed: number;
      readonly count: number;
      readonly error: Error | undefined;
    };

export interface FuzzThreadOptions {
  readonly subject: Subject;
  /** One of `Stop`, for all threads. */
  readonly stop: Int32Array;
  /** A run that takes longer than this hangs. */
  readonly hangMs: number;
  /** Our own packages are instrumented. */
  readonly instrumented: boolean;
}

export class FuzzThread {
  readonly #options: FuzzThreadOptions;
  readonly #pool: Piscina<WorkerTask>;
  /** What a guided run is about to do. */
  readonly #announcement: SharedArrayBuffer = new Announcement().buffer;

  constructor(options: FuzzThreadOptions) {
    this.#options = options;
    const name = options.instrumented ? 'guided-worker' : 'shard-worker';
    this.#pool = new Piscina({
      filename: new URL(`./${name}.${EXTENSION}`, import.meta.url).href,
      minThreads: 1,
      maxThreads: 1,
    });
  }

  /** Loads what is needed. @throws {IommuError} `EINVAL` if that is not possible. */
  async load(): Promise<void> {
    const { subject } = this.#options;
    const running = runCells(0);
    const result = await this.#run({ kind: 'load', subject, running }, running, LOAD_MS);
    if (result.kind === 'done') return;
    throw new IommuError('EINVAL', result.error?.message ?? 'The target is never loaded.');
  }

  /** Runs seeds; `entries` are inputs that are new to a guided one. */
  async shard(task: ShardTask, entries: readonly CorpusEntry[] = []): Promise<ShardOutcome> {
    const { subject, stop, hangMs } = this.#options;
    const running = runCells(task.seed);
    const announcement = this.#announcement;
    const work: ShardWork = {
      kind: 'shard',
      ...task,
      subject,
      running,
      stop,
      announcement,
      entries,
    };
    const result = await this.#run<ShardResult>(work, running, hangMs);
    if (result.kind === 'done') return result;
    // What was found is not to be lost with what came of shrinking it.
    if (running[RunCell.SHRINKS] !== 0 && task.shrink)
      return this.shard({ ...task, seed: running[RunCell.SEED]!, timeMs: 0, shrink: false }); // all cells are there
    return {
      ...result,
      seed: running[RunCell.SEED]!, // all cells are there
      count: running[RunCell.COUNT]!,
    };
  }

  /** Runs the input of a finding again; silence is a hang. */
  async replay(
    finding: Finding,
    boundMs: number = this.#options.hangMs,
  ): Promise<Finding | undefined> {
    const running = runCells(finding.seed);
    const task = { kind: 'replay', subject: this.#options.subject, finding, running } as const;
    const result = await this.#run<Finding | undefined>(task, running, boundMs);
    if (result.kind === 'done') return result.result;
    const { error } = result;
    return error === undefined
      ? { ...finding, kind: 'hang', matter: 'it never ends', evidence: `silent for ${boundMs} ms` }
      : { ...finding, kind: 'crash', matter: 'the thread ended', evidence: error.message };
  }

  /** The input of a seed that was run last, of which so much was used; undefined if it cannot be made again. */
  async rebuild(
    fuzzer: string,
    seed: number,
    count: number,
    tolerated: readonly string[],
  ): Promise<FindingInput | undefined> {
    const running = runCells(seed);
    const announcement = this.#announcement;
    const { subject, hangMs } = this.#options;
    const origin = { fuzzer, seed, count, tolerated };
    const work: WorkerTask = { kind: 'rebuild', subject, ...origin, running, announcement };
    const result = await this.#run<FindingInput>(work, running, hangMs);
    return result.kind === 'done' ? result.result : undefined;
  }

  /** Of these inputs, some that reach all that they do. @throws {Error} if one of them ends the thread. */
  async minimise(entries: readonly CorpusEntry[]): Promise<readonly CorpusEntry[]> {
    const { subject, hangMs } = this.#options;
    const running = runCells(0);
    const task = { kind: 'minimise', subject, entries, running } as const;
    const result = await this.#run<readonly CorpusEntry[]>(task, running, hangMs);
    if (result.kind === 'done') return result.result;
    throw result.error ?? new Error('An input of the corpus never ends.');
  }

  /** Ends the thread, and what it keeps of the target. */
  async close(): Promise<void> {
    await this.#run({ kind: 'close' }, runCells(0), LOAD_MS);
    await this.#pool.destroy();
  }

  /** Runs a task, and ends its thread if a run takes longer than `boundMs`, or loading far too long. */
  async #run<Result>(
    task: WorkerTask,
    running: Float64Array,
    boundMs: number,
  ): Promise<{ kind: 'done'; result: Result } | { kind: 'lost'; error: Error | undefined }> {
    const ended = new AbortController();
    const given = performance.now();
    let runs = 0;
    let since = 0;
    const look = setInterval(() => {
      const now = performance.now();
      const begun = running[RunCell.RUNS]!; // all cells are there
      if (begun !== runs) [runs, since] = [begun, now];
      if (runs > 0 ? now - since > boundMs : now - given > LOAD_MS) ended.abort();
    }, LOOK_MS);
    try {
      const result = (await this.#pool.run(task, { signal: ended.signal })) as Result; // the worker's, of this task
      return { kind: 'done', result };
    } catch (error) {
      const silent = ended.signal.aborted || !(error instanceof Error);
      return { kind: 'lost', error: silent ? undefined : error };
    } finally {
      clearInterval(look);
    }
  }
}
