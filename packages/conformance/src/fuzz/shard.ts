/** A stretch of fuzzing in one thread: streams of one seed after the other until the time is over. */

import type { DeviceTargetFactory } from '../target.ts';
import type { PairCoverage } from './coverage.ts';
import { signatureOf } from './deviation.ts';
import type { Finding } from './finding.ts';
import { runSeed } from './run-stream.ts';
import { shrink } from './shrink.ts';

export interface ShardTask {
  /** The first seed, and how far it is to the next one. */
  readonly seed: number;
  readonly stride: number;
  /** The first stream runs in any case; after this long no other begins. */
  readonly timeMs: number;
  /** Signatures of findings that are known. */
  readonly known: readonly string[];
}

export interface ShardResult {
  /** The seed to go on with. */
  readonly next: number;
  readonly runs: number;
  readonly requests: number;
  readonly accesses: number;
  /** What was not known, shrunk. */
  readonly findings: readonly Finding[];
  /** Coverage that is new in this thread. */
  readonly coverage: readonly string[];
}

/** What a shard needs of its surroundings. */
export interface ShardContext {
  readonly factory: DeviceTargetFactory;
  readonly coverage: PairCoverage;
  readonly now: () => number;
  /** Hears which seed is next, so that one whose target never returns is known. */
  readonly began: (seed: number) => void;
  /** True once everything is to end. */
  readonly stopped: () => boolean;
}

/** A finding is shrunk for at most this long. */
const SHRINK_MS = 5000;

export async function runShard(task: ShardTask, context: ShardContext): Promise<ShardResult> {
  const { factory, coverage, now, began, stopped } = context;
  const known = new Set(task.known);
  const findings: Finding[] = [];
  const end = now() + task.timeMs;
  const total = { runs: 0, requests: 0, accesses: 0 };
  let { seed } = task;
  do {
    began(seed);
    const { tally, finding } = await runSeed(factory, seed, { coverage, tolerated: [...known] });
    total.runs += 1;
    total.requests += tally.requests;
    total.accesses += tally.accesses;
    seed += task.stride;
    if (finding === undefined || known.has(signatureOf(finding))) continue;
    known.add(signatureOf(finding));
    const latest = now() + SHRINK_MS;
    findings.push(await shrink(factory, finding, { ended: () => stopped() || now() > latest }));
  } while (now() < end && !stopped());
  return { next: seed, ...total, findings, coverage: coverage.take() };
}
