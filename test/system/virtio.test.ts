/** How a virtio disk's memory reaches it: what was negotiated, what the platform says, and the host's side of it. */

import { BLK_DRIVER_FEATURES, BlkRequestType } from '@viommu/blk';
import { DeviceStatus, VirtioFeature, featureMask } from '@viommu/common';
import { BOUNCE_BYTES_MAX } from '@viommu/iommu';
import { describe, expect, it } from 'vitest';
import { FINE, codeOf, disks, driverOf, exercise, trafficOn } from './kit/disks.ts';

const FLAGLESS: bigint = BLK_DRIVER_FEATURES & ~featureMask(VirtioFeature.ACCESS_PLATFORM);
const CONTEXT = { cpu: 0 };
const { IN, OUT } = BlkRequestType;

describe('a disk', () => {
  it('S3.1, S3.12 without ACCESS_PLATFORM gets physical addresses, whatever IOMMU is named for it [D1]', () => {
    const machine = disks();
    const system = machine.system();
    const disk = machine.plug(system, 'iommu', { features: FLAGLESS });
    expect(disk.device.group?.domain?.type).toBe('DMA');
    expect(driverOf(disk).dma.kind).toBe('physical');
    const { notifications } = machine.context.transport;
    const page = system.ram.allocatePages(1);
    expect(driverOf(disk).writeSync(CONTEXT, 0, page, 0, 4096)).toBeUndefined();
    // The host went straight to the page.
    expect(machine.touched).toContain(page);
    expect(exercise(machine, system, disk)).toEqual(FINE);
    expect(machine.count('map')).toBe(0);
    expect(machine.context.transport.notifications).toBe(notifications);
  });

  it('S3.2 with ACCESS_PLATFORM goes through the domain of its group [D2]', () => {
    const machine = disks();
    const system = machine.system();
    const disk = machine.plug(system, 'iommu');
    expect(driverOf(disk).dma.kind).toBe('iommu');
    const domain = machine.device.iommu.domainOf(8) ?? -1;
    const rings = machine.count('map');
    expect(rings).toBeGreaterThan(0);
    const page = system.ram.allocatePages(1);
    const token = driverOf(disk).submit(CONTEXT, IN, 0, page, 0, 4096);
    expect(typeof token).toBe('number');
    const [mapped] = machine.deeds.slice(-1);
    expect(mapped).toMatchObject({ kind: 'map', domain });
    // An address of the domain's own, not that of the page.
    expect(mapped).not.toMatchObject({ virt: { start: BigInt(page) * 4096n } });
    driverOf(disk).wait(100);
    driverOf(disk).reap(CONTEXT);
    expect(machine.deeds.at(-1)?.kind).toBe('unmap');
    expect(exercise(machine, system, disk)).toEqual(FINE);
  });

  it('S3.2 with ACCESS_PLATFORM and without IOMMU uses direct operations [D3]', () => {
    const machine = disks();
    const system = machine.system();
    const disk = machine.plug(system, 'plain');
    expect(driverOf(disk).features & featureMask(VirtioFeature.ACCESS_PLATFORM)).not.toBe(0n);
    expect(driverOf(disk).dma.kind).toBe('direct');
    const page = system.ram.allocatePages(1);
    driverOf(disk).writeSync(CONTEXT, 0, page, 0, 4096);
    expect(machine.touched).toContain(page);
    expect(exercise(machine, system, disk)).toEqual(FINE);
    expect(machine.deeds).toEqual([]);
  });

  it('S3.3 has its operations chosen once, and asks no more whatever the platform says later [D4]', () => {
    const machine = disks();
    let answer = false;
    let asked = 0;
    const system = machine.system({
      forcesDmaApi: () => {
        asked += 1;
        return answer;
      },
    });
    const disk = machine.plug(system, 'plain', { features: FLAGLESS });
    const traffic = trafficOn(machine, system, disk, { blockBytes: 512, blocks: 256, depth: 16 });
    traffic.writeAll();
    traffic.mix(5000 - 256);
    const { dma } = driverOf(disk);
    answer = true;
    traffic.mix(5000 - 256);
    traffic.readAll();
    expect([traffic.requests, traffic.errors, traffic.wrong]).toEqual([10_000, 0, 0]);
    expect([system.virtio.decisions, asked]).toEqual([1, 1]);
    expect(driverOf(disk).dma).toBe(dma);
    expect(dma.kind).toBe('physical');
    // The next initialisation is another matter.
    driverOf(disk).reset(CONTEXT);
    expect([system.virtio.decisions, driverOf(disk).dma.kind]).toEqual([2, 'direct']);
  });

  it('S3.4 without ACCESS_PLATFORM is bounced where the platform forces the DMA API, and exemptions are not [D5]', () => {
    const machine = disks();
    const system = machine.system({
      commandLine: 'swiotlb=512,force',
      forcesDmaApi: ({ name }) => name === 'plain',
    });
    const disk = machine.plug(system, 'plain', { features: FLAGLESS });
    expect(driverOf(disk).dma.kind).toBe('direct');
    machine.touched.clear();
    const page = system.ram.allocatePages(2);
    expect(driverOf(disk).writeSync(CONTEXT, 0, page, 100, 4096)).toBeUndefined();
    expect(driverOf(disk).readSync(CONTEXT, 0, page, 100, 4096)).toBeUndefined();
    expect(machine.touched).not.toContain(page);
    expect([...machine.touched].some((one) => system.pool?.contains(one))).toBe(true);
    expect(exercise(machine, system, disk)).toEqual(FINE);
    const exempt = machine.plug(system, 'iommu', { features: FLAGLESS });
    expect(driverOf(exempt).dma.kind).toBe('physical');
    driverOf(exempt).writeSync(CONTEXT, 0, page, 100, 4096);
    expect(machine.touched).toContain(page);
  });

  it('S3.11 fails where restricted access is demanded and it lacks VERSION_1 or ACCESS_PLATFORM [D6]', () => {
    for (const bit of [VirtioFeature.VERSION_1, VirtioFeature.ACCESS_PLATFORM]) {
      const machine = disks();
      const system = machine.system({ protected: true });
      machine.hidden.set('plain', featureMask(bit));
      expect(codeOf(() => machine.plug(system, 'plain'))).toBe('ENODEV');
      const written = machine.statuses.get('plain') ?? [];
      expect(written.some((status) => (status & DeviceStatus.FEATURES_OK) !== 0)).toBe(false);
      expect(written.at(-1)).toBe(DeviceStatus.FAILED);
      // With both it works.
      machine.hidden.clear();
      expect(exercise(machine, system, machine.plug(system, 'plain'))).toEqual(FINE);
    }
  });

  it('S3.12 in an identity domain needs no mapping for its requests [B10]', () => {
    const machine = disks();
    const system = machine.system({ commandLine: 'iommu.passthrough=1' });
    const disk = machine.plug(system, 'iommu');
    expect(disk.device.group?.domain?.type).toBe('identity');
    const { notifications } = machine.context.transport;
    expect(exercise(machine, system, disk)).toEqual(FINE);
    expect(machine.count('map')).toBe(0);
    expect(machine.context.transport.notifications).toBe(notifications);
  });
});

