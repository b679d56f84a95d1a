/** Disks that come, go and fail while others work. */

import { BlkRequestType } from '@viommu/blk';
import { verify } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { DISK_BYTES, FINE, disks, driverOf, exercise, trafficOn } from './kit/disks.ts';

const CONTEXT = { cpu: 0 };

describe('hot plug', () => {
  it.each(['iommu.strict=1', 'iommu.strict=0'])(
    'S4.5 takes on a disk while another works, and gives up one in the middle of its requests (%s) [B18]',
    (commandLine) => {
      const machine = disks({ second: { kind: 'disk', id: 12, sizeBytes: DISK_BYTES } });
      const system = machine.system({ commandLine });
      const { iommu } = machine.device;
      const steady = machine.plug(system, 'iommu');
      const traffic = trafficOn(machine, system, steady);
      traffic.writeAll();
      const generations = new Uint32Array(64);
      for (let turn = 0; turn < 6; turn += 1) {
        traffic.mix(10);
        const disk = machine.plug(system, 'second');
        expect(disk.device.group?.id).toBe(1);
        const other = trafficOn(machine, system, disk, { generations });
        other.readAll();
        other.writeAll();
        other.readAll();
        expect([other.errors, other.wrong]).toEqual([0, 0]);
        other.end();
        traffic.mix(10);
        // Gone with requests under way: nobody gets their memory before the disk has let go of it.
        const page = system.ram.allocatePages(8);
        const bytes = machine.bytes(page, 8);
        const driver = driverOf(disk);
        for (let block = 0; block < 8; block += 1)
          driver.submit(CONTEXT, BlkRequestType.IN, 8 * block, page + block, 0, 4096);
        driver.kick();
        system.unplugDisk(disk);
        bytes.fill(0x33);
        let ended = 0;
        for (let token = driver.reap(CONTEXT); token >= 0; token = driver.reap(CONTEXT)) {
          expect(driver.error).toBe('EIO');
          ended += 1;
        }
        expect(ended).toBe(8);
        expect(iommu.domainOf(12)).toBeUndefined();
        traffic.mix(10);
        expect(bytes.every((byte) => byte === 0x33)).toBe(true);
        system.ram.freePages(page);
      }
      traffic.settle();
      traffic.readAll();
      expect([traffic.errors, traffic.wrong]).toEqual([0, 0]);
      // What waits for a flush is not on its way.
      machine.pass(system, 10);
      verify(system.driver, iommu);
      expect(system.core.directory.list('/sys/kernel/iommu_groups')).toEqual(['0']);
    },
  );

  it.each(['iommu.strict=1', 'iommu.strict=0'])(
    'S4.5 survives an endpoint that the host pulls out under its disk, and one that it puts back (%s)',
    (commandLine) => {
      const machine = disks({ second: { kind: 'disk', id: 12, sizeBytes: DISK_BYTES } });
      const system = machine.system({ commandLine });
      const { iommu } = machine.device;
      const traffic = trafficOn(machine, system, machine.plug(system, 'iommu'));
      traffic.writeAll();
      const generations = new Uint32Array(64);
      const issued = new Uint32Array(64);
      for (let turn = 0; turn < 3; turn += 1) {
        const disk = machine.plug(system, 'second');
        const other = trafficOn(machine, system, disk, { generations, issued });
        other.readAll();
        other.mix(20);
        expect(other.errors).toBe(0);
        other.mix(20);
        iommu.unplug(12);
        other.settle();
        // Nothing is mapped any more, and no access gets through.
        const page = system.ram.allocatePages(1);
        machine.touched.clear();
        expect(driverOf(disk).readSync(CONTEXT, 0, page, 0, 4096)).toMatch(/^EIO$|^ENOMEM$/);
        expect(machine.touched).not.toContain(page);
        system.ram.freePages(page);
        expect(other.errors).toBeGreaterThan(0);
        expect(other.wrong).toBe(0);
        system.unplugDisk(disk);
        other.end();
        traffic.mix(20);
        iommu.plug({ id: 12 });
      }
      traffic.readAll();
      expect([traffic.errors, traffic.wrong]).toEqual([0, 0]);
      machine.pass(system, 10);
      verify(system.driver, iommu);
      // Each time nobody knew the endpoint that was to be detached.
      expect(system.driver.log.counters.detachFailed).toBe(3);
    },
  );

  it('S4.5 gives all memory back, disk by disk', () => {
    const machine = disks();
    const system = machine.system({ xen: true, commandLine: 'iommu.strict=0' });
    const { pages } = machine.memory;
    const round = (): number => {
      for (const name of ['plain', 'iommu', 'grant']) {
        const disk = machine.plug(system, name);
        expect(exercise(machine, system, disk)).toEqual(FINE);
        system.unplugDisk(disk);
      }
      return pages.freePages;
    };
    const first = round();
    expect([round(), round()]).toEqual([first, first]);
  });
});

describe('a disk that fails', () => {
  it.each([
    ['plain', ''],
    ['plain', 'swiotlb=512,force'],
    ['iommu', 'iommu.strict=1'],
    ['iommu', 'iommu.strict=0'],
    ['grant', ''],
  ])('S4.15 keeps everything that it did not fail (%s %s)', (name, commandLine) => {
    const machine = disks();
    const system = machine.system({ commandLine, xen: name === 'grant' });
    const disk = machine.plug(system, name);
    const backing = machine.backings.get(name);
    if (backing === undefined) throw new Error('The disk has no bytes.');
    const traffic = trafficOn(machine, system, disk);
    traffic.writeAll();
    for (let turn = 0; turn < 10; turn += 1) {
      backing.failures = 3;
      traffic.mix(30);
      traffic.settle();
    }
    expect(traffic.errors).toBe(30);
    traffic.readAll();
    traffic.writeAll();
    expect(traffic.doubtful).toBe(0);
    traffic.readAll();
    expect([traffic.errors, traffic.wrong]).toEqual([30, 0]);
  });

  it.each(['plain', 'iommu', 'grant'])(
    'S4.15 is reset in the middle of its requests and goes on (%s)',
    (name) => {
      const machine = disks();
      const system = machine.system({ xen: true });
      const disk = machine.plug(system, name);
      const driver = driverOf(disk);
      const traffic = trafficOn(machine, system, disk);
      traffic.writeAll();
      for (let turn = 0; turn < 5; turn += 1) {
        traffic.mix(12);
        driver.reset(CONTEXT);
        traffic.settle();
      }
      expect(traffic.errors).toBeGreaterThan(0);
      traffic.writeAll();
      traffic.readAll();
      expect(traffic.wrong).toBe(0);
    },
  );
});
