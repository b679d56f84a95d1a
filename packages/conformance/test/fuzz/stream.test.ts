/** What streams reach: the edges of everything, whole batches in every kind of ring, limits, and queues that begin anew. */

import { describe, expect, it } from 'vitest';
import { IommuFeature, MapRequest, RequestType, VirtioFeature, hasFeature } from '@viommu/common';
import { PairCoverage } from '../../src/fuzz/coverage.ts';
import { decodeFinding, encodeFinding } from '../../src/fuzz/finding-file.ts';
import { Generator } from '../../src/fuzz/generator.ts';
import { BATCH_MAX } from '../../src/fuzz/limit.ts';
import { Lockstep } from '../../src/fuzz/lockstep.ts';
import { randomSetup } from '../../src/fuzz/platform.ts';
import { Random } from '../../src/fuzz/random.ts';
import { runStream } from '../../src/fuzz/run-stream.ts';
import type { Setup, Step } from '../../src/fuzz/stream.ts';
import { coreTarget } from '../../src/targets/core.ts';
import type { DeviceTarget } from '../../src/target.ts';

const SEEDS = 150;
const STEPS = 400;
const [NONE, ALL] = [0n, (1n << 64n) - 1n];

/** Everything that was seen of many streams. */
async function survey(): Promise<{
  readonly setups: readonly Setup[];
  readonly steps: readonly Step[];
  readonly batches: ReadonlyMap<string, number>;
  readonly rules: string;
}> {
  const coverage = new PairCoverage();
  const setups: Setup[] = [];
  const steps: Step[] = [];
  const batches = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const random = new Random(seed);
    const setup = randomSetup(random);
    const target = (await coreTarget.open(setup.wish)) as DeviceTarget; // it opens at once
    const lockstep = new Lockstep(target, setup, {});
    lockstep.coverage = coverage;
    const generator = new Generator(random, () => lockstep.model, setup, target);
    setups.push(setup);
    let held = 0;
    for (let count = 0; count < STEPS; count += 1) {
      const step = generator.next();
      lockstep.step(step);
      steps.push(step);
      if (step.kind !== 'request') continue;
      held += 1;
      if (step.held) continue;
      for (const kind of kindsOf(setup)) batches.set(kind, Math.max(held, batches.get(kind) ?? 0));
      held = 0;
    }
    lockstep.end();
  }
  return { setups, steps, batches, rules: coverage.take().join('\n') };
}

function kindsOf({ format, indirect, refuse }: Setup): string[] {
  return [
    format,
    ...(indirect && !hasFeature(refuse, VirtioFeature.INDIRECT_DESC) ? [`${format} indirect`] : []),
    ...(hasFeature(refuse, VirtioFeature.IN_ORDER) ? [] : [`${format} in order`]),
    ...(hasFeature(refuse, VirtioFeature.EVENT_IDX) ? [] : [`${format} event index`]),
  ];
}

