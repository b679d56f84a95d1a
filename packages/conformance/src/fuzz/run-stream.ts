/** Streams against targets that are opened for them: from a seed, or step by step again. */

import type { DeviceTargetFactory } from '../target.ts';
import type { PairCoverage } from './coverage.ts';
import { type Finding, symptomOf } from './finding.ts';
import { Generator } from './generator.ts';
import { Lockstep, type Tally } from './lockstep.ts';
import { randomSetup } from './platform.ts';
import { Random } from './random.ts';
import type { Step, Stream } from './stream.ts';

/** What a stream came to. */
export interface StreamResult {
  readonly tally: Tally;
  readonly finding: Finding | undefined;
}

/** What a stream comes from. */
export interface Origin {
  readonly seed: number;
  /** Signatures of deviations that do not end it, if one can go on after them. */
  readonly tolerated: readonly string[];
}

export interface SeedOptions {
  readonly coverage?: PairCoverage | undefined;
  readonly tolerated?: readonly string[];
}

/** Steps: short streams reach many devices, and long ones what takes long. */
const LENGTHS = [100, 1000, 4000, 10_000];
const NO_TALLY: Tally = { requests: 0, accesses: 0, faults: 0 };

/** Generates and runs the stream of a seed. */
export async function runSeed(
  factory: DeviceTargetFactory,
  seed: number,
  { coverage, tolerated = [] }: SeedOptions = {},
): Promise<StreamResult> {
  const random = new Random(seed);
  const setup = randomSetup(random);
  const steps = random.pick(LENGTHS);
  const taken: Step[] = [];
  return guarded(factory, { setup, steps: taken }, { seed, tolerated }, (lockstep, target) => {
    lockstep.coverage = coverage;
    const generator = new Generator(random, () => lockstep.model, setup, target);
    for (let count = 0; count < steps; count += 1) {
      const step = generator.next();
      taken.push(step);
      lockstep.step(step);
    }
    lockstep.end();
  });
}

/** Runs a stream that is there. */
export async function runStream(
  factory: DeviceTargetFactory,
  stream: Stream,
  { seed = 0, tolerated = [] }: Partial<Origin> = {},
): Promise<StreamResult> {
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
): Promise<StreamResult> {
  let target: Awaited<ReturnType<DeviceTargetFactory['open']>> | undefined;
  let lockstep: Lockstep | undefined;
  try {
    target = await factory.open(stream.setup.wish);
    lockstep = new Lockstep(target, stream.setup, factory.choices, new Set(tolerated));
    run(lockstep, target);
    return { tally: lockstep.tally, finding: undefined };
  } catch (error) {
    const foundAfter = stream.steps.length;
    const finding = { ...symptomOf(error), seed, foundAfter, stream, bySeed: false, tolerated };
    return { tally: lockstep?.tally ?? NO_TALLY, finding };
  } finally {
    target?.dispose();
  }
}
