/**
 * A fuzzer that learns: it keeps inputs that reached something new, and makes further ones of them. One for each
 * thread; what one finds, others may be given.
 */

import type { DeviceTargetFactory } from '../../target.ts';
import { type CorpusEntry, entryOf } from '../corpus-file.ts';
import type { Outcome } from '../fuzzer.ts';
import { randomSetup } from '../platform.ts';
import { Random } from '../random.ts';
import type { Stream } from '../stream.ts';
import type { Announcement } from './announcement.ts';
import { ComparisonLog, type Operands } from './comparison-log.ts';
import { cutDown } from './cut-down.ts';
import type { Feedback, Reached } from './feedback.ts';
import { mutate, solve } from './mutation.ts';
import { type Plan, drive, runPlan } from './trial.ts';

export interface GuidedOptions {
  readonly feedback: Feedback;
  /** Told of every run before it begins. */
  readonly announcement?: Announcement | undefined;
}

/** An entry, and what is known of it. */
interface Parent {
  readonly entry: CorpusEntry;
  readonly operands: readonly Operands[];
  /** How often it was taken. */
  picks: number;
}

/** Entries of one thread. */
const ENTRIES_MAX = 20_000;
/** Steps that a generator adds. */
const FRESH_LENGTHS = [50, 100, 200];
const MORE = [4, 16, 64, 64, 256];
/** After a solved comparison the input is the thing, and not what follows. */
const MORE_AFTER_SOLVING = [0, 0, 0, 16];
/** Steps that may be spent on one entry in any case. */
const CUT_STEPS = 2000;

export class GuidedRunner {
  readonly #factory: DeviceTargetFactory;
  readonly #feedback: Feedback;
  readonly #announcement: Announcement | undefined;
  readonly #parents: Parent[] = [];
  readonly #names = new Set<string>();
  /** Where each comparison was seen, and how often it was tried to solve it. */
  readonly #unsolved = new Map<number, Unsolved>();
  #fresh: CorpusEntry[] = [];
  #tolerated: readonly string[] = [];
  /** Steps that were run, without and with the purpose of cutting down. */
  #steps = 0;
  #cutSteps = 0;

  /** For targets of one kind. */
  constructor(factory: DeviceTargetFactory, { feedback, announcement }: GuidedOptions) {
    this.#factory = factory;
    this.#feedback = feedback;
    this.#announcement = announcement;
  }

  /** Entries that inputs are made of. */
  get size(): number {
    return this.#parents.length;
  }

  get entries(): readonly CorpusEntry[] {
    return this.#parents.map(({ entry }) => entry);
  }

