/** The fuzzer in lock-step: nothing about our device, something about a wrong one, and always the same. */

import { beforeAll, describe, expect, it } from 'vitest';
import { type StreamEvent, domainId, endpointId, iova } from '@viommu/common';
import { PairCoverage } from '../../src/fuzz/coverage.ts';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { type Finding, type FindingInput, annotateFinding } from '../../src/fuzz/finding.ts';
import { decodeFinding, encodeFinding } from '../../src/fuzz/finding-file.ts';
import { runSeed, runStream } from '../../src/fuzz/run-stream.ts';
import { shrink } from '../../src/fuzz/shrink.ts';
import { type Stream, stepOf } from '../../src/fuzz/stream.ts';
import type { DeviceTargetFactory } from '../../src/target.ts';
import { coreTarget } from '../../src/targets/core.ts';
import { careless, long } from './careless.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

/** Runs a stream again. */
async function replayed(
  factory: DeviceTargetFactory,
  input: FindingInput,
): Promise<Finding | undefined> {
  return (await runStream(factory, streamOf(input))).finding;
}

function streamOf(input: FindingInput): Stream {
  if (input.kind !== 'stream') throw new Error('It is a tape.');
  return input.stream;
}

async function firstFinding(): Promise<Finding> {
  for (let seed = 1; seed < 50; seed += 1) {
    const { finding } = await runSeed(careless, seed);
    if (finding !== undefined) return finding;
  }
  throw new Error('The wrong device was not found out.');
}

describe('streams from seeds', () => {
  it('find nothing about our device, and reach much of it', async () => {
    const coverage = new PairCoverage();
    let faults = 0;
    for (const seed of SEEDS) {
      const { tally, finding } = await runSeed(coreTarget, seed, { coverage });
      expect(finding && signatureOf(finding), `seed ${seed}`).toBeUndefined();
      faults += tally.faults;
    }
    expect(coverage.size).toBeGreaterThan(300);
    expect(faults).toBeGreaterThan(100);
  });

  it('find nothing about a conforming device whose choices are found out on the way', async () => {
    const { choices, ...followed } = coreTarget;
    expect(choices).toBeDefined();
    for (const seed of SEEDS.slice(0, 3)) {
      const { tally, finding } = await runSeed(followed, seed);
      expect(finding && signatureOf(finding), `seed ${seed}`).toBeUndefined();
      expect(tally.requests).toBeGreaterThan(0);
    }
  });

  it('go on behind a wrong length that is known', async () => {
    const first = await runSeed(long, 2);
    expect(first.finding?.kind).toBe('length');
    const tolerated: string[] = [];
    let result = first;
    for (let turn = 0; turn < 20 && result.finding?.kind === 'length'; turn += 1) {
      tolerated.push(signatureOf(result.finding));
      result = await runSeed(long, 2, { tolerated });
    }
    expect(result.finding).toBeUndefined();
    expect(tolerated.length).toBeGreaterThan(1);
    expect(result.tally.requests).toBeGreaterThan(first.tally.requests);
  });

  it('are the same each time', async () => {
    const runs = [new PairCoverage(), new PairCoverage()].map(async (coverage) => {
      const { tally } = await runSeed(coreTarget, 3, { coverage });
      return [tally, coverage.take()];
    });
    const [first, second] = await Promise.all(runs);
    expect(first).toEqual(second);
  });
});

describe('a finding', () => {
  let finding: Finding;
  let small: Finding;
  beforeAll(async () => {
    finding = await firstFinding();
    small = await shrink(finding, (input) => replayed(careless, input));
  });

  it('is shrunk to the requests that it takes', () => {
    expect(streamOf(small.input).steps.length).toBeLessThanOrEqual(3);
    expect(signatureOf(small)).toBe(signatureOf(finding));
    expect(annotateFinding(small).join('\n')).toContain('virtio_iommu_req_unmap');
  });

  it('shows again whenever its stream is run, and not with a right device', async () => {
    const again = await runStream(careless, streamOf(small.input));
    expect(again.finding && signatureOf(again.finding)).toBe(signatureOf(finding));
    expect((await runStream(coreTarget, streamOf(small.input))).finding).toBeUndefined();
  });

  it('comes back from its file as it was', () => {
    const saved = { finding: small, target: 'careless', versions: { viommu: '0.1.0' } };
    const back = decodeFinding(encodeFinding(saved));
    expect(back).toEqual(saved);
  });

  it('is refused from a file that is damaged', () => {
    const bytes = encodeFinding({ finding: small, target: 'careless', versions: {} });
    for (let at = 0; at < bytes.length; at += 7) {
      const damaged = Uint8Array.from(bytes);
      damaged[at]! ^= 0x10; // Below the length.
      expect(() => decodeFinding(damaged)).toThrow('The file holds no finding');
    }
  });
});

describe('a recording', () => {
  it('is a stream of steps', () => {
    const attach: StreamEvent = {
      kind: 'attach',
      domain: domainId(1),
      endpoint: endpointId(8),
      flags: 0,
    };
    expect(stepOf(attach)).toMatchObject({ kind: 'request', room: 4 });
    expect(stepOf({ kind: 'refused', status: 4, request: attach })).toEqual(stepOf(attach));
    expect(
      stepOf({
        kind: 'fault',
        endpoint: endpointId(8),
        address: iova(0x1000n),
        access: 'w',
        reason: 2,
      }),
    ).toEqual({ kind: 'access', endpoint: 8, direction: 'write', address: 0x1000n, length: 8 });
    expect(stepOf({ kind: 'notify', queue: 0 })).toBeUndefined();
  });
});
