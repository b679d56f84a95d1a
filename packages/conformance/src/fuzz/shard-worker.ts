/** A thread of the fuzzer: loads the target once, and runs the seeds and inputs that it is told. */

import type { DeviceTargetFactory } from '../target.ts';
import { type TargetSpec, loadTarget } from '../node/target-module.ts';
import type { NamedDeviation } from './against-deviation.ts';
import { AGAINST, runAgainst } from './against.ts';
import type { CorpusEntry } from './corpus-file.ts';
import { minimise } from './corpus-minimise.ts';
import { PairCoverage } from './coverage.ts';
import { Announcement } from './feedback/announcement.ts';
import { Feedback } from './feedback/feedback.ts';
import { GuidedRunner } from './feedback/guided-runner.ts';
import { probeOfThread } from './feedback/probe.ts';
import { GUIDED, streamOfPlan } from './feedback/trial.ts';
import type { Finding, FindingInput } from './finding.ts';
import { type Outcome, replayTape, tapeOf, tryFuzzer } from './fuzzer.ts';
import { fuzzerByName, isStreamed } from './registry.ts';
import { RunCell, Stop } from './run-cell.ts';
import { STREAM, runSeed, runStream, streamOf } from './run-stream.ts';
import { type Reach, type ShardContext, type ShardTask, runShard } from './shard.ts';

/** What is tried. */
export interface Subject {
  readonly target: TargetSpec;
  /** What the target is compared with, if it is not the model. */
  readonly against?: TargetSpec | undefined;
  /** Differences between the two that have names. */
  readonly deviations?: readonly NamedDeviation[] | undefined;
}

/** What every task has; `running` has the cells of {@link RunCell}. */
interface Work {
  readonly subject: Subject;
  readonly running: Float64Array;
}

/** Whatever is loaded once. */
interface LoadWork extends Work {
  readonly kind: 'load';
}

/** A stretch of seeds. */
export interface ShardWork extends Work, ShardTask {
  readonly kind: 'shard';
  /** One of {@link Stop}. */
  readonly stop: Int32Array;
  /** Where guided runs are announced. */
  readonly announcement: SharedArrayBuffer;
  /** Inputs that are new to this thread. */
  readonly entries: readonly CorpusEntry[];
}

/** An input that is known. */
interface ReplayWork extends Work {
  readonly kind: 'replay';
  readonly finding: Finding;
}

/** The input of a seed, as far as it was used. */
interface RebuildWork extends Work {
  readonly kind: 'rebuild';
  readonly fuzzer: string;
  readonly seed: number;
  readonly count: number;
  readonly tolerated: readonly string[];
  readonly announcement: SharedArrayBuffer;
}

/** Of these inputs, some that reach all that they do. */
interface MinimiseWork extends Work {
  readonly kind: 'minimise';
  readonly entries: readonly CorpusEntry[];
}

/** What is kept of targets goes. */
interface CloseWork {
  readonly kind: 'close';
}

/** What a thread is told. */
export type WorkerTask = LoadWork | ShardWork | ReplayWork | RebuildWork | MinimiseWork | CloseWork;

const coverage = new PairCoverage();
const factories = new Map<string, Promise<DeviceTargetFactory>>();
let guided: GuidedRunner | undefined;

export default async function runTask(task: WorkerTask): Promise<unknown> {
  switch (task.kind) {
    case 'load':
      await bothOf(task.subject);
      return undefined;
    case 'shard':
      return runShard(task, await contextOf(task));
    case 'replay': {
      const { subject, running, finding } = task;
      await factoryOf(subject.target);
      began(running, finding.seed);
      return (await replay(subject, finding, finding.input)).finding;
    }
    case 'rebuild':
      return rebuild(task);
    case 'minimise': {
      const runner = await guidedOf(task.subject, undefined);
      began(task.running, 0);
      return minimise(task.entries, (stream) => {
        task.running[RunCell.RUNS]! += 1; // all cells are there
        return runner.featuresOf(stream);
      });
    }
    case 'close':
      for (const factory of factories.values()) (await factory).close?.();
      factories.clear();
      return undefined;
  }
}

