/** The type of a group's domain, read and written through its directory while its disk is at work. */

import { BlkRequestType } from '@viommu/blk';
import type { GuestSystem, SystemDisk } from '@viommu/machine';
import { describe, expect, it } from 'vitest';
import { FINE, codeOf, disks, driverOf, exercise, trafficOn } from './kit/disks.ts';
import type { OneThread } from './kit/one-thread.ts';

const ROOT = { administrator: true };
const CONTEXT = { cpu: 0 };
/** The type, and the operations of a disk then. */
const TYPES = [
  ['identity', 'direct'],
  ['DMA-FQ', 'iommu'],
  ['DMA', 'iommu'],
  ['DMA-FQ', 'iommu'],
  ['identity', 'direct'],
  ['DMA', 'iommu'],
] as const;

interface Setup {
  readonly machine: OneThread;
  readonly system: GuestSystem;
  readonly disk: SystemDisk;
  readonly read: () => string;
  readonly write: (text: string) => unknown;
}

function setUp(commandLine: string, untrusted = false): Setup {
  const machine = disks();
  const system = machine.system({ commandLine });
  const disk = machine.plug(system, 'iommu', {}, { untrusted });
  const path = `${disk.device.group?.path}/type`;
  const { directory } = system.core;
  return {
    machine,
    system,
    disk,
    read: () => directory.read(path),
    write: (text) => codeOf(() => directory.write(path, text, ROOT)),
  };
}

describe('the type of a disk that works', () => {
  it.each([
    ['iommu.strict=1', 'DMA\n', 'iommu'],
    ['iommu.strict=0', 'DMA-FQ\n', 'iommu'],
    ['iommu.passthrough=1', 'identity\n', 'direct'],
  ])('S4.11 %s shows as %j, and all bytes arrive [B10] [B14]', (commandLine, type, kind) => {
    const { machine, system, disk, read } = setUp(commandLine);
    expect([read(), driverOf(disk).dma.kind]).toEqual([type, kind]);
    expect(exercise(machine, system, disk)).toEqual(FINE);
  });

  it('S4.13 becomes lazy under its requests: same domain, mappings intact, next unmap deferred [B15] [C15]', () => {
    const { machine, system, disk, read, write } = setUp('iommu.strict=1');
    const { domain } = disk.device.group ?? {};
    const traffic = trafficOn(machine, system, disk);
    traffic.writeAll();
    traffic.mix(4);
    expect(driverOf(disk).outstanding).toBeGreaterThan(0);
    const { mappings } = machine.device.iommu.usage;
    expect(write('DMA-FQ')).toBeUndefined();
    expect(read()).toBe('DMA-FQ\n');
    expect(disk.device.group?.domain).toBe(domain);
    expect(machine.device.iommu.usage.mappings).toBe(mappings);
    traffic.settle();
    expect(domain?.cookie?.flushQueue?.parkedRanges).toBeGreaterThan(0);
    traffic.mix(100);
    traffic.readAll();
    expect([traffic.errors, traffic.wrong]).toEqual([0, 0]);
    expect(driverOf(disk).dma.kind).toBe('iommu');
  });

  it('S4.12, S4.15 is changed by administrators only, and not under a driver, whatever was tried [B14]', () => {
    const { machine, system, disk, read, write } = setUp('iommu.strict=1');
    const path = `${disk.device.group?.path}/type`;
    const traffic = trafficOn(machine, system, disk);
    traffic.writeAll();
    for (const [text, code] of [
      ['identity', 'EPERM'],
      ['auto', 'EPERM'],
      ['blocked', 'EINVAL'],
      ['', 'EINVAL'],
    ]) {
      traffic.mix(4);
      expect(write(text ?? '')).toBe(code);
      expect(read()).toBe('DMA\n');
    }
    const { directory } = system.core;
    expect(codeOf(() => directory.write(path, 'DMA-FQ', { administrator: false }))).toBe('EACCES');
    expect(write('DMA-FQ\n')).toBeUndefined();
    traffic.mix(20);
    // There is no live way back.
    expect(write('DMA')).toBe('EPERM');
    expect(read()).toBe('DMA-FQ\n');
    traffic.readAll();
    expect([traffic.errors, traffic.wrong]).toEqual([0, 0]);
  });

  it('S4.11, S4.12 is any of them between two drivers, and the disk keeps its bytes [B14]', () => {
    const { machine, system, disk, read, write } = setUp('');
    const { core } = system;
    const blk = disk.device.driver;
    if (blk === undefined) throw new Error('The disk has no driver.');
    const generations = new Uint32Array(64);
    for (const [type, kind] of TYPES) {
      const traffic = trafficOn(machine, system, disk, { generations });
      traffic.mix(20);
      traffic.writeAll();
      traffic.settle();
      traffic.end();
      core.unbind(disk.device);
      expect(write(type)).toBeUndefined();
      expect(read()).toBe(`${type}\n`);
      expect(core.bind(disk.device, blk)).toBe(true);
      expect(driverOf(disk).dma.kind).toBe(kind);
      const after = trafficOn(machine, system, disk, { generations });
      after.readAll();
      expect([after.requests, after.errors, after.wrong]).toEqual([64, 0, 0]);
      after.end();
    }
    core.unbind(disk.device);
    expect(write('auto')).toBeUndefined();
    expect(read()).toBe('DMA\n');
    expect(machine.lines).toEqual([]);
  });

  it('S4.2 of an untrusted disk is strict, whatever is written, and its small buffers bounce [B11] [B16]', () => {
    const { machine, system, disk, read, write } = setUp('iommu.passthrough=1', true);
    expect(read()).toBe('DMA\n');
    for (const type of ['DMA-FQ', 'identity']) expect(write(type)).not.toBeUndefined();
    expect(read()).toBe('DMA\n');
    const page = system.ram.allocatePages(1);
    machine.touched.clear();
    const driver = driverOf(disk);
    driver.submit(CONTEXT, BlkRequestType.OUT, 0, page, 512, 512);
    driver.wait(100);
    driver.reap(CONTEXT);
    expect(machine.touched).not.toContain(page);
    expect(exercise(machine, system, disk)).toEqual(FINE);
  });
});
