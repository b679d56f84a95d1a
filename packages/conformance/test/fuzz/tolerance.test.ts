/** Going on behind what a device is known to do wrong, so that it hides nothing else. */

import { describe, expect, it } from 'vitest';
import { AttachRequest, RequestType, Status } from '@viommu/common';
import { adopt, statusOf } from '../../src/fuzz/adoption.ts';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { attachBytes, mapBytes, unmapBytes } from '../../src/fuzz/request-bytes.ts';
import { runSeed } from '../../src/fuzz/run-stream.ts';
import type { Completion } from '../../src/model/answer.ts';
import { Model } from '../../src/model/model.ts';
import type { DeviceTargetFactory } from '../../src/target.ts';
import { createCore } from '../../src/targets/core.ts';
import { virtioDeviceTarget } from '../../src/targets/virtio-device-target.ts';

/** Takes reserved bytes of ATTACH for zeros; with `lazy`, an UNMAP of a single page leaves it mapped now and then. */
function forgiving(lazy: boolean): DeviceTargetFactory {
  return virtioDeviceTarget('forgiving', (wish) => {
    const parts = createCore(wish);
    const { device } = parts;
    const pair = device.handlePair.bind(device);
    let memory: Parameters<typeof device.start>[0]['memory'] | undefined;
    const start = device.start.bind(device);
    device.start = (session) => {
      ({ memory } = session);
      start(session);
    };
    device.handlePair = (readable, readableBytes, writable, writableBytes) => {
      const type = readableBytes >= AttachRequest.size ? memory?.getUint8(readable) : undefined;
      if (type === RequestType.ATTACH)
        memory?.setUint32(readable + AttachRequest.offset.reserved1, 0);
      return pair(readable, readableBytes, writable, writableBytes);
    };
    const { iommu } = device;
    const unmap = iommu.unmap.bind(iommu);
    iommu.unmap = (domain, page, count, ...rest) =>
      lazy && count === 1 && page % 7 === 3 ? Status.OK : unmap(domain, page, count, ...rest);
    return { ...parts };
  });
}

/** Runs seeds until nothing new comes. */
async function findings(factory: DeviceTargetFactory, seeds: number): Promise<string[]> {
  const known: string[] = [];
  for (let seed = 1; seed <= seeds; seed += 1) {
    const { finding } = await runSeed(factory, seed, { tolerated: known });
    if (finding !== undefined && !known.includes(signatureOf(finding)))
      known.push(signatureOf(finding));
  }
  return known;
}

const RESERVED = 'answer: iommu.dev.attach.reserved-nonzero: expected INVAL, got OK';

describe('a deviation that is known', () => {
  it('is the only one of a device that does nothing else wrong', async () => {
    expect(await findings(forgiving(false), 30)).toEqual([RESERVED]);
  });

  it('does not end streams', async () => {
    const factory = forgiving(false);
    for (let seed = 1; seed < 30; seed += 1) {
      const { finding, tally } = await runSeed(factory, seed);
      if (finding === undefined) continue;
      const more = await runSeed(factory, seed, { tolerated: [signatureOf(finding)] });
      expect(more.finding).toBeUndefined();
      expect(more.tally.requests).toBeGreaterThan(tally.requests);
      return;
    }
    expect.unreachable('it was not found');
  });

  it('does not hide another one', async () => {
    const found = await findings(forgiving(true), 30);
    expect(found.length).toBeGreaterThan(1);
    expect(found).toContain(RESERVED);
  });
});

describe('the model', () => {
  const back = (...tail: number[]): Completion => ({
    usedLength: 4,
    before: new Uint8Array(4).fill(0xa5),
    after: Uint8Array.from(tail),
  });
  const ok = back(Status.OK, 0, 0, 0);
  const refusal = back(Status.INVAL, 0, 0, 0);
  const started = (): Model => {
    const model = new Model({ offered: 0xffn, endpoints: [{ id: 8 }] });
    model.negotiate(0xffn);
    return model;
  };
  const attached = (): Model => {
    const model = started();
    model.request(attachBytes(1, 8), 4);
    return model;
  };

  it('has an endpoint that should not be there', () => {
    const model = started();
    expect(adopt(model, attachBytes(1, 99), 4, ok)).toBe(true);
    expect([model.domainOf(99), model.domains]).toEqual([1, [1]]);
  });

  it('has a mapping that should be refused, and none that was refused', () => {
    const model = attached();
    expect(adopt(model, mapBytes(1, 0x1000n, 0x1fffn, 0n, 0x80), 4, ok)).toBe(true);
    expect(model.mappings(1)).toHaveLength(1);
    expect(adopt(model, mapBytes(1, 0x3000n, 0x3fffn, 0n, 3), 4, refusal)).toBe(true);
    expect(model.mappings(1)).toHaveLength(1);
  });

  it('is broken if the device is', () => {
    const model = attached();
    expect(adopt(model, mapBytes(1, 0x1000n, 0x1fffn, 0n, 3), 4, undefined)).toBe(true);
    expect(model.needsReset).toBe(true);
  });

  it('does not know what a refusal has done by halves, or a mapping over another', () => {
    const model = attached();
    model.request(mapBytes(1, 0x1000n, 0x1fffn, 0n, 3), 4);
    expect(adopt(model, unmapBytes(1, 0x1000n, 0x1fffn), 4, refusal)).toBe(false);
    expect(adopt(model, mapBytes(1, 0x1000n, 0x1fffn, 0n, 3), 4, ok)).toBe(false);
    expect(adopt(model, attachBytes(2, 8), 4, refusal)).toBe(false);
    expect([model.mappings(1).length, model.domainOf(8)]).toEqual([1, 1]);
  });
});

describe('a status', () => {
  it('is found wherever it was written', () => {
    const before = new Uint8Array(12).fill(0xa5);
    const after = before.slice();
    expect(statusOf({ usedLength: 4, before, after })).toBeUndefined();
    after.set([3, 0, 0, 0], 4);
    expect(statusOf({ usedLength: 0, before, after })).toBe(3);
  });
});
