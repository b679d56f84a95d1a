/** A thread of the fuzzer: loads the target once, and runs the seeds and inputs that it is told. */

import type { DeviceTargetFactory } from '../target.ts';
import { type TargetSpec, loadTarget } from '../node/target-module.ts';
import { PairCoverage } from './coverage.ts';
import type { Finding, FindingInput } from './finding.ts';
import { type Outcome, replayTape, tapeOf, tryFuzzer } from './fuzzer.ts';
import { fuzzerByName } from './registry.ts';
import { STREAM, runSeed, runStream, streamOf } from './run-stream.ts';
import { RunCell, Stop } from './run-cell.ts';
import { type ShardContext, type ShardResult, type ShardTask, runShard } from './shard.ts';

/** What one thread is told; `running` has the cells of {@link RunCell}. */
export type WorkerTask = ShardWork | ReplayWork | RebuildWork | CloseWork;

/** A stretch of seeds. */
interface ShardWork extends ShardTask {
  readonly kind: 'shard';
  readonly spec: TargetSpec;
  readonly running: Float64Array;
  /** One of {@link Stop}. */
  readonly stop: Int32Array;
}

/** An input that is known. */
interface ReplayWork {
  readonly kind: 'replay';
  readonly spec: TargetSpec;
  readonly finding: Finding;
  readonly running: Float64Array;
}

/** The input of a seed, as far as it was used. */
interface RebuildWork {
  readonly kind: 'rebuild';
  readonly spec: TargetSpec;
  readonly fuzzer: string;
  readonly seed: number;
  readonly count: number;
  readonly running: Float64Array;
}

/** What is kept of targets goes. */
interface CloseWork {
  readonly kind: 'close';
  /** How many threads have this task. */
  readonly arrived: Int32Array;
  readonly threads: number;
}

const coverage = new PairCoverage();
const factories = new Map<string, Promise<DeviceTargetFactory>>();

export default async function runTask(
  task: WorkerTask,
): Promise<ShardResult | Finding | FindingInput | undefined> {
  switch (task.kind) {
    case 'shard':
      return runShard(task, await contextOf(task));
    case 'replay':
      await factoryOf(task.spec);
      began(task.running, task.finding.seed);
      return (await replay(task.spec, task.finding, task.finding.input)).finding;
    case 'rebuild': {
      const { fuzzer, seed, count, spec } = task;
      if (fuzzer !== STREAM) return { kind: 'tape', tape: tapeOf(seed, count), notes: [] };
      const factory = await factoryOf(spec);
      began(task.running, seed);
      const stream = await streamOf(factory, seed, count);
      return { kind: 'stream', stream };
    }
    case 'close':
      return close(task);
  }
}

async function contextOf({ fuzzer: name, spec, running, stop }: ShardWork): Promise<ShardContext> {
  const drew = (count: number): void => {
    running[RunCell.COUNT] = count;
  };
  const over = (): boolean => Atomics.load(stop, 0) !== Stop.NONE;
  let run: ShardContext['run'];
  if (name === STREAM) {
    const factory = await factoryOf(spec);
    run = (seed, tolerated) => runSeed(factory, seed, { coverage, tolerated, drew, over });
  } else {
    const fuzzer = fuzzerByName(name);
    run = (seed) => tryFuzzer(fuzzer, seed, { drew });
  }
  return {
    run,
    replay: (finding) => async (input) => {
      running[RunCell.RUNS]! += 1; // all cells are there
      return (await replay(spec, finding, input)).finding;
    },
    coverage,
    now: () => performance.now(),
    began: (seed) => began(running, seed),
    shrinks: () => (running[RunCell.SHRINKS] = 1),
    over,
    halted: () => Atomics.load(stop, 0) === Stop.HALT,
  };
}

/** A run begins. */
function began(running: Float64Array, seed: number): void {
  running[RunCell.SEED] = seed;
  running[RunCell.COUNT] = 0;
  running[RunCell.SHRINKS] = 0;
  running[RunCell.RUNS]! += 1; // all cells are there
}

async function replay(spec: TargetSpec, finding: Finding, input: FindingInput): Promise<Outcome> {
  if (input.kind === 'tape')
    return replayTape(fuzzerByName(finding.fuzzer), input.tape, finding.seed);
  return runStream(await factoryOf(spec), input.stream, finding);
}

async function factoryOf(spec: TargetSpec): Promise<DeviceTargetFactory> {
  const key = JSON.stringify(spec);
  const loading = factories.get(key) ?? loadTarget(spec);
  factories.set(key, loading);
  return loading;
}

async function close({ arrived, threads }: CloseWork): Promise<undefined> {
  for (const factory of factories.values()) (await factory).close?.();
  factories.clear();
  Atomics.add(arrived, 0, 1);
  Atomics.notify(arrived, 0);
  for (let seen = Atomics.load(arrived, 0); seen < threads; seen = Atomics.load(arrived, 0))
    if (Atomics.wait(arrived, 0, seen, CLOSE_MS) === 'timed-out') return;
}

/** A thread that was just replaced is slow to come. */
const CLOSE_MS = 1000;