describe('bouncing', () => {
  const FORCED = { commandLine: 'swiotlb=128,force' };

  it('S3.8 takes at most 256 KiB for a mapping, and larger requests several [D9]', () => {
    const machine = disks();
    const system = machine.system({ commandLine: 'swiotlb=512,force' });
    const disk = machine.plug(system, 'plain', { segmentsMax: 2 });
    const driver = driverOf(disk);
    expect(driver.pieceBytesMax).toBeLessThanOrEqual(BOUNCE_BYTES_MAX);
    expect(BOUNCE_BYTES_MAX).toBe(256 << 10);
    const page = system.ram.allocatePages(65);
    expect(driver.writeSync(CONTEXT, 0, page, 0, BOUNCE_BYTES_MAX)).toBeUndefined();
    const one = { page, offset: 1, sizeBytes: BOUNCE_BYTES_MAX + 512 };
    const segment = { ...one, dmaPage: 0, dmaOffset: 0, dmaSizeBytes: 0 };
    expect(driver.dma.mapList(CONTEXT, disk.device, [segment], 1, 1, 0)).toBe('EIO');
    expect(system.pool?.slots.used).toBe(0);
  });

  it('S3.8 reports a full pool as a failed mapping, and goes on when there is room [D10]', () => {
    const machine = disks();
    const system = machine.system(FORCED);
    const driver = driverOf(machine.plug(system, 'plain'));
    const page = system.ram.allocatePages(65);
    // All 128 slots of 2 KiB.
    const first = driver.submit(CONTEXT, OUT, 0, page, 0, BOUNCE_BYTES_MAX);
    expect(first).toBeTypeOf('number');
    expect(system.pool?.slots.used).toBe(128);
    expect(driver.submit(CONTEXT, OUT, 0, page, 0, 512)).toBe('ENOMEM');
    expect(system.core.log.counters.bounceFull).toBe(1);
    driver.wait(100);
    expect(driver.reap(CONTEXT)).toBe(first);
    expect(system.pool?.slots.used).toBe(0);
    expect(driver.submit(CONTEXT, OUT, 0, page, 0, 512)).toBeTypeOf('number');
    expect(system.pool?.slots.used).toBe(1);
    driver.wait(100);
    driver.reap(CONTEXT);
  });

  it('S3.9 leaves what the disk did not write as it was [D8]', () => {
    const machine = disks();
    const system = machine.system(FORCED);
    const driver = driverOf(machine.plug(system, 'plain'));
    const backing = machine.backings.get('plain');
    if (backing === undefined) throw new Error('The disk has no bytes.');
    backing.bytes.fill(9);
    const page = system.ram.allocatePages(2);
    const bytes = machine.bytes(page, 2).fill(5);
    // A read that breaks off after 100 of 4096 bytes.
    Object.assign(backing, { failures: 1, partBytes: 100 });
    expect(driver.readSync(CONTEXT, 0, page, 300, 4096)).toBe('EIO');
    expect(bytes.subarray(300, 400).every((byte) => byte === 9)).toBe(true);
    expect(bytes.subarray(400).every((byte) => byte === 5)).toBe(true);
    expect(bytes.subarray(0, 300).every((byte) => byte === 5)).toBe(true);
  });
});
