/**
 * Contenders beside what they are measured against, in alternating windows of a few milliseconds.
 *
 * In one round the yardstick runs before and after every contender, and each contender's ratio is taken to the mean of
 * its two neighbours: what the machine did to one of them it most likely did to the others. See the README.
 */

import type { Contender, Order, Outcome } from './contender.ts';

/** A contender with the batch it sends. */
export interface Entry {
  readonly contender: Contender;
  readonly batch: number;
}

/** Several entries that are measured against the same one. */
export interface Heat {
  readonly against: Entry;
  readonly entries: readonly Entry[];
  readonly windowMs: number;
}

/** What one round of a heat measured for one entry. */
export interface Sample {
  /** Requests per second. */
  readonly rate: number;
  readonly againstRate: number;
  readonly outcome: Outcome;
}

/** Lets a contender run until it gets no faster: its code is compiled then. */
export async function warmUp({ contender, batch }: Entry, windowMs: number): Promise<void> {
  let best = 0;
  for (let window = 0, steady = 0; window < WARM_UP_MAX && steady < STEADY; window += 1) {
    const rate = rateOf(await contender.window({ batch, windowMs }));
    steady = rate < best * FASTER ? steady + 1 : 0;
    best = Math.max(best, rate);
  }
}

/** Runs one round; the samples are in the order of the entries. */
export async function runRound({ against, entries, windowMs }: Heat): Promise<Sample[]> {
  const samples: Sample[] = [];
  let before = rateOf(await run(against, windowMs));
  for (const entry of entries) {
    const outcome = await run(entry, windowMs);
    const after = rateOf(await run(against, windowMs));
    samples.push({ rate: rateOf(outcome), againstRate: Math.sqrt(before * after), outcome });
    before = after;
  }
  return samples;
}

const WARM_UP_MAX = 40;
/** So many windows in a row that are not faster than the best before, by this factor, are enough. */
const STEADY = 4;
const FASTER = 1.03;

function run({ contender, batch }: Entry, windowMs: number): Promise<Outcome> {
  const order: Order = { batch, windowMs };
  return contender.window(order);
}

function rateOf({ requests, elapsedMs }: Outcome): number {
  return (requests / elapsedMs) * 1000;
}
