/** Disks with back-ends in domains of their own, in a guest on Xen. */

import { BlkRequestType } from '@viommu/blk';
import { DeviceStatus, VirtioFeature, featureMask } from '@viommu/common';
import { FIRST_GRANT, GrantDma, GrantFlag, GrantStatus } from '@viommu/iommu';
import type { SystemOptions } from '@viommu/machine';
import { describe, expect, it } from 'vitest';
import {
  BACKEND,
  DISK_BYTES,
  FINE,
  codeOf,
  disks,
  driverOf,
  exercise,
  trafficOn,
} from './kit/disks.ts';
import type { OneThread } from './kit/one-thread.ts';

const XEN: SystemOptions = { xen: true };
const GUEST = 1;
const WRITING = GrantFlag.READING | GrantFlag.WRITING;
const CONTEXT = { cpu: 0 };

/** The entries that permit something: their numbers, flags, domains and frames. */
function granted({ grantTable }: OneThread): {
  ref: number;
  flags: number;
  domid: number;
  frame: number;
}[] {
  const all = Array.from({ length: grantTable.length / 2 }, (_, ref) => {
    const word = grantTable[2 * ref] ?? 0;
    const frame = (grantTable[2 * ref + 1] ?? 0) >>> 0;
    return { ref, flags: word & 0xffff, domid: word >>> 16, frame };
  });
  return all.filter(({ flags }) => (flags & GrantFlag.PERMIT_ACCESS) !== 0);
}

/** The tree with the node of the grants changed. */
const amended = (from: string, to: string): SystemOptions => ({
  ...XEN,
  tree: {
    amend: (source) => {
      expect(source).toContain(from);
      return source.replace(from, to);
    },
  },
});

