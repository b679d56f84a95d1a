import { ADDRESS_MAX } from '@viommu/common';
import { type ProbeResult, Protection, parseProbe } from '@viommu/driver';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MSI, RESERVED, concat, list, property, region } from './helper/property.ts';

const MSI_REGION = region(MSI, 0xfee0_0000n, 0xfeef_ffffn);
const RESERVED_REGION = region(RESERVED, 0x1000n, 0x1fffn);

function parsed(bytes: Uint8Array): ProbeResult {
  const result = parseProbe(bytes);
  if (typeof result === 'string') throw new Error(`refused with ${result}`);
  return result;
}

function starts(bytes: Uint8Array): bigint[] {
  return parsed(bytes).regions.map(({ start }) => start);
}

describe('properties of an endpoint', () => {
  it('S1.22 [A12] two regions and an unknown type: the regions, in ascending order', () => {
    const bytes = list(96, MSI_REGION, property(0x7ff, 4), RESERVED_REGION);
    expect(parsed(bytes)).toEqual({
      regions: [
        { start: 0x1000n, last: 0x1fffn, type: 'reserved', protection: 0 },
        {
          start: 0xfee0_0000n,
          last: 0xfeef_ffffn,
          type: 'msi',
          protection: Protection.WRITE | Protection.NOEXEC | Protection.MMIO,
        },
      ],
      skipped: 1,
      unknownSubtypes: 0,
    });
  });

  it('reads a region byte for byte', () => {
    const bytes = new Uint8Array(64);
    bytes.set([1, 0, 0x14, 0, 1, 0, 0, 0, 0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 0xff, 0xff, 0xef, 0xfe]);
    expect(parsed(bytes).regions).toMatchObject([
      { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
    ]);
  });

  it('S1.22 [A14] (6.8) a region that runs past the end is refused', () => {
    // 40 bytes that are passed over leave 24, of which the last property needs all.
    expect(starts(list(64, property(0x7ff, 36), RESERVED_REGION))).toEqual([0x1000n]);
    expect(parseProbe(list(63, property(0x7ff, 36), RESERVED_REGION))).toBe('EINVAL');
    expect(parseProbe(list(28, RESERVED_REGION, property(1, 20)))).toBe('EINVAL');
    expect(parseProbe(region(RESERVED, 0n, 1n, { length: 0xffff }))).toBe('EINVAL');
  });

  it('S1.22 [A14] a region that ends before it starts, or covers everything, is refused', () => {
    expect(parseProbe(region(RESERVED, 0x2000n, 0x1fffn))).toBe('EOVERFLOW');
    expect(parseProbe(region(MSI, 0n, ADDRESS_MAX))).toBe('EOVERFLOW');
    expect(starts(region(RESERVED, 1n, ADDRESS_MAX))).toEqual([1n]);
    expect(starts(region(RESERVED, 0x1000n, 0x1000n))).toEqual([0x1000n]);
  });

  it('a region too short for its fields is refused, also behind a good one', () => {
    expect(parseProbe(list(64, RESERVED_REGION, property(1, 19)))).toBe('EINVAL');
    expect(parseProbe(list(64, property(1, 0)))).toBe('EINVAL');
  });

  it('a good region behind a bad one does not heal the list', () => {
    const bytes = list(96, region(RESERVED, 2n, 1n), RESERVED_REGION);
    expect(parseProbe(bytes)).toBe('EOVERFLOW');
  });

  it('(6.8) a property that is passed over may run past the end, which ends the list', () => {
    const bytes = list(64, RESERVED_REGION, property(0x123, 1000));
    expect(parsed(bytes)).toMatchObject({ regions: [{ start: 0x1000n }], skipped: 1 });
  });

  it('(6.8) fewer than four bytes are the end of the list', () => {
    for (const left of [0, 1, 2, 3])
      expect(starts(concat(RESERVED_REGION, new Uint8Array(left).fill(1)))).toEqual([0x1000n]);
    expect(parsed(new Uint8Array(0)).regions).toEqual([]);
  });

  it('fact.iommu.probe-end: nothing behind type 0 is read', () => {
    expect(starts(list(96, property(0, 0), RESERVED_REGION))).toEqual([]);
  });

  it('iommu.drv.probe.unknown-type-ignored', () => {
    expect(starts(list(96, property(0x7ff, 4), RESERVED_REGION))).toEqual([0x1000n]);
  });

  it('iommu.drv.probe.length-from-header: the step to the next property is the length', () => {
    const long = region(RESERVED, 0x1000n, 0x1fffn, { extra: 8 });
    expect(starts(list(96, long, MSI_REGION))).toEqual([0x1000n, 0xfee0_0000n]);
  });

  it('iommu.drv.probe.reserved-nonzero-ignored (6.9)', () => {
    const marked = region(RESERVED, 0x1000n, 0x1fffn, { type: 0x1001 });
    expect(parsed(list(64, marked))).toMatchObject({ regions: [], skipped: 1 });
    for (const bit of [0x2001, 0x4001, 0x8001])
      expect(starts(list(64, region(RESERVED, 0n, 0xfffn, { type: bit })))).toEqual([]);
  });

  it('iommu.drv.probe.continue-after-ignored', () => {
    const marked = region(RESERVED, 0x5000n, 0x5fffn, { type: 0xf001 });
    expect(starts(list(96, marked, RESERVED_REGION))).toEqual([0x1000n]);
  });

  it('iommu.drv.resv.reserved-ignored', () => {
    const marked = region(RESERVED, 0x1000n, 0x1fffn, { reserved: Uint8Array.of(255, 255, 255) });
    expect(parsed(list(64, marked))).toEqual(parsed(list(64, RESERVED_REGION)));
  });

  it('iommu.drv.resv.unknown-subtype', () => {
    expect(parsed(list(64, region(0x7f, 0x1000n, 0x1fffn)))).toEqual({
      regions: [{ start: 0x1000n, last: 0x1fffn, type: 'reserved', protection: 0 }],
      skipped: 0,
      unknownSubtypes: 1,
    });
  });

  it('every list of bytes ends, and every region it gives is a range', () => {
    const small = fc.constantFrom(0, 1, 2, 4, 16, 20, 24, 0x10, 0x14, 255);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(small, { maxLength: 200 }).map((numbers) => Uint8Array.from(numbers)),
      fc
        .array(
          fc.oneof(
            fc
              .tuple(
                fc.integer({ min: 0, max: 3 }),
                fc.bigInt(0n, ADDRESS_MAX),
                fc.bigInt(0n, ADDRESS_MAX),
              )
              .map(([subtype, start, end]) => region(subtype, start, end)),
            fc
              .tuple(fc.integer({ min: 0, max: 0xffff }), fc.nat(40))
              .map(([t, n]) => property(t, n)),
          ),
          { maxLength: 6 },
        )
        .map((parts) => concat(...parts)),
    );
    let regionsSeen = 0;
    fc.assert(
      fc.property(bytes, (input) => {
        const result = parseProbe(input);
        if (typeof result === 'string') {
          expect(['EINVAL', 'EOVERFLOW']).toContain(result);
          return;
        }
        const { regions, skipped } = result;
        expect(24 * regions.length + 4 * skipped).toBeLessThanOrEqual(input.length);
        regionsSeen += regions.length;
        for (const [index, { start, last }] of regions.entries()) {
          expect(last).toBeGreaterThanOrEqual(start);
          expect(start).toBeGreaterThanOrEqual(regions[index - 1]?.start ?? 0n);
        }
      }),
      { seed: 20_262, numRuns: 2000 },
    );
    expect(regionsSeen).toBeGreaterThan(100);
  });
});