async function contextOf(work: ShardWork): Promise<ShardContext> {
  const { subject, running, stop } = work;
  const counts = new Map<string, number>();
  const reach: Reach = { coverage: [], edgesThere: 0, entries: [], deviations: {} };
  const run = await runnerOf(work, (name, count) =>
    counts.set(name, (counts.get(name) ?? 0) + count),
  );
  return {
    run,
    replay: (finding) => async (input) => {
      running[RunCell.RUNS]! += 1; // all cells are there
      return (await replay(subject, finding, input)).finding;
    },
    takeReach() {
      if (work.fuzzer !== GUIDED || guided === undefined)
        return { ...reach, coverage: coverage.take(), deviations: Object.fromEntries(counts) };
      const { edges, comparisons, pairs, edgesThere } = guided.takeReached();
      const names = [
        ...pairs,
        ...edges.map((name) => `edge ${name}`),
        ...comparisons.map((name) => `comparison ${name}`),
      ];
      return { ...reach, coverage: names, edgesThere, entries: guided.takeNew() };
    },
    now: () => performance.now(),
    began: (seed) => began(running, seed),
    shrinks: () => (running[RunCell.SHRINKS] = 1),
    over: () => Atomics.load(stop, 0) !== Stop.NONE,
    halted: () => Atomics.load(stop, 0) === Stop.HALT,
  };
}

/** What runs the seeds of a fuzzer; `differs` hears of differences that have names. */
async function runnerOf(
  { fuzzer: name, subject, running, stop, announcement, entries }: ShardWork,
  differs: (name: string, count: number) => void,
): Promise<ShardContext['run']> {
  const drew = (count: number): void => {
    running[RunCell.COUNT] = count;
  };
  const over = (): boolean => Atomics.load(stop, 0) !== Stop.NONE;
  if (name === GUIDED) {
    const runner = await guidedOf(subject, announcement);
    began(running, 0);
    await runner.add(entries);
    return (seed, tolerated) => runner.run(seed, tolerated);
  }
  if (name === STREAM) {
    const factory = await factoryOf(subject.target);
    return (seed, tolerated) => runSeed(factory, seed, { coverage, tolerated, drew, over });
  }
  if (name === AGAINST) {
    const [first, second] = await bothOf(subject);
    return async (seed, tolerated) => {
      const { deviations } = subject;
      const options = { tolerated, drew, over, ...(deviations && { deviations }) };
      const outcome = await runAgainst(first, second, seed, options);
      for (const [known, count] of Object.entries(outcome.deviations)) differs(known, count);
      return outcome;
    };
  }
  const fuzzer = fuzzerByName(name);
  return (seed) => tryFuzzer(fuzzer, seed, { drew });
}

async function replay(subject: Subject, finding: Finding, input: FindingInput): Promise<Outcome> {
  if (input.kind === 'tape')
    return replayTape(fuzzerByName(finding.fuzzer), input.tape, finding.seed);
  if (finding.fuzzer !== AGAINST)
    return runStream(await factoryOf(subject.target), input.stream, finding);
  const { deviations } = subject;
  const { tolerated } = finding;
  const options = { tolerated, ...(deviations && { deviations }) };
  return runAgainst(...(await bothOf(subject)), input.stream, options);
}

async function rebuild(work: RebuildWork): Promise<FindingInput> {
  const { fuzzer, seed, count, subject, tolerated, running } = work;
  if (!isStreamed(fuzzer)) return { kind: 'tape', tape: tapeOf(seed, count), notes: [] };
  const factory = await factoryOf(subject.target);
  began(running, seed);
  const { plan, steps } = new Announcement(work.announcement);
  const stream =
    fuzzer === GUIDED && plan !== undefined
      ? await streamOfPlan(factory, plan, steps, tolerated)
      : await streamOf(factory, seed, count, tolerated);
  return { kind: 'stream', stream };
}

/** The one that learns, with all that it has learned. */
async function guidedOf(
  subject: Subject,
  announcement: SharedArrayBuffer | undefined,
): Promise<GuidedRunner> {
  guided ??= new GuidedRunner(await factoryOf(subject.target), {
    feedback: new Feedback(probeOfThread()),
    announcement: announcement && new Announcement(announcement),
  });
  return guided;
}

async function bothOf(
  subject: Subject,
): Promise<readonly [DeviceTargetFactory, DeviceTargetFactory]> {
  const { target, against = target } = subject;
  return [await factoryOf(target), await factoryOf(against)];
}

/** A target that may share more with the one before than a case of the suite would like. */
async function factoryOf(spec: TargetSpec): Promise<DeviceTargetFactory> {
  const key = JSON.stringify(spec);
  const loading =
    factories.get(key) ?? loadTarget(spec).then((factory) => factory.kept?.() ?? factory);
  factories.set(key, loading);
  return loading;
}

/** A run begins. */
function began(running: Float64Array, seed: number): void {
  running[RunCell.SEED] = seed;
  running[RunCell.COUNT] = 0;
  running[RunCell.RUNS]! += 1; // all cells are there
  running[RunCell.SHRINKS] = 0;
}
