/** A guest that keeps its memory to itself: nobody asks the host, and nobody has to trust it. */

import { BlkRequestType } from '@viommu/blk';
import { DeviceStatus, MmioRegister } from '@viommu/common';
import type { DmaOps } from '@viommu/iommu';
import { describe, expect, it } from 'vitest';
import { FINE, disks, driverOf, exercise } from './kit/disks.ts';

const CONTEXT = { cpu: 0 };
const { IN, OUT } = BlkRequestType;
const SECRET = 0x5e;

/** A kernel with a bug: it hands out addresses as they are, past everything that should stand in between. */
function forgetBouncing(dma: DmaOps): () => void {
  const usual = { map: dma.map.bind(dma), unmap: dma.unmap.bind(dma) };
  dma.map = (_context, _device, page, offset, _size, _direction, _attributes, into) => {
    into.page = page;
    into.offset = offset;
    return true;
  };
  dma.unmap = () => undefined;
  return () => Object.assign(dma, usual);
}

describe('a protected guest', () => {
  it.each(['plain', 'iommu'])(
    'S3.5, S3.6 decides alone, and all that its disk (%s) sees are pages that it shares [D7]',
    (name) => {
      const machine = disks();
      const system = machine.system({ protected: true });
      const disk = machine.plug(system, name);
      // The host's use of its IOMMU is another matter.
      expect(driverOf(disk).dma.kind).toBe(name === 'iommu' ? 'iommu' : 'direct');
      const page = system.ram.allocatePages(3);
      const bytes = machine.bytes(page, 3);
      for (let at = 0; at < bytes.length; at += 1) bytes[at] = at * 7 + (at >> 8);
      const sent = bytes.slice(2201, 2201 + 5120);
      expect(driverOf(disk).writeSync(CONTEXT, 0, page, 2201, 5120)).toBeUndefined();
      expect(machine.backings.get(name)?.bytes.subarray(0, 5120)).toEqual(sent);
      bytes.fill(0);
      expect(driverOf(disk).readSync(CONTEXT, 0, page, 777, 5120)).toBeUndefined();
      expect(bytes.slice(777, 777 + 5120)).toEqual(sent);
      expect(exercise(machine, system, disk)).toEqual(FINE);
      const touched = [...machine.touched];
      expect(touched.some((one) => system.pool?.contains(one))).toBe(true);
      expect(touched.filter((one) => one >= page && one < page + 3)).toEqual([]);
    },
  );

  it('S3.5 runs on the same host as one that is not, with the same options', () => {
    for (const isProtected of [false, true]) {
      const machine = disks();
      const system = machine.system({ protected: isProtected });
      const page = system.ram.allocatePages(1);
      const driver = driverOf(machine.plug(system, 'plain'));
      driver.writeSync(CONTEXT, 0, page, 0, 512);
      expect(machine.touched.has(page)).toBe(!isProtected);
    }
  });

  it('S3.7 shares rings and pool, and takes pages back when a disk goes', () => {
    const machine = disks();
    const system = machine.system({ protected: true });
    const pages = (): number => {
      let count = 0;
      for (let page = system.ram.firstPage; page <= system.ram.lastPage; page += 1)
        if (machine.shared(page)) count += 1;
      return count;
    };
    const before = pages();
    const disk = machine.plug(system, 'plain');
    expect(pages()).toBeGreaterThan(before);
    system.unplugDisk(disk);
    expect(pages()).toBe(before);
    expect(before).toBeLessThan((system.ram.lastPage - system.ram.firstPage + 1) / 2);
  });

  it.each([
    ['plain', OUT],
    ['plain', IN],
    ['iommu', OUT],
    ['iommu', IN],
  ] as const)(
    'S3.7 loses no byte to a raw address in a descriptor (%s, request type %i): the disk needs a reset [D12]',
    (name, type) => {
      const machine = disks();
      const system = machine.system({
        protected: true,
        commandLine: name === 'iommu' ? 'iommu.passthrough=1' : '',
      });
      const driver = driverOf(machine.plug(system, name));
      const secret = system.ram.allocatePages(1);
      const bytes = machine.bytes(secret, 1).fill(SECRET);
      const backing = machine.backings.get(name)?.bytes.fill(1);
      const repair = forgetBouncing(driver.dma);
      machine.touched.clear();
      expect(driver.submit(CONTEXT, type, 0, secret, 0, 4096)).toBeTypeOf('number');
      expect(driver.wait(100)).toBe(true);
      driver.reap(CONTEXT);
      expect(driver.error).toBe('EIO');
      expect(driver.lost).toContain('reset');
      expect(machine.touched).not.toContain(secret);
      expect(bytes.every((byte) => byte === SECRET)).toBe(true);
      expect(backing?.every((byte) => byte === 1)).toBe(true);
      repair();
      // Everybody is alive, and the disk again, too.
      driver.reset(CONTEXT);
      const { port } = machine.context.endpoint(name);
      const status = port.read(MmioRegister.Status, 4);
      expect(status & DeviceStatus.DEVICE_NEEDS_RESET).toBe(0);
      expect(driver.writeSync(CONTEXT, 0, secret, 0, 4096)).toBeUndefined();
      expect(backing?.subarray(0, 4096).every((byte) => byte === SECRET)).toBe(true);
    },
  );

  it('S3.7 is left alone in normal operation: no access to a private page is even tried', () => {
    const machine = disks();
    const system = machine.system({ protected: true });
    const disk = machine.plug(system, 'plain');
    machine.touched.clear();
    machine.onStep = () => {
      for (const page of machine.touched) expect(machine.shared(page)).toBe(true);
      machine.touched.clear();
    };
    expect(exercise(machine, system, disk)).toEqual(FINE);
    expect(driverOf(disk).lost).toBeUndefined();
  });
});
