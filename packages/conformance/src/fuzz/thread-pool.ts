/** Threads that run fuzzers, each of them replaced once it is silent for too long. */

import { Piscina } from 'piscina';
import type { TargetSpec } from '../node/target-module.ts';
import type { Finding, FindingInput } from './finding.ts';
import { RunCell, Stop, runCells } from './run-cell.ts';
import type { ShardResult, ShardTask } from './shard.ts';
import type { WorkerTask } from './shard-worker.ts';

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
      /** False if it did not even load what it needs. */
      readonly begun: boolean;
      readonly error: Error | undefined;
    };

export class ThreadPool {
  readonly #spec: TargetSpec;
  readonly #threads: number;
  /** A run that takes longer than this hangs. */
  readonly #hangMs: number;
  readonly #pool: Piscina<WorkerTask>;
  readonly #stop: Int32Array = new Int32Array(new SharedArrayBuffer(4));

  constructor(spec: TargetSpec, threads: number, hangMs: number) {
    this.#spec = spec;
    this.#threads = threads;
    this.#hangMs = hangMs;
    this.#pool = new Piscina({
      filename: new URL(`./shard-worker.${EXTENSION}`, import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
    });
  }

  /** Has all shards end soon, but for findings that are shrunk. */
  end(): void {
    Atomics.compareExchange(this.#stop, 0, Stop.NONE, Stop.OVER);
  }

  /** Has all shards end at once. */
  halt(): void {
    Atomics.store(this.#stop, 0, Stop.HALT);
  }

  get halted(): boolean {
    return Atomics.load(this.#stop, 0) === Stop.HALT;
  }

  async shard(task: ShardTask): Promise<ShardOutcome> {
    const running = runCells(task.seed);
    const result = await this.#run<ShardResult>(
      { kind: 'shard', ...task, spec: this.#spec, running, stop: this.#stop },
      running,
      this.#hangMs,
    );
    if (result.kind === 'done') return result;
    // What was found is not to be lost with what came of shrinking it.
    if (running[RunCell.SHRINKS] !== 0 && task.shrink)
      return this.shard({ ...task, seed: running[RunCell.SEED]!, timeMs: 0, shrink: false }); // all cells are there
    return {
      ...result,
      seed: running[RunCell.SEED]!, // all cells are there
      count: running[RunCell.COUNT]!,
      begun: running[RunCell.RUNS] !== 0,
    };
  }

  /** Runs the input of a finding again; silence is a hang. */
  async replay(finding: Finding, boundMs: number = this.#hangMs): Promise<Finding | undefined> {
    const running = runCells(finding.seed);
    const task = { kind: 'replay', spec: this.#spec, finding, running } as const;
    const result = await this.#run<Finding | undefined>(task, running, boundMs);
    if (result.kind === 'done') return result.result;
    const { error } = result;
    return error === undefined
      ? { ...finding, kind: 'hang', matter: 'it never ends', evidence: `silent for ${boundMs} ms` }
      : { ...finding, kind: 'crash', matter: 'the thread ended', evidence: error.message };
  }

  /** The input of a seed, of which so much was used; undefined if it cannot be made again. */
  async rebuild(fuzzer: string, seed: number, count: number): Promise<FindingInput | undefined> {
    const running = runCells(seed);
    const task = { kind: 'rebuild', spec: this.#spec, fuzzer, seed, count, running } as const;
    const result = await this.#run<FindingInput>(task, running, this.#hangMs);
    return result.kind === 'done' ? result.result : undefined;
  }

  /** Ends all threads, and what they keep of the target. */
  async close(): Promise<void> {
    // One for each thread: none takes a second one before all have one.
    const arrived = new Int32Array(new SharedArrayBuffer(4));
    const task = { kind: 'close', arrived, threads: this.#threads } as const;
    const running = runCells(0);
    await Promise.all(
      Array.from({ length: this.#threads }, () => this.#run(task, running, LOAD_MS)),
    );
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
