/** Threads that run fuzzers, each of them replaced once it is silent for too long. */

import { Piscina } from 'piscina';
import type { TargetSpec } from '../node/target-module.ts';
import type { Finding, FindingInput } from './finding.ts';
import type { ShardResult, ShardTask } from './shard.ts';
import type { WorkerTask } from './shard-worker.ts';

/** A run that takes longer than this hangs. */
const HANG_MS = 20_000;
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

export class ThreadPool {
  readonly #spec: TargetSpec;
  readonly #threads: number;
  readonly #pool: Piscina<WorkerTask>;
  readonly #stop: Int32Array = new Int32Array(new SharedArrayBuffer(4));

  constructor(spec: TargetSpec, threads: number) {
    this.#spec = spec;
    this.#threads = threads;
    this.#pool = new Piscina({
      filename: new URL(`./shard-worker.${EXTENSION}`, import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
    });
  }

  /** Has all shards end soon. */
  halt(): void {
    Atomics.store(this.#stop, 0, 1);
  }

  get halted(): boolean {
    return Atomics.load(this.#stop, 0) !== 0;
  }

  async shard(task: ShardTask): Promise<ShardOutcome> {
    const running = new Float64Array(new SharedArrayBuffer(16));
    const result = await this.#run<ShardResult>(
      { kind: 'shard', ...task, spec: this.#spec, running, stop: this.#stop },
      task.timeMs + HANG_MS,
    );
    if (result.kind === 'done') return result;
    return { ...result, seed: running[0] ?? task.seed, count: running[1] ?? 0 };
  }

  /** Runs the input of a finding again; silence is a hang. */
  async replay(finding: Finding, boundMs: number = HANG_MS): Promise<Finding | undefined> {
    const task = { kind: 'replay', spec: this.#spec, finding } as const;
    const result = await this.#run<Finding | undefined>(task, boundMs);
    if (result.kind === 'done') return result.result;
    const { error } = result;
    return error === undefined
      ? { ...finding, kind: 'hang', matter: 'it never ends', evidence: `silent for ${boundMs} ms` }
      : { ...finding, kind: 'crash', matter: 'the thread ended', evidence: error.message };
  }

  /** The input of a seed, of which so much was used; undefined if it cannot be made again. */
  async rebuild(fuzzer: string, seed: number, count: number): Promise<FindingInput | undefined> {
    const task = { kind: 'rebuild', spec: this.#spec, fuzzer, seed, count } as const;
    const result = await this.#run<FindingInput>(task, HANG_MS);
    return result.kind === 'done' ? result.result : undefined;
  }

  /** Ends all threads, and what they keep of the target. */
  async close(): Promise<void> {
    // One for each thread: none takes a second one before all have one.
    const arrived = new Int32Array(new SharedArrayBuffer(4));
    const task = { kind: 'close', arrived, threads: this.#threads } as const;
    await Promise.all(Array.from({ length: this.#threads }, () => this.#run(task, CLOSE_MS)));
    await this.#pool.destroy();
  }

  async #run<Result>(
    task: WorkerTask,
    boundMs: number,
  ): Promise<{ kind: 'done'; result: Result } | { kind: 'lost'; error: Error | undefined }> {
    const bound = AbortSignal.timeout(Math.ceil(boundMs));
    try {
      const result = (await this.#pool.run(task, { signal: bound })) as Result; // the worker's, of this task
      return { kind: 'done', result };
    } catch (error) {
      const silent = bound.aborted || !(error instanceof Error);
      return { kind: 'lost', error: silent ? undefined : error };
    }
  }
}

const CLOSE_MS = 5000;
