import { type DeviceRegion, RegionKind } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatRegions, mergeRegions } from '../src/reserved-region.ts';
import { CoreGuest, region } from './kit/core-guest.ts';

describe('the list of a group', () => {
  it('S2.17 has the regions of all members, and one line where they touch [B21]', () => {
    const guest = new CoreGuest();
    const { group } = guest.group([{ name: 'a' }, { name: 'b' }, { name: 'c' }], {}, (iommu) => {
      iommu.regions.set('a', [region('MSI', 0x1800n, 0x27ffn)]);
      iommu.regions.set('b', [region('RESERVED', 0x1000n, 0x1fffn, 0)]);
      iommu.regions.set('c', [region('RESERVED', 0n, 0xfffn, 0)]);
    });
    expect(guest.read(group, 'reserved_regions')).toBe(
      '0x0000000000000000 0x0000000000001fff reserved\n' +
        '0x0000000000001800 0x00000000000027ff msi\n',
    );
  });

  it('S2.17 has what the firmware reserves as well, and follows the members', () => {
    const guest = new CoreGuest();
    guest.firmware.regions.set('b', [region('DIRECT', 0x8000n, 0x8fffn)]);
    const { group, devices } = guest.group([{ name: 'a' }, { name: 'b' }], {}, (iommu) =>
      iommu.regions.set('b', [region('SW_MSI', 0x800_0000n, 0x80f_ffffn)]),
    );
    expect(guest.read(group, 'reserved_regions')).toBe(
      '0x0000000000008000 0x0000000000008fff direct\n' +
        '0x0000000008000000 0x00000000080fffff msi\n',
    );
    guest.core.removeDevice(devices[1]!); // There are two.
    expect(guest.read(group, 'reserved_regions')).toBe('');
  });

  it('S2.17 names every kind, and keeps kinds apart even where they overlap', () => {
    const regions = [
      region('RESERVED', 0x0n, 0xffffn),
      region('DIRECT_RELAXABLE', 0x1000n, 0x1fffn),
      region('SW_MSI', 0n, 0xffn),
      region('MSI', 0n, 0xffn),
      region('DIRECT', 0n, 0xffn),
    ];
    expect(formatRegions(mergeRegions(regions))).toBe(
      '0x0000000000000000 0x00000000000000ff direct\n' +
        '0x0000000000000000 0x000000000000ffff reserved\n' +
        '0x0000000000000000 0x00000000000000ff msi\n' +
        '0x0000000000000000 0x00000000000000ff msi\n' +
        '0x0000000000001000 0x0000000000001fff direct-relaxable\n',
    );
  });

  it('S2.17 joins regions of one kind behind one of another, whatever their protection', () => {
    expect(
      mergeRegions([
        region('RESERVED', 0x2000n, 0x2fffn, 1),
        region('MSI', 0x1800n, 0x27ffn),
        region('RESERVED', 0x1000n, 0x1fffn, 0),
      ]),
    ).toEqual([region('RESERVED', 0x1000n, 0x2fffn, 0), region('MSI', 0x1800n, 0x27ffn)]);
  });

  it('S2.17 ends at the last address', () => {
    const last = 0xffff_ffff_ffff_ffffn;
    expect(
      formatRegions(
        mergeRegions([region('RESERVED', last, last), region('RESERVED', 1n, last - 1n)]),
      ),
    ).toBe('0x0000000000000001 0xffffffffffffffff reserved\n');
  });

  it('S2.17 covers the same addresses as before, each kind once', () => {
    const kinds = Object.values(RegionKind);
    const one = fc
      .tuple(
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: 8 }),
        fc.constantFrom(...kinds),
      )
      .map(([start, size, kind]): DeviceRegion => {
        const first = BigInt(start);
        return { start: first, last: first + BigInt(size), kind, protection: 0 };
      });
    const covered = (regions: readonly DeviceRegion[], kind: RegionKind, address: bigint) =>
      regions.filter((it) => it.kind === kind && it.start <= address && it.last >= address).length;
    fc.assert(
      fc.property(fc.array(one, { maxLength: 12 }), (regions) => {
        const merged = mergeRegions(regions);
        for (const kind of kinds)
          for (let address = 0n; address < 50n; address += 1n)
            expect(covered(merged, kind, address)).toBe(
              Math.min(1, covered(regions, kind, address)),
            );
        for (const [at, { start, kind }] of merged.entries()) {
          const before = merged[at - 1];
          if (before === undefined) continue;
          expect(before.start < start || (before.start === start && before.kind < kind)).toBe(true);
        }
        for (const a of merged)
          for (const b of merged)
            if (a !== b && a.kind === b.kind && a.start <= b.start)
              expect(b.start).toBeGreaterThan(a.last + 1n);
      }),
      { seed: 217, numRuns: 100 },
    );
  });
});
