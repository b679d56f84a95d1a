/** The same stream for two devices, each of which shows what the other should have done. */

import { IommuConfig, IommuFeature, featureSet } from '@viommu/common';
import { overrideTarget } from '../targets/override.ts';
import type { DeviceTarget, DeviceTargetFactory, TargetWish } from '../target.ts';
import type { NamedDeviation } from './against-deviation.ts';
import { KNOWN_DIFFERENCES } from './against-list.ts';
import { Pair, counterparts } from './against-pair.ts';
import { configOf, checkConfig } from './books.ts';
import { symptomOf } from './finding.ts';
import type { Outcome, Tally } from './fuzzer.ts';
import { Generator } from './generator.ts';
import { randomSetup } from './platform.ts';
import { Random } from './random.ts';
import type { Setup, Step, Stream } from './stream.ts';

/** The name of what sends the same stream to two devices. */
export const AGAINST = 'against';

export interface AgainstOptions {
  /** Differences that have names; what does no harm and is known if absent. */
  readonly deviations?: readonly NamedDeviation[];
  /** Signatures of differences that do not end the stream either. */
  readonly tolerated?: readonly string[];
  /** Hears how many steps there are before each of them is taken. */
  readonly drew?: ((steps: number) => void) | undefined;
  /** Asked now and then whether all is over. */
  readonly over?: (() => boolean) | undefined;
}

export interface AgainstOutcome extends Outcome {
  /** How often each named deviation was seen. */
  readonly deviations: Readonly<Record<string, number>>;
}

const LENGTHS = [100, 1000, 4000];
const OVER_STEPS = 32;
const NO_TALLY: Tally = { requests: 0, accesses: 0, faults: 0 };

/** Runs the stream of a seed, or one that is there, on both. A finding is a difference without a name. */
export async function runAgainst(
  first: DeviceTargetFactory,
  second: DeviceTargetFactory,
  seedOrStream: number | Stream,
  { deviations = KNOWN_DIFFERENCES, tolerated = [], drew, over }: AgainstOptions = {},
): Promise<AgainstOutcome> {
  const seed = typeof seedOrStream === 'number' ? seedOrStream : 0;
  const random = new Random(seed);
  const setup: Setup = typeof seedOrStream === 'number' ? randomSetup(random) : seedOrStream.setup;
  const steps: Step[] = [];
  let targets: readonly [DeviceTarget, DeviceTarget] | undefined;
  let pair: Pair | undefined;
  const outcome = (finding: Outcome['finding']): AgainstOutcome => ({
    tally: pair?.tally ?? NO_TALLY,
    finding,
    deviations: Object.fromEntries(pair?.counts ?? []),
  });
  try {
    // Limits are for one that can be told of them.
    const { limits: _, ...wish } = setup.wish;
    targets = await openAlike(first, second, wish);
    pair = new Pair(...targets, setup, { deviations, tolerated: new Set(tolerated) });
    const next = source(random, pair, setup, seedOrStream, first.apart || second.apart === true);
    for (let step = next(); step !== undefined; step = next()) {
      if (steps.length % OVER_STEPS === 0 && over?.() === true) break;
      steps.push(step);
      drew?.(steps.length);
      pair.step(step);
    }
    pair.end();
    return outcome(undefined);
  } catch (error) {
    const stream = typeof seedOrStream === 'number' ? { setup, steps } : seedOrStream;
    const known = { fuzzer: AGAINST, seed, foundAfter: steps.length, tolerated };
    return outcome({ ...known, input: { kind: 'stream', stream }, ...symptomOf(error) });
  } finally {
    for (const target of targets ?? []) target.dispose();
  }
}

/** Gives one step after the other; undefined at the end. */
function source(
  random: Random,
  pair: Pair,
  setup: Setup,
  seedOrStream: number | Stream,
  slow: boolean,
): () => Step | undefined {
  let taken = 0;
  if (typeof seedOrStream !== 'number') return () => seedOrStream.steps[taken++];
  const length = random.pick(LENGTHS);
  const { first, second } = pair;
  // Endpoints that both have.
  const shared = counterparts(first.target, second.target);
  const endpoints = first.target.endpoints.filter(({ id }) => shared.has(id));
  const view = overrideTarget(first.target, { endpoints });
  const generator = new Generator(random, () => first.model, setup, view, { slow });
  return () => (taken++ < length ? generator.next() : undefined);
}

/** Opens both, with the same ranges and sizes as far as one of them can have those of the other. */
async function openAlike(
  first: DeviceTargetFactory,
  second: DeviceTargetFactory,
  wish: TargetWish,
): Promise<readonly [DeviceTarget, DeviceTarget]> {
  let one = await first.open(wish);
  try {
    let other = await second.open(wish);
    if (!isAlike(one, other)) {
      one.dispose();
      one = await first.open(wishLike(wish, other));
    }
    if (!isAlike(one, other)) {
      other.dispose();
      other = await second.open(wishLike(wish, one));
    }
    return [one, other];
  } catch (error) {
    one.dispose();
    throw error;
  }
}

function isAlike(one: DeviceTarget, other: DeviceTarget): boolean {
  try {
    checkConfig(configOf(one), configOf(other));
    const features = (one.readFeatures() ^ other.readFeatures()) & IOMMU_FEATURES;
    const windows = one.window.start === other.window.start;
    return features === 0n && windows && regionsOf(one) === regionsOf(other);
  } catch {
    return false;
  }
}

function regionsOf({ endpoints }: DeviceTarget): string {
  const [{ reserved = [] } = {}] = endpoints;
  return reserved.map(({ start, last, type }) => `${type} ${start}-${last}`).join();
}

/** The wish for a device like this one. */
function wishLike(wish: TargetWish, target: DeviceTarget): TargetWish {
  const config = IommuConfig.read(new DataView(configOf(target).buffer));
  const [{ reserved = [] } = {}] = target.endpoints;
  return {
    ...wish,
    withFeatures: (wish.withFeatures ?? 0n) & target.readFeatures(),
    withoutFeatures: ~target.readFeatures() & ALL_FEATURES,
    pageSizeMask: config.pageSizeMask,
    inputRange: { start: config.inputRangeStart, last: config.inputRangeEnd },
    domainRange: { first: config.domainRangeStart, last: config.domainRangeEnd },
    probeSize: config.probeSize,
    bypass: config.bypass === 1,
    memoryStart: target.window.start,
    reserved,
  };
}

const ALL_FEATURES = (1n << 64n) - 1n;
const IOMMU_FEATURES = featureSet(Object.values(IommuFeature));
