/** What tries something with random values, and how one of its runs is carried out. */

import { type Finding, symptomOf } from './finding.ts';
import { Random } from './random.ts';

/** What a run tells while it goes on. */
export interface Journal {
  /** Requests or calls made so far. */
  requests: number;
  /** A line about what is done now, for people; `line` is called only if somebody reads it. */
  note(line: () => string): void;
}

/** Tries something that depends on nothing but the random values it draws. */
export interface Fuzzer {
  /** A noun. */
  readonly name: string;
  /** For people: what is tried on what. */
  readonly about: string;
  /** Seeds that take some seconds together, for every change of the sources. */
  readonly smokeSeeds: number;
  /** Throws what it finds: a `Deviation`; any other error is a crash. */
  readonly run: (random: Random, journal: Journal) => Promise<void> | void;
}

/** What a run came to. */
export interface Outcome {
  readonly tally: Tally;
  readonly finding: Finding | undefined;
}

/** What a run did. */
export interface Tally {
  /** Requests, or calls of whatever is tried. */
  requests: number;
  accesses: number;
  faults: number;
}

/** Lines of a journal that are kept: the last ones. */
const NOTES_MAX = 400;

export interface TryOptions {
  /** Hears how many values are drawn before each of them is used. */
  readonly drew?: (count: number) => void;
}

/** Runs a fuzzer with a seed. */
export async function tryFuzzer(
  fuzzer: Fuzzer,
  seed: number,
  { drew }: TryOptions = {},
): Promise<Outcome> {
  const random = new Random(seed).keep(drew);
  const outcome = await attempt(fuzzer, random, seed, undefined);
  if (outcome.finding === undefined) return outcome;
  // Once more, for the notes; with threads it may not show again.
  const { finding = outcome.finding } = await replayTape(fuzzer, random.drawn, seed);
  return { ...outcome, finding };
}

/** Runs a fuzzer with the values of a tape. */
export async function replayTape(
  fuzzer: Fuzzer,
  tape: readonly number[],
  seed: number,
): Promise<Outcome> {
  return attempt(fuzzer, Random.of(tape).keep(), seed, []);
}

/** The values that a seed begins with. */
export function tapeOf(seed: number, count: number): number[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => random.next());
}

async function attempt(
  fuzzer: Fuzzer,
  random: Random,
  seed: number,
  notes: string[] | undefined,
): Promise<Outcome> {
  const journal: Journal = {
    requests: 0,
    note(line) {
      if (notes === undefined) return;
      notes.push(line());
      if (notes.length > 2 * NOTES_MAX) notes.splice(0, NOTES_MAX);
    },
  };
  let finding: Finding | undefined;
  try {
    await fuzzer.run(random, journal);
  } catch (error) {
    const tape = [...random.drawn];
    finding = {
      fuzzer: fuzzer.name,
      ...symptomOf(error),
      seed,
      foundAfter: journal.requests,
      input: { kind: 'tape', tape, notes: (notes ?? []).slice(-NOTES_MAX) },
      tolerated: [],
    };
  }
  return { tally: { requests: journal.requests, accesses: 0, faults: 0 }, finding };
}
