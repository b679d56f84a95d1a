/** One thread's share of a run: whose turn it is, which seed comes next, and what becomes of a thread that is lost. */

import type { CorpusEntry } from './corpus-file.ts';
import { GUIDED } from './feedback/trial.ts';
import type { Finding, FindingInput } from './finding.ts';
import { FuzzThread, type FuzzThreadOptions, type ShardOutcome } from './fuzz-thread.ts';
import { randomSetup } from './platform.ts';
import { Random } from './random.ts';
import { isStreamed } from './registry.ts';
import { Stop } from './run-cell.ts';
import { shrink } from './shrink.ts';
import type { Total } from './total.ts';
import { Turns } from './turn.ts';

/** An input that never ends is shrunk for so long at most; a try of it hangs after so long. */
const HANG_SHRINK_MS = 20_000;
const HANG_TRY_MS = 1000;
const HANG_TRIES = 8;

export interface LaneOptions extends Omit<FuzzThreadOptions, 'instrumented'> {
  readonly fuzzers: readonly string[];
  /** From 0 on. */
  readonly index: number;
  /** The first seed, and how far it is to the next one. */
  readonly seed: number;
  readonly stride: number;
  readonly now: () => number;
  readonly total: Total;
  /** Inputs of all lanes, to which this one adds. */
  readonly corpus: CorpusEntry[];
  /** Hears of inputs that are new. */
  readonly keep: (entry: CorpusEntry) => void;
  /** Called after each turn. */
  readonly turned: () => void;
}

export class Lane {
  readonly #options: LaneOptions;
  /** Where streams run as fast as they can, and where coverage is counted. */
  readonly #plain: FuzzThread;
  #instrumented: FuzzThread | undefined;
  /** Inputs that the guided one was sent. */
  #sent = 0;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#plain = new FuzzThread({ ...options, instrumented: false });
  }

  /** Loads what its threads need. @throws {IommuError} `EINVAL` if the target cannot be loaded. */
  async load(): Promise<void> {
    const guided = this.#options.fuzzers.includes(GUIDED) ? this.#threadOf(GUIDED) : this.#plain;
    await Promise.all([...new Set([this.#plain, guided])].map((thread) => thread.load()));
  }

  /** Takes turns; none begins after `end`. */
  async run(end: number): Promise<void> {
    const { fuzzers, index, seed, stride, now, total, turned } = this.#options;
    const turns = new Turns(fuzzers, index);
    const next = new Map(fuzzers.map((fuzzer) => [fuzzer, seed]));
    while (!this.#halted && now() < end) {
      const { fuzzer, timeMs } = turns.next(end - now());
      const { known } = total;
      const task = { fuzzer, seed: next.get(fuzzer) ?? seed, stride, timeMs, known, shrink: true };
      const begun = now();
      const outcome = await this.#shard(task);
      turns.took(fuzzer, now() - begun);
      if (outcome.kind === 'done') {
        next.set(fuzzer, outcome.result.next);
        total.add(fuzzer, outcome.result);
      } else {
        next.set(fuzzer, outcome.seed + stride);
        if (fuzzer === GUIDED) this.#sent = 0;
        total.find(await this.#lost(fuzzer, outcome, known));
      }
      turned();
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#plain.close(), this.#instrumented?.close()]);
  }

  get #halted(): boolean {
    return Atomics.load(this.#options.stop, 0) === Stop.HALT;
  }

  async #shard(task: Parameters<FuzzThread['shard']>[0]): Promise<ShardOutcome> {
    const { corpus, keep } = this.#options;
    if (task.fuzzer !== GUIDED) return this.#plain.shard(task);
    const entries = corpus.slice(this.#sent);
    const sent = corpus.length;
    const outcome = await this.#threadOf(task.fuzzer).shard(task, entries);
    if (outcome.kind === 'lost') return outcome;
    this.#sent = sent;
    for (const entry of outcome.result.entries) {
      corpus.push(entry);
      keep(entry);
    }
    return outcome;
  }

  /** Coverage of our own packages says something about our own device alone. */
  #threadOf(fuzzer: string): FuzzThread {
    const { subject } = this.#options;
    if (fuzzer !== GUIDED || subject.target.module !== 'core') return this.#plain;
    this.#instrumented ??= new FuzzThread({ ...this.#options, instrumented: true });
    return this.#instrumented;
  }

  /** The finding of a thread that is gone: by then, only the seed is known, and how far it came. */
  async #lost(
    fuzzer: string,
    { seed, count, error }: Extract<ShardOutcome, { kind: 'lost' }>,
    tolerated: readonly string[],
  ): Promise<Finding> {
    const { hangMs, now } = this.#options;
    const thread = this.#threadOf(fuzzer);
    const rebuilt = await thread.rebuild(fuzzer, seed, count, tolerated);
    const symptom =
      error === undefined
        ? { kind: 'hang', matter: 'it never ends', evidence: `seed ${seed}` }
        : { kind: 'crash', matter: 'the thread ended', evidence: error.message };
    const input = rebuilt ?? emptyInput(fuzzer, seed);
    const finding = { fuzzer, seed, foundAfter: count, ...symptom, input, tolerated };
    const latest = now() + Math.min(HANG_SHRINK_MS, HANG_TRIES * hangMs);
    const tryMs = Math.min(HANG_TRY_MS, hangMs);
    const replay = (other: FindingInput): Promise<Finding | undefined> =>
      this.#plain.replay({ ...finding, input: other }, tryMs);
    return shrink(finding, replay, { ended: () => this.#halted || now() > latest });
  }
}

function emptyInput(fuzzer: string, seed: number): FindingInput {
  if (!isStreamed(fuzzer)) return { kind: 'tape', tape: [], notes: [] };
  return { kind: 'stream', stream: { setup: randomSetup(new Random(seed)), steps: [] } };
}
