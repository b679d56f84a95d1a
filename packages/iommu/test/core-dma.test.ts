import type { Context } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { Device, DeviceOptions } from '../src/device.ts';
import { Direction, DmaAddress } from '../src/dma-ops.ts';
import { DmaSetup } from '../src/setup-dma-ops.ts';
import { ArrayRam } from './array-ram.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, region } from './kit/core-guest.ts';

const RAM_PAGE = 0x4_0000;
const PROCESSOR: Context = { cpu: 0 };

/** A guest whose DMA layer is the real one, and a group of its devices. */
function createGuest(commandLine: string, ...devices: Partial<DeviceOptions>[]) {
  const ram = new ArrayRam(RAM_PAGE, 256);
  const guest = new CoreGuest(commandLine, ({ concurrency, clock, log, cpus, boot, firmware }) => {
    const host = { concurrency, clock, log, cpus, boot, ram };
    return new DmaSetup(firmware === undefined ? host : { ...host, firmware });
  });
  const place = guest.group(devices, { aperture: { start: 0n, last: 0xff_ffffn } });
  return { guest, ram, ...place };
}

function mapOne(device: Device, page: number): number {
  const into = new DmaAddress();
  const direction = Direction.FROM_DEVICE;
  expect(device.dmaOps?.map(PROCESSOR, device, page, 0, 4096, direction, 0, into)).toBe(true);
  return into.page;
}

function unmapOne(device: Device, dmaPage: number): void {
  device.dmaOps?.unmap(PROCESSOR, device, dmaPage, 0, 4096, Direction.FROM_DEVICE, 0);
}

describe('the type of a group and the operations of its devices', () => {
  it('S4.13 strict to lazy keeps domain and mappings, and the next unmap is deferred [B15]', () => {
    const { guest, iommu, group, devices } = createGuest('', { name: 'a' });
    const [device] = devices as [Device]; // There is one.
    guest.core.bind(device, DRIVER);
    const { domain } = group;
    const { dmaOps } = device;
    const mapped = Array.from({ length: 100 }, (_, at) => mapOne(device, RAM_PAGE + at));
    unmapOne(device, mapped.pop()!); // There are 100.
    expect(iommu.calls.slice(-2)).toEqual([expect.stringMatching(/^unmap/), 'sync']);

    guest.write(group, 'DMA-FQ');
    expect([guest.type(group), group.domain, device.dmaOps]).toEqual(['DMA-FQ', domain, dmaOps]);
    for (const [at, page] of mapped.entries())
      expect(domain?.ops.translate(page)).toBe(RAM_PAGE + at);
    iommu.calls.length = 0;
    for (const page of mapped) unmapOne(device, page);
    expect(iommu.calls).toHaveLength(99);
    expect(iommu.calls.every((call) => call.startsWith('unmap'))).toBe(true);
    guest.clock.advance(10);
    expect(iommu.calls.slice(99)).toEqual(['flush']);
    mapOne(device, RAM_PAGE);
  });

  it('S4.11 changes the operations with the domain', () => {
    const { guest, group, devices } = createGuest('', { name: 'a' }, { name: 'b' });
    const kinds = () => devices.map(({ dmaOps }) => dmaOps?.kind);
    expect(kinds()).toEqual(['iommu', 'iommu']);
    guest.write(group, 'identity');
    expect(kinds()).toEqual(['direct', 'direct']);
    for (const type of ['DMA-FQ', 'DMA']) {
      guest.write(group, type);
      expect([guest.type(group), ...kinds()]).toEqual([type, 'iommu', 'iommu']);
      for (const device of devices) unmapOne(device, mapOne(device, RAM_PAGE));
      expect(group.domain?.cookie?.flushQueue === undefined).toBe(type === 'DMA');
    }
    guest.core.unregisterInstance(group.domain!.instance); // Set up.
    expect(kinds()).toEqual(['direct', 'direct']);
    expect(guest.lines).toEqual([]);
  });

  it('S4.15 goes on with the former domain after a change that failed', () => {
    const { guest, iommu, group, devices } = createGuest('', { name: 'a' }, { name: 'b' });
    const [a, b] = devices as [Device, Device]; // There are two.
    const page = mapOne(a, RAM_PAGE);
    iommu.failures.plan('attach', 'EIO', 1);
    expect(codeOf(() => guest.write(group, 'identity'))).toBe('EIO');
    expect(group.domain?.ops.translate(page)).toBe(RAM_PAGE);
    unmapOne(a, page);
    unmapOne(b, mapOne(b, RAM_PAGE + 1));
    guest.write(group, 'identity');
    iommu.failures.plan('attach', 'EIO', 1);
    expect(codeOf(() => guest.write(group, 'DMA'))).toBe('EIO');
    expect(mapOne(a, RAM_PAGE)).toBe(RAM_PAGE);
    expect(guest.lines).toEqual([]);
  });
});

describe('reserved regions of a group', () => {
  it('S1.18 direct ones are mapped, and never handed out', () => {
    const ram = new ArrayRam(RAM_PAGE, 1);
    const guest = new CoreGuest('', ({ concurrency, clock, log, cpus, boot, firmware }) => {
      const host = { concurrency, clock, log, cpus, boot, ram };
      return new DmaSetup(firmware === undefined ? host : { ...host, firmware });
    });
    guest.firmware.regions.set('b', [region('DIRECT', 0x3000n, 0x4fffn)]);
    const { group, devices } = guest.group(
      [{ name: 'a' }, { name: 'b' }],
      { aperture: { start: 0n, last: 0xffffn } },
      (iommu) => iommu.regions.set('a', [region('RESERVED', 0x8000n, 0x9fffn)]),
    );
    const [a] = devices as [Device]; // And another one.
    const got: number[] = [];
    const into = new DmaAddress();
    const direction = Direction.TO_DEVICE;
    while (a.dmaOps?.map(PROCESSOR, a, RAM_PAGE, 0, 4096, direction, 0, into) === true)
      got.push(into.page);
    expect(got.toSorted((x, y) => x - y)).toEqual([1, 2, 5, 6, 7, 10, 11, 12, 13, 14, 15]);
    expect([group.domain?.ops.translate(3), group.domain?.ops.translate(4)]).toEqual([3, 4]);
  });

  it('a newcomer’s must not be in use', () => {
    const { guest, iommu, group, devices } = createGuest('', { name: 'a' });
    const [a] = devices as [Device]; // There is one.
    const page = mapOne(a, RAM_PAGE);
    const start = BigInt(page) * 4096n;
    const node = a.iommu?.fwspec?.node;
    iommu.regions.set('b', [region('DIRECT', start, start + 0xfffn)]);
    const refused = guest.add('b', node);
    expect([refused.group, group.devices.size, guest.core.log.counters.probeFailed]).toEqual([
      undefined,
      1,
      1,
    ]);
    expect(group.domain?.ops.translate(page)).toBe(RAM_PAGE);
    guest.core.removeDevice(refused);
    unmapOne(a, page);
    guest.core.addDevice(refused);
    expect([refused.group, group.domain?.ops.translate(page)]).toEqual([group, page]);
    expect(mapOne(a, RAM_PAGE)).not.toBe(page);
  });
});