describe('streams', async () => {
  const { setups, steps, batches, rules } = await survey();
  const requests = steps.filter((step) => step.kind === 'request');
  const words = (type: number, offset: number): bigint[] =>
    requests
      .filter(({ readable }) => readable[0] === type && readable.length >= offset + 8)
      .map(({ readable }) => new DataView(readable.buffer).getBigUint64(offset, true));

  it.each(['split', 'packed'])('have batches of all sizes in %s rings', (format) => {
    for (const kind of ['', ' indirect', ' in order', ' event index'])
      expect(batches.get(format + kind), kind).toBe(BATCH_MAX);
  });

  it.each([
    ['virtual starts', RequestType.MAP, MapRequest.offset.virtStart],
    ['virtual ends', RequestType.MAP, MapRequest.offset.virtEnd],
    ['physical addresses', RequestType.MAP, MapRequest.offset.physStart],
    ['starts of what is unmapped', RequestType.UNMAP, MapRequest.offset.virtStart],
    ['ends of what is unmapped', RequestType.UNMAP, MapRequest.offset.virtEnd],
  ])('press %s against edges', (_, type, offset) => {
    expect(missing(words(type, offset))).toEqual([]);
  });

  it('press addresses of accesses against edges', () => {
    const accesses = steps.filter((step) => step.kind === 'access');
    expect(missing(accesses.map(({ address }) => address))).toEqual([]);
    expect(accesses.some(({ address, length }) => address + BigInt(length) === ALL + 1n)).toBe(
      true,
    );
  });

  it('give PROBE every room around what it needs', () => {
    const rooms = requests.filter(({ readable }) => readable[0] === RequestType.PROBE);
    for (const need of [100, 516, 1028])
      for (const room of [need - 1, need, need + 1])
        expect(
          rooms.some((request) => request.room === room),
          `${room}`,
        ).toBe(true);
  });

  it('come to all that a device keeps', () => {
    expect(rules).toContain('limits');
    for (const name of ['domains', 'mappings', 'mappingsPerDomain'] as const)
      expect(setups.some(({ wish }) => wish.limits?.[name] !== undefined)).toBe(true);
  });

  it('do everything there is to do', () => {
    const acts = steps.filter((step) => step.kind === 'queue').map(({ act }) => act);
    expect(new Set(acts)).toEqual(new Set(['listen', 'ignore', 'renew']));
    const kinds = new Set(steps.map(({ kind }) => kind));
    for (const kind of [
      'access',
      'post',
      'config',
      'reset',
      'save',
      'turn',
      'wild',
      'poke',
      'kick',
    ])
      expect(kinds).toContain(kind);
    expect(steps.some((step, at) => step.kind === 'save' && isHeld(steps[at - 1]))).toBe(true);
  });

  it('have devices of every kind', () => {
    const legacy = ({ wish: { withFeatures = NONE } }: Setup): boolean =>
      hasFeature(withFeatures, IommuFeature.BYPASS);
    expect(setups.some(legacy)).toBe(true);
    const starts = new Set(setups.map(({ wish }) => wish.memoryStart));
    for (const start of [0n, 1n << 32n, 1n << 53n, ALL - 0xf_ffffn])
      expect(starts).toContain(start);
    for (const feature of [VirtioFeature.NOTIFICATION_DATA, VirtioFeature.RING_RESET])
      expect(setups.some(({ refuse }) => !hasFeature(refuse, feature))).toBe(true);
  });
});

/** The edges with nothing at them, nor before or behind. */
function missing(values: readonly bigint[]): string[] {
  const all = new Set(values);
  const wanted = {
    '0': [NONE, 0xfffn, 0x1000n],
    '2^32': [(1n << 32n) - 1n, 1n << 32n, (1n << 32n) - 0x1000n],
    '2^53': [(1n << 53n) - 1n, 1n << 53n, (1n << 53n) - 0x1000n],
    '2^64': [ALL, ALL - 0xfffn],
  };
  return Object.entries(wanted)
    .filter(([, at]) => !at.some((value) => all.has(value)))
    .map(([name]) => name);
}

function isHeld(step: Step | undefined): boolean {
  return step?.kind === 'request' && step.held;
}

describe('a stream', () => {
  const setup: Setup = { wish: {}, format: 'split', refuse: 0n, queueSize: 64, indirect: false };
  const steps: readonly Step[] = [
    { kind: 'queue', queue: 0, act: 'listen' },
    { kind: 'turn', to: 0xfffe },
    { kind: 'request', readable: Uint8Array.of(5), room: 4, held: false },
    { kind: 'request', readable: Uint8Array.of(5), room: 4, held: true },
    { kind: 'save' },
    { kind: 'queue', queue: 0, act: 'renew' },
    { kind: 'queue', queue: 1, act: 'renew' },
    { kind: 'request', readable: Uint8Array.of(5), room: 4, held: false },
    { kind: 'queue', queue: 0, act: 'ignore' },
  ];

  it.each(['split', 'packed'] as const)('goes around the corner of a %s ring', async (format) => {
    const outcome = await runStream(coreTarget, { setup: { ...setup, format }, steps });
    expect(outcome.finding).toBeUndefined();
    expect(outcome.tally.requests).toBe(3);
  });

  it('comes back from a file with all of its steps', () => {
    const input = { kind: 'stream', stream: { setup, steps } } as const;
    const about = { kind: 'answer', matter: 'x', evidence: 'y', seed: 1, foundAfter: 8 };
    const finding = { ...about, fuzzer: 'stream', input, tolerated: [] };
    const saved = { finding, target: 'core', versions: {} };
    expect(decodeFinding(encodeFinding(saved))).toEqual(saved);
  });
});