describe('a disk whose node names a grant IOMMU', () => {
  it('S0.1, S0.10 is probed at once with the stub, without group or domain, and granted to its own back-end [E1]', () => {
    const machine = disks({ other: { kind: 'disk', backend: 5, sizeBytes: DISK_BYTES } });
    const system = machine.system(XEN);
    const disk = machine.plug(system, 'grant');
    const driver = driverOf(disk);
    expect(machine.nowMs).toBe(0);
    expect(disk.device.group).toBeUndefined();
    expect(disk.device.iommu?.endpoint).toBeUndefined();
    expect(driver.dma).toBeInstanceOf(GrantDma);
    const rings = granted(machine);
    expect(rings.length).toBeGreaterThan(0);
    expect(new Set(rings.map(({ domid }) => domid))).toEqual(new Set([BACKEND]));
    // A second one, towards another domain; nobody else can map what it got.
    const other = machine.plug(system, 'other');
    const its = granted(machine).filter(({ domid }) => domid === 5);
    expect(its.length).toBeGreaterThan(0);
    for (const { ref } of its)
      expect(machine.hypervisor.mapGrant(GUEST, ref, BACKEND, true)).toBe(
        GrantStatus.GENERAL_ERROR,
      );
    expect(exercise(machine, system, disk)).toEqual(FINE);
    expect(exercise(machine, system, other)).toEqual(FINE);
    expect(machine.deeds).toEqual([]);
  });

  it('S0.7 is read and written through grants that are gone when the request is [E1]', () => {
    const machine = disks();
    const system = machine.system(XEN);
    const disk = machine.plug(system, 'grant');
    const driver = driverOf(disk);
    const page = system.ram.allocatePages(2);
    const rings = granted(machine).length;
    const bytes = machine.bytes(page, 2);
    bytes.fill(7);
    const token = driver.submit(CONTEXT, BlkRequestType.OUT, 8, page, 100, 4096);
    const data = granted(machine).filter(({ frame }) => frame === page || frame === page + 1);
    expect(data.map(({ frame }) => frame)).toEqual([page, page + 1]);
    // What the disk only reads is granted for reading.
    expect(data.every(({ flags }) => (flags & GrantFlag.READ_ONLY) !== 0)).toBe(true);
    driver.wait(100);
    expect(driver.reap(CONTEXT)).toBe(token);
    expect(driver.error).toBeUndefined();
    expect(
      machine.backings
        .get('grant')
        ?.bytes.subarray(4096, 8192)
        .every((b) => b === 7),
    ).toBe(true);
    expect(granted(machine).length).toBe(rings);
    for (const { ref } of data)
      expect(machine.hypervisor.mapGrant(GUEST, ref, BACKEND, true)).toBe(
        GrantStatus.GENERAL_ERROR,
      );
    // And when the disk is gone, so are its rings; nothing stays mapped.
    system.unplugDisk(disk);
    expect(granted(machine)).toEqual([]);
    expect(machine.hypervisor.mapped).toBe(0);
    expect(system.grants?.used).toBe(0);
  });

  it('S0.8 is broken for good once its back-end holds on to a page, which nobody gets again [E8]', () => {
    const machine = disks();
    const system = machine.system(XEN);
    const disk = machine.plug(system, 'grant');
    const driver = driverOf(disk);
    const rings = granted(machine);
    const page = system.ram.allocatePages(1);
    const token = driver.submit(CONTEXT, BlkRequestType.IN, 0, page, 0, 512);
    const data = granted(machine).find(({ frame }) => frame === page);
    if (data === undefined || typeof token !== 'number') throw new Error('Nothing was granted.');
    const handle = machine.hypervisor.mapGrant(GUEST, data.ref, BACKEND, false);
    expect(handle).toBeGreaterThanOrEqual(0);
    driver.wait(100);
    driver.reap(CONTEXT);
    expect(driver.dma).toMatchObject({ kind: 'grant', broken: true });
    expect(system.core.log.counters.grantBroken).toBe(1);
    // Its grant stays, and no request gets through any more.
    expect(granted(machine)).toContainEqual({ ...data, flags: data.flags | WRITING });
    expect(driver.submit(CONTEXT, BlkRequestType.IN, 0, page, 0, 512)).toBe('ENOMEM');
    system.unplugDisk(disk);
    expect(machine.hypervisor.unmapGrant(handle)).toBe(GrantStatus.OKAY);
    // Neither the references nor the pages of the rings are ever given out again.
    const used = new Set([data.ref, ...rings.map(({ ref }) => ref)]);
    for (let ref = system.grants?.allocate(1) ?? -1; ref >= FIRST_GRANT;) {
      expect(used.has(ref)).toBe(false);
      ref = system.grants?.allocate(1) ?? -1;
    }
    const lost = new Set(rings.map(({ frame }) => frame));
    for (let found = system.ram.allocatePages(1); found >= 0;) {
      expect(lost.has(found)).toBe(false);
      found = system.ram.allocatePages(1);
    }
  });

  it('S0.9 waits without the stub for the time limit, then works, and the log says why [E2]', () => {
    const machine = disks();
    const system = machine.system({ ...XEN, stub: false });
    const disk = machine.plug(system, 'grant');
    expect(disk.driver).toBeUndefined();
    system.finishBoot();
    machine.pass(system, 9999);
    expect(disk.driver).toBeUndefined();
    expect(machine.lines.join()).not.toContain('dependency is ignored');
    machine.pass(system, 1);
    expect(machine.lines.filter((line) => line.includes('dependency is ignored')).length).toBe(1);
    expect(driverOf(disk).dma.kind).toBe('grant');
    expect(disk.device.group).toBeUndefined();
    expect(exercise(machine, system, disk)).toEqual(FINE);
  });
});

