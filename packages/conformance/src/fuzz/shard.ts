/** A stretch of fuzzing in one thread: seeds of one fuzzer, one after the other, until the time is over. */

import type { PairCoverage } from './coverage.ts';
import { signatureOf } from './deviation.ts';
import type { Finding } from './finding.ts';
import type { Outcome, Tally } from './fuzzer.ts';
import { type Replay, shrink } from './shrink.ts';

export interface ShardTask {
  /** By its name. */
  readonly fuzzer: string;
  /** The first seed, and how far it is to the next one. */
  readonly seed: number;
  readonly stride: number;
  /** The first seed runs in any case; after this long no other begins. */
  readonly timeMs: number;
  /** Signatures of findings that are known. */
  readonly known: readonly string[];
  /** False if findings are to stay as they are. */
  readonly shrink: boolean;
}

export interface ShardResult extends Tally {
  /** The seed to go on with. */
  readonly next: number;
  readonly runs: number;
  /** How long it took, without what went into shrinking. */
  readonly timeMs: number;
  /** What was not known, shrunk. */
  readonly findings: readonly Finding[];
  /** Coverage that is new in this thread. */
  readonly coverage: readonly string[];
}

/** What a shard needs of its surroundings. */
export interface ShardContext {
  /** Runs a seed; `tolerated` are signatures of what is known. */
  readonly run: (seed: number, tolerated: readonly string[]) => Promise<Outcome>;
  readonly replay: (finding: Finding) => Replay;
  readonly coverage: PairCoverage;
  /** In milliseconds. */
  readonly now: () => number;
  /** Hears which seed is next, so that one that never ends is known. */
  readonly began: (seed: number) => void;
  /** Hears that what the seed showed is shrunk from now on. */
  readonly shrinks: () => void;
  /** True once the time is over. */
  readonly over: () => boolean;
  /** True once everything is to end. */
  readonly halted: () => boolean;
}

/** A finding is shrunk for at most this long. */
const SHRINK_MS = 5000;

export async function runShard(task: ShardTask, context: ShardContext): Promise<ShardResult> {
  const { run, replay, coverage, now, began, shrinks, over, halted } = context;
  const known = new Set(task.known);
  const findings: Finding[] = [];
  const total = { runs: 0, requests: 0, accesses: 0, faults: 0 };
  const begin = now();
  let shrinkMs = 0;
  let { seed } = task;
  do {
    began(seed);
    const { tally, finding } = await run(seed, [...known]);
    total.runs += 1;
    total.requests += tally.requests;
    total.accesses += tally.accesses;
    total.faults += tally.faults;
    seed += task.stride;
    if (finding === undefined || known.has(signatureOf(finding))) continue;
    known.add(signatureOf(finding));
    if (!task.shrink) {
      findings.push(finding);
      continue;
    }
    shrinks();
    const from = now();
    const ended = (): boolean => halted() || now() > from + SHRINK_MS;
    findings.push(await shrink(finding, replay(finding), { ended }));
    shrinkMs += now() - from;
  } while (now() < begin + task.timeMs && !over());
  const timeMs = now() - begin - shrinkMs;
  return { next: seed, ...total, timeMs, findings, coverage: coverage.take() };
}
