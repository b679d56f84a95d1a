/** Streams against targets that are opened for them: from a seed, or step by step again. */

import type { DeviceTargetFactory } from '../target.ts';
import type { PairCoverage } from './coverage.ts';
import { symptomOf } from './finding.ts';
import type { Outcome, Tally } from './fuzzer.ts';
import { Generator, type GeneratorOptions, type Wrong } from './generator.ts';
import { Lockstep } from './lockstep.ts';
import { randomSetup } from './platform.ts';
import { Random } from './random.ts';
import type { Setup, Step, Stream } from './stream.ts';

/** The name of what sends streams. */
export const STREAM = 'stream';

/** What a stream comes from. */
export interface Origin {
  readonly seed: number;
  /** Signatures of deviations that do not end it, if one can go on after them. */
  readonly tolerated: readonly string[];
}

export interface SeedOptions {
  readonly coverage?: PairCoverage | undefined;
  readonly tolerated?: readonly string[];
  /** Hears how many steps there are before each of them is taken. */
  readonly drew?: ((steps: number) => void) | undefined;
  /** Asked now and then: true ends the stream early. */
  readonly over?: (() => boolean) | undefined;
}

/** Steps: short streams, which most are, reach many devices, and long ones what takes long. */
const LENGTHS = [100, 100, 300, 300, 1000, 1000, 4000, 10_000];
/** Where each step is a round trip to another thread or process. */
const APART_LENGTHS = [100, 1000, 2000, 4000];
/** Steps between two questions whether all is over. */
const OVER_STEPS = 32;
const NO_TALLY: Tally = { requests: 0, accesses: 0, faults: 0 };

/** Generates and runs the stream of a seed. */
export async function runSeed(
  factory: DeviceTargetFactory,
  seed: number,
  { coverage, tolerated = [], drew, over }: SeedOptions = {},
): Promise<Outcome> {
  const { random, setup, length, steps } = beginning(factory, seed);
  return guarded(factory, { setup, steps }, { seed, tolerated }, (lockstep, target) => {
    lockstep.coverage = coverage;
    const options = generatorOptions(factory, seed, tolerated);
    const generator = new Generator(random, () => lockstep.model, setup, target, options);
    while (steps.length < length) {
      if (steps.length % OVER_STEPS === 0 && over?.() === true) break;
      const step = generator.next();
      steps.push(step);
      drew?.(steps.length);
      lockstep.step(step);
    }
    lockstep.end();
  });
}

function generatorOptions(
  { apart = false }: DeviceTargetFactory,
  seed: number,
  tolerated: readonly string[],
): GeneratorOptions {
  return { wrongs: apart ? wrongsOf(seed, tolerated) : undefined, slow: apart };
}

/**
 * What a driver may do wrong to a peer that falls over. Once it is known to, it must not do so all the time: many streams
 * do nothing wrong, and some do one kind of thing, so that what one of them does to it hides no other.
 */
function wrongsOf(seed: number, tolerated: readonly string[]): readonly Wrong[] | undefined {
  const fatal = tolerated.some((signature) => /^(?:crash|hang)/.test(signature));
  return fatal ? WRONGS[seed % WRONGS.length] : undefined;
}

/** As long as no number of threads that seeds are dealt out to. */
const WRONGS: readonly (readonly Wrong[])[] = [
  ['value'],
  [],
  [],
  ['value', 'frame', 'ring'],
  [],
  ['value'],
  [],
  [],
  ['ring'],
  [],
  ['frame'],
];

/** The first steps of a seed's stream, of which the last is not taken: so one is known that never ends. */
export async function streamOf(
  factory: DeviceTargetFactory,
  seed: number,
  count: number,
  tolerated: readonly string[],
): Promise<Stream> {
  const { random, setup, steps } = beginning(factory, seed);
  await guarded(factory, { setup, steps }, { seed, tolerated }, (lockstep, target) => {
    const options = generatorOptions(factory, seed, tolerated);
    const generator = new Generator(random, () => lockstep.model, setup, target, options);
    while (steps.length < count) {
      const step = generator.next();
      steps.push(step);
      if (steps.length < count) lockstep.step(step);
    }
  });
  return { setup, steps };
}

function beginning(
  { apart }: DeviceTargetFactory,
  seed: number,
): { random: Random; setup: Setup; length: number; steps: Step[] } {
  const random = new Random(seed);
  const setup = randomSetup(random);
  const length = random.pick(apart === true ? APART_LENGTHS : LENGTHS);
  return { random, setup, length, steps: [] };
}

/** Runs a stream that is there. */
export async function runStream(
  factory: DeviceTargetFactory,
  stream: Stream,
  { seed = 0, tolerated = [] }: Partial<Origin> = {},
): Promise<Outcome> {
  return guarded(factory, stream, { seed, tolerated }, (lockstep) => {
    for (const step of stream.steps) lockstep.step(step);
    lockstep.end();
  });
}

async function guarded(
  factory: DeviceTargetFactory,
  stream: Stream,
  { seed, tolerated }: Origin,
  run: (lockstep: Lockstep, target: Awaited<ReturnType<DeviceTargetFactory['open']>>) => void,
): Promise<Outcome> {
  let target: Awaited<ReturnType<DeviceTargetFactory['open']>> | undefined;
  let lockstep: Lockstep | undefined;
  try {
    target = await factory.open(stream.setup.wish);
    lockstep = new Lockstep(target, stream.setup, factory.choices, new Set(tolerated));
    run(lockstep, target);
    return { tally: lockstep.tally, finding: undefined };
  } catch (error) {
    const foundAfter = stream.steps.length;
    const input = { kind: 'stream', stream } as const;
    const known = { fuzzer: STREAM, seed, foundAfter, input, tolerated };
    const finding = { ...known, ...symptomOf(error) };
    return { tally: lockstep?.tally ?? NO_TALLY, finding };
  } finally {
    target?.dispose();
  }
}