describe('the stub', () => {
  const stubs = (machine: OneThread, options: SystemOptions): string[] =>
    machine
      .system(options)
      .core.directory.list('/sys/class/iommu')
      .filter((name) => name.startsWith('stub'));

  it('S0.11 is there if a node of grants is, and only then', () => {
    expect(stubs(disks(), XEN)).toHaveLength(1);
    const without = amended('compatible = "xen,grant-dma";', 'compatible = "other";');
    expect(stubs(disks(), without)).toEqual([]);
  });

  it('S0.11 can be taken away, and leaves another IOMMU alone [E13]', () => {
    const machine = disks();
    const system = machine.system(XEN);
    const behind = machine.plug(system, 'iommu');
    const granting = machine.plug(system, 'grant');
    expect(driverOf(behind).dma.kind).toBe('iommu');
    system.removeStubs();
    expect(system.core.directory.list('/sys/class/iommu')).toEqual(['virtio-iommu']);
    expect(exercise(machine, system, behind)).toEqual(FINE);
    expect(exercise(machine, system, granting)).toEqual(FINE);
    // The next one has nobody to tell it that there is nothing to wait for.
    system.unplugDisk(granting);
    expect(machine.plug(system, 'grant').driver).toBeUndefined();
    expect(exercise(machine, system, behind)).toEqual(FINE);
  });

  it('S0.7, S0.11 shares a tree with a virtio-iommu: two disks at work, each in its own way [E13]', () => {
    const machine = disks();
    const system = machine.system(XEN);
    const behind = machine.plug(system, 'iommu');
    const granting = machine.plug(system, 'grant');
    const kinds = [behind, granting].map((disk) => driverOf(disk).dma.kind);
    expect(kinds).toEqual(['iommu', 'grant']);
    const both = [trafficOn(machine, system, behind), trafficOn(machine, system, granting)];
    for (let turn = 0; turn < 20; turn += 1) for (const traffic of both) traffic.mix(9);
    for (const traffic of both) {
      traffic.settle();
      traffic.readAll();
      expect([traffic.errors, traffic.wrong]).toEqual([0, 0]);
    }
    expect(behind.device.group?.domain?.type).toBe('DMA');
    expect(granting.device.group).toBeUndefined();
  });
});

describe('a disk without its grants', () => {
  it('S0.12 is probed at once if the IOMMU node is disabled, and gets no grant operations [E3] [F9]', () => {
    const machine = disks();
    const compatible = 'compatible = "xen,grant-dma";';
    const system = machine.system(amended(compatible, `${compatible} status = "disabled";`));
    const disk = machine.plug(system, 'grant');
    expect(driverOf(disk).dma.kind).toBe('direct');
    expect(disk.device.group).toBeUndefined();
    expect(machine.nowMs).toBe(0);
    expect(machine.lines.some((line) => line.includes('disabled'))).toBe(true);
  });

  it('S0.12 does without IOMMU if that of its node is disabled, and at once [F9]', () => {
    const machine = disks();
    const system = machine.system({ tree: { iommuDisabled: true } });
    const disk = machine.plug(system, 'iommu');
    expect(driverOf(disk).dma.kind).toBe('direct');
    expect(disk.device.group).toBeUndefined();
    // The IOMMU itself lets it pass.
    expect(exercise(machine, system, disk)).toEqual(FINE);
    expect(machine.deeds).toEqual([]);
  });

  it('S0.14 fails before FEATURES_OK unless it has VERSION_1 and ACCESS_PLATFORM [E12]', () => {
    for (const bit of [VirtioFeature.VERSION_1, VirtioFeature.ACCESS_PLATFORM]) {
      const machine = disks();
      const system = machine.system(XEN);
      machine.hidden.set('grant', featureMask(bit));
      expect(codeOf(() => machine.plug(system, 'grant'))).toBe('ENODEV');
      const written = machine.statuses.get('grant') ?? [];
      expect(written.some((status) => (status & DeviceStatus.FEATURES_OK) !== 0)).toBe(false);
      expect(written.at(-1)).toBe(DeviceStatus.FAILED);
      expect(granted(machine)).toEqual([]);
    }
  });

  it('S0.14 accepts no mask but all 64 bits [E11]', () => {
    const machine = disks();
    const disk = machine.plug(machine.system(XEN), 'grant');
    const { dma } = driverOf(disk);
    expect(codeOf(() => dma.checkMask(disk.device, 2n ** 32n - 1n))).toBe('EIO');
    expect(codeOf(() => dma.checkMask(disk.device, 2n ** 64n - 1n))).toBeUndefined();
  });
});