  /**
   * One input. The same seed makes the same one if the same was done before.
   *
   * `tolerated` are signatures of what is known and does not end a stream, if one can go on after it.
   */
  async run(seed: number, tolerated: readonly string[] = []): Promise<Outcome> {
    this.#tolerated = tolerated;
    const plan = this.#plan(new Random(seed));
    this.#announcement?.begin(plan);
    const drew = (count: number): void => {
      if (this.#announcement !== undefined) this.#announcement.steps = count;
    };
    const trial = await runPlan(this.#factory, plan, this.#feedback, { tolerated, drew, seed });
    const { stream, news, newsAt, tally, finding } = trial;
    this.#steps += stream.steps.length;
    // What shows a finding is kept as one, and would end whatever is made of it.
    const length = finding === undefined ? newsAt : Math.min(newsAt, stream.steps.length - 1);
    if (news.length > 0)
      await this.#keep({ setup: stream.setup, steps: stream.steps.slice(0, length) }, news);
    return { tally, finding };
  }

  /** The entries that are new since this was last called. */
  takeNew(): readonly CorpusEntry[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  /** What was reached since this was last called. */
  takeReached(): Reached {
    return this.#feedback.takeReached();
  }

  /** Takes over those entries of others that reach something new here. They are not new of this thread. */
  async add(entries: readonly CorpusEntry[]): Promise<void> {
    for (const entry of entries)
      if (!this.#names.has(entry.name) && this.#feedback.see(await this.featuresOf(entry.stream)))
        await this.#adopt(entry);
  }

  /** All that a stream reaches, as numbers of this thread; nothing if something is wrong with it. */
  async featuresOf(stream: Stream): Promise<ReadonlySet<number>> {
    const found = new Set<number>();
    const feedback = this.#feedback;
    const wrong = await this.#replay(stream, () => feedback.collect(found));
    return wrong ? new Set() : found;
  }

  #plan(random: Random): Plan {
    const seed = random.next();
    const parent = this.#pick(random);
    if (parent === undefined || random.once(8)) {
      const setup = randomSetup(random);
      return { stream: { setup, steps: [] }, seed, more: random.pick(FRESH_LENGTHS) };
    }
    const asked = random.once(3) ? this.#ask(random) : undefined;
    if (asked !== undefined) {
      const stream = solve(random, asked.parent.entry.stream, asked.operands);
      return { stream, seed, more: random.pick(MORE_AFTER_SOLVING) };
    }
    const other = random.pick(this.#parents).entry.stream;
    const stream = mutate(random, parent.entry.stream, other);
    return { stream, seed, more: random.pick(MORE) };
  }

  /** One that was not taken often. */
  #pick(random: Random): Parent | undefined {
    if (this.#parents.length === 0) return undefined;
    const some = [0, 1, 2].map(() => random.pick(this.#parents));
    const parent = some.reduce((best, each) => (each.picks < best.picks ? each : best));
    parent.picks += 1;
    return parent;
  }

  /** Where a comparison was seen whose operands were never equal: the one that was tried least. */
  #ask(random: Random): Seen | undefined {
    let best: Unsolved | undefined;
    for (const each of this.#unsolved.values())
      if (best === undefined || each.tries < best.tries) best = each;
    if (best === undefined || (best.tries > TRIES && !random.once(8))) return undefined;
    best.tries += 1;
    return random.pick(best.seen);
  }

  async #keep(stream: Stream, news: readonly number[]): Promise<void> {
    if (this.#parents.length >= ENTRIES_MAX) return;
    const reaches = (other: Stream): Promise<boolean> => this.#reaches(other, news);
    // Otherwise it does not depend on the stream alone, or its last step showed a finding.
    if (!(await reaches(stream))) return;
    const from = this.#cutSteps;
    const allowed = Math.max(CUT_STEPS, this.#steps / 2 - from);
    const entry = entryOf(await cutDown(stream, reaches, allowed));
    if (this.#names.has(entry.name)) return;
    this.#fresh.push(entry);
    await this.#adopt(entry);
  }

  async #adopt(entry: CorpusEntry): Promise<void> {
    const feedback = this.#feedback;
    const { probe } = feedback;
    const log = new ComparisonLog((comparison) => {
      feedback.sawEqual(comparison);
      this.#unsolved.delete(comparison);
    });
    probe?.listen(log.listener);
    try {
      await this.#replay(entry.stream, undefined, (index) => (log.step = index));
    } finally {
      probe?.listen(undefined);
    }
    const parent: Parent = { entry, operands: log.operands, picks: 0 };
    this.#names.add(entry.name);
    this.#parents.push(parent);
    for (const operands of log.operands) this.#note({ parent, operands });
  }

  #note(found: Seen): void {
    const { comparison } = found.operands;
    if (this.#feedback.wasEqual(comparison)) return;
    const known = this.#unsolved.get(comparison) ?? { tries: 0, seen: [] };
    this.#unsolved.set(comparison, known);
    known.seen.push(found);
    // What is reached after a few steps is tried sooner.
    known.seen.sort((one, other) => one.operands.step - other.operands.step).splice(SEEN_MAX);
  }

  /** True if a stream has these features, and nothing wrong. */
  async #reaches(stream: Stream, features: readonly number[]): Promise<boolean> {
    let missing = features;
    const wrong = await this.#replay(stream, () => {
      missing = this.#feedback.without(missing);
    });
    return !wrong && missing.length === 0;
  }

  /** Runs a stream that is there; true if something was wrong. */
  async #replay(
    stream: Stream,
    after?: () => void,
    before?: (index: number) => void,
  ): Promise<boolean> {
    const feedback = this.#feedback;
    const plan = { stream, seed: 0, more: 0 };
    this.#announcement?.begin(plan);
    this.#cutSteps += stream.steps.length;
    const { error } = await drive(this.#factory, plan, {
      tolerated: this.#tolerated,
      rules: feedback.rules,
      begin: () => feedback.begin(),
      before: (_, index) => {
        if (this.#announcement !== undefined) this.#announcement.steps = index + 1;
        feedback.clear();
        before?.(index);
      },
      ...(after !== undefined && { after }),
    });
    return error !== undefined;
  }
}

interface Seen {
  readonly parent: Parent;
  readonly operands: Operands;
}

interface Unsolved {
  tries: number;
  readonly seen: Seen[];
}

/** A comparison that was tried more often than this is probably none of input. */
const TRIES = 10;
/** Places that are kept of a comparison. */
const SEEN_MAX = 16;
