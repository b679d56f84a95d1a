/** A stretch of fuzzing in one thread: seeds of one fuzzer, one after the other, until the time is over. */

import type { CorpusEntry } from './corpus-file.ts';
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

/** What was reached that is new in this thread. */
export interface Reach {
  /** By name: pairs of rules, and edges and comparisons of our own code. */
  readonly coverage: readonly string[];
  /** Edges that there are. */
  readonly edgesThere: number;
  /** Inputs that reached something. */
  readonly entries: readonly CorpusEntry[];
  /** Differences that have names, and how often each was seen. */
  readonly deviations: Readonly<Record<string, number>>;
}

export interface ShardResult extends Tally, Reach {
  /** The seed to go on with. */
  readonly next: number;
  readonly runs: number;
  /** How long it took, without what went into shrinking. */
  readonly timeMs: number;
  /** What was not known, shrunk. */
  readonly findings: readonly Finding[];
}

/** What a shard needs of its surroundings. */
export interface ShardContext {
  /** Runs a seed; `tolerated` are signatures of what is known. */
  readonly run: (seed: number, tolerated: readonly string[]) => Promise<Outcome>;
  readonly replay: (finding: Finding) => Replay;
  readonly takeReach: () => Reach;
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

/** A finding is shrunk for at most this long, and one that takes a while each time for longer. */
const SHRINK_MS = 5000;
const HANG_SHRINK_MS = 20_000;

export async function runShard(task: ShardTask, context: ShardContext): Promise<ShardResult> {
  const { run, replay, takeReach, now, began, shrinks, over, halted } = context;
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
    const latest = from + (finding.kind === 'hang' ? HANG_SHRINK_MS : SHRINK_MS);
    const ended = (): boolean => halted() || now() > latest;
    findings.push(await shrink(finding, replay(finding), { ended }));
    shrinkMs += now() - from;
  } while (now() < begin + task.timeMs && !over());
  const timeMs = now() - begin - shrinkMs;
  return { next: seed, ...total, timeMs, findings, ...takeReach() };
}
