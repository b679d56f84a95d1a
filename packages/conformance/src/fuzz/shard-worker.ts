/** A thread of the fuzzer: loads the target once, and runs the shards that it is told. */

import type { DeviceTargetFactory } from '../target.ts';
import { type TargetSpec, loadTarget } from '../node/target-module.ts';
import { PairCoverage } from './coverage.ts';
import { type ShardResult, type ShardTask, runShard } from './shard.ts';

/** What one thread is told. */
export interface WorkerTask extends ShardTask {
  readonly spec: TargetSpec;
  /** One number: the seed that is being run. */
  readonly running: Float64Array;
  /** One number: not 0 once everything is to end. */
  readonly stop: Int32Array;
}

const coverage = new PairCoverage();
const factories = new Map<string, Promise<DeviceTargetFactory>>();

export default async function runTask(task: WorkerTask): Promise<ShardResult> {
  const key = JSON.stringify(task.spec);
  const loading = factories.get(key) ?? loadTarget(task.spec);
  factories.set(key, loading);
  return runShard(task, {
    factory: await loading,
    coverage,
    now: () => performance.now(),
    began: (seed) => (task.running[0] = seed),
    stopped: () => Atomics.load(task.stop, 0) !== 0,
  });
}
