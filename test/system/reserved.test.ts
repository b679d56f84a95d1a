/** Addresses of a real disk that are not for free use: named by the device tree, or by the IOMMU itself. */

import { verify } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { DEVICE, DISKS, ENDPOINT, FINE, disks, exercise } from './kit/disks.ts';
import { OneThread } from './kit/one-thread.ts';

describe('direct regions of the device tree', () => {
  const regions = `
  reserved-memory {
    #address-cells = <2>; #size-cells = <2>;
    high: high { reg = <0 0x40f01000 0 0x4000>; iommu-addresses = <&disk 0 0x40f01000 0 0x4000>; };
    low: low { reg = <0 0x40e00000 0 0x1000>; iommu-addresses = <&disk 0 0x40e00000 0 0x1000>; };
    over: over { reg = <0 0x40f00000 0 0x3000>; iommu-addresses = <&disk 0 0x40f00000 0 0x3000>; };
  };
};
`;

  it('S1.17, S1.18 are there as soon as the disk is in its domain, sorted, and overlapping ones once [B22] [B24]', () => {
    const machine = disks();
    const address = machine.context.endpoint('iommu').address.toString(16);
    const system = machine.system({
      tree: {
        amend: (source) =>
          source
            .replace(
              `virtio@${address} {`,
              `disk: virtio@${address} { memory-region = <&high &low &over>;`,
            )
            .replace(/\};\s*$/, regions),
      },
    });
    const disk = machine.plug(system, 'iommu');
    const wire = machine.deeds.slice(0, 4).map((deed) => deed.kind);
    expect(wire).toEqual(['attach', 'map', 'map', 'map']);
    const mapped = [
      ...machine.device.iommu.mappings(machine.device.iommu.domainOf(ENDPOINT) ?? -1),
    ];
    const direct = mapped.filter(({ virt, physStart }) => BigInt(virt.start) === BigInt(physStart));
    // One after the other and without a gap: what two regions share is in one mapping.
    expect(direct[0]?.virt).toEqual({ start: 0x40e0_0000n, last: 0x40e0_0fffn });
    expect(direct.slice(1).map(({ virt }) => virt.start)).toEqual([
      0x40f0_0000n,
      ...direct.slice(1, -1).map(({ virt }) => virt.last + 1n),
    ]);
    expect(direct.at(-1)?.virt.last).toBe(0x40f0_4fffn);
    expect(machine.lines).toEqual([]);
    // The copy engine of a device with such a region reaches it; and nobody is given its addresses.
    expect(exercise(machine, system, disk)).toEqual(FINE);
    const group = disk.device.group?.path ?? '';
    expect(system.core.directory.read(`${group}/reserved_regions`)).toContain('direct');
    expect(system.core.directory.read(`${group}/type`)).toBe('DMA\n');
  });
});

describe('regions that the IOMMU reserves', () => {
  it('S1.22, S2.17 are learnt, shown, and never given to the disk [A12]', () => {
    const top = 1n << 48n;
    const reserved = [
      // Where addresses would be given out first, and a doorbell.
      { start: top - 0x40_0000n, last: top - 1n, type: 'reserved' as const },
      { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' as const },
    ];
    const machine = new OneThread({
      endpoints: DISKS,
      device: { ...DEVICE, endpoints: [{ id: ENDPOINT, reserved }] },
    });
    const system = machine.system();
    const disk = machine.plug(system, 'iommu');
    expect(exercise(machine, system, disk)).toEqual(FINE);
    const inside = machine.deeds.filter(
      (deed) =>
        deed.kind === 'map' &&
        reserved.some(({ start, last }) => deed.virt.start <= last && deed.virt.last >= start),
    );
    expect(machine.count('map')).toBeGreaterThan(100);
    expect(inside).toEqual([]);
    const text = system.core.directory.read(`${disk.device.group?.path}/reserved_regions`);
    expect(text.split('\n')).toEqual([
      '0x00000000fee00000 0x00000000feefffff msi',
      '0x0000ffffffc00000 0x0000ffffffffffff reserved',
      '',
    ]);
    verify(system.driver, machine.device.iommu);
  });
});
