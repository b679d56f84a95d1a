import { ADDRESS_MAX, Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { A, B, READ, WRITE, createGuest, type Guest, type GuestOptions } from './guest.ts';

const { OK, INVAL, RANGE, NOENT, NOMEM } = Status;
const MMIO = 4;

/** A guest with A in domain 1. */
function attached(options: GuestOptions = {}): Guest {
  const guest = createGuest(options);
  guest.attach(1, A);
  return guest;
}

const mapPages = (guest: Guest, first: number, last: number, flags?: number): number =>
  guest.map(1, BigInt(first) << 12n, (BigInt(last + 1) << 12n) - 1n, 0x10_0000n, flags);

describe('MAP', () => {
  it('iommu.dev.map.unaligned', () => {
    const guest = attached();
    expect(guest.map(1, 0x1001n, 0x1fffn, 0xa000n)).toBe(RANGE);
    expect(guest.map(1, 0x1000n, 0x1ffen, 0xa000n)).toBe(RANGE);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa001n)).toBe(RANGE);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa000n)).toBe(OK);
  });

  it('iommu.dev.map.unaligned: whatever the granule', () => {
    for (const granule of [1n, 2n, 64n, 4096n, 65536n, 1n << 32n, 1n << 63n]) {
      const guest = attached({ pageSizeMask: granule });
      const last = granule - 1n;
      if (granule > 1n) {
        const half = granule / 2n;
        expect(guest.map(1, half, granule + last, 0n)).toBe(RANGE);
        expect(guest.map(1, 0n, granule + half - 1n, 0n)).toBe(RANGE);
        expect(guest.map(1, 0n, last, half)).toBe(RANGE);
      }
      expect(guest.map(1, 0n, last, granule)).toBe(OK);
      expect(guest.map(1, granule, granule + last, 0n)).toBe(OK);
      expect(guest.access(A, last, 1)).toBe(`${(granule + last).toString(16)}+1`);
      expect(guest.access(A, granule, 1)).toBe('0+1');
    }
  });

  it('iommu.dev.map.overlap, (4.13)', () => {
    const guest = attached();
    expect(mapPages(guest, 1, 4)).toBe(OK);
    for (const [first, last] of [
      [4, 5],
      [0, 1],
      [2, 3],
      [0, 9],
      [1, 4],
    ] as const)
      expect(mapPages(guest, first, last)).toBe(INVAL);
    expect(guest.access(A, 0x1000n, 0x4000)).toBe('100000+16384');
    expect([mapPages(guest, 0, 0), mapPages(guest, 5, 5)]).toEqual([OK, OK]);
  });

  it('iommu.dev.map.flags-unknown', () => {
    const guest = attached();
    for (const flags of [8, 0x8000_0001, 0xffff_ffff])
      expect(mapPages(guest, 0, 0, flags)).toBe(INVAL);
    expect(mapPages(guest, 0, 0)).toBe(OK);
  });

  it('iommu.dev.map.domain-missing', () => {
    const guest = attached();
    expect(guest.map(2, 0n, 0xfffn, 0n)).toBe(NOENT);
    guest.detach(1, A);
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(NOENT);
  });

  it('iommu.dev.map.domain-missing: also for a number outside the domain range', () => {
    expect(attached({ domainRange: { first: 1, last: 2 } }).map(9, 0n, 0xfffn, 0n)).toBe(NOENT);
  });

  it('iommu.dev.map.bypass-domain', () => {
    const guest = createGuest();
    guest.attach(1, A, 1);
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(INVAL);
  });

  it('iommu.dev.map.write-needs-flag, (4.6)', () => {
    const guest = attached();
    mapPages(guest, 0, 0, READ);
    mapPages(guest, 1, 1, MMIO);
    expect(guest.access(A, 0x10n, 4, WRITE)).toBe('mapping fault at 10');
    expect(guest.access(A, 0x10n, 4, READ | WRITE)).toBe('mapping fault at 10');
    expect(guest.access(A, 0x10n, 4, READ)).toBe('100010+4');
    expect(guest.access(A, 0x1010n, 4, WRITE)).toBe('mapping fault at 1010');
  });

  it('iommu.dev.map.write-only-may-read, (4.5) reads are refused here', () => {
    const guest = attached();
    mapPages(guest, 0, 0, WRITE);
    expect(guest.access(A, 0n, 1, WRITE)).toBe('100000+1');
    expect(guest.access(A, 0n, 1, READ)).toBe('mapping fault at 0');
  });

  it('(4.1) the last address, and the whole range, can be mapped', () => {
    const guest = attached();
    expect(guest.map(1, ADDRESS_MAX - 0xfffn, ADDRESS_MAX, 0x5000n)).toBe(OK);
    expect(guest.access(A, ADDRESS_MAX, 1)).toBe('5fff+1');
    expect(guest.unmap(1, ADDRESS_MAX - 0xfffn, ADDRESS_MAX)).toBe(OK);
    expect(guest.map(1, 0n, ADDRESS_MAX, 0n)).toBe(OK);
    expect(guest.access(A, ADDRESS_MAX - 4n, 5)).toBe('fffffffffffffffb+5');
    expect(guest.map(1, 0x1000n, 0x1fffn, 0n)).toBe(INVAL);
    expect(guest.unmap(1, 0n, ADDRESS_MAX)).toBe(OK);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0n)).toBe(OK);
  });

  it('(4.2) an end below the start is INVAL and maps nothing', () => {
    const guest = attached();
    expect(guest.map(1, 0x2000n, 0x1fffn, 0n)).toBe(INVAL);
    expect(guest.map(1, 0x2000n, 0n, 0n)).toBe(INVAL);
    expect(guest.map(1, ADDRESS_MAX - 0xfffn, 0xfffn, 0n)).toBe(INVAL);
    expect([...guest.device.iommu.mappings(1)]).toEqual([]);
  });

  it('(4.3) a single byte is a mapping where the granule is 1, and misaligned elsewhere', () => {
    const guest = attached({ pageSizeMask: 1n });
    expect(guest.map(1, 0x1003n, 0x1003n, 0x77n)).toBe(OK);
    expect(guest.map(1, 0x1004n, 0x1004n, 0x99n)).toBe(OK);
    expect(guest.access(A, 0x1003n, 2)).toBe('77+1 99+1');
    expect(guest.access(A, 0x1003n, 3)).toBe('mapping fault at 1005');
    expect(attached().map(1, 0x1000n, 0x1000n, 0n)).toBe(RANGE);
  });

  it('(4.4) no flag at all is a mapping that takes its range and refuses every access', () => {
    const guest = attached();
    expect(mapPages(guest, 0, 0, 0)).toBe(OK);
    expect(mapPages(guest, 0, 0)).toBe(INVAL);
    expect(guest.access(A, 0n, 1, READ)).toBe('mapping fault at 0');
    expect(guest.access(A, 0n, 1, WRITE)).toBe('mapping fault at 0');
  });

  it('(4.7) the MMIO flag is known only if the feature was negotiated', () => {
    const { offeredFeatures } = createGuest({ started: false }).device;
    const guest = attached({ accept: offeredFeatures & ~(1n << 5n) });
    expect(mapPages(guest, 0, 0, READ | MMIO)).toBe(INVAL);
    expect(mapPages(attached(), 0, 0, READ | MMIO)).toBe(OK);
  });

  it('(4.8) (2.4) a range that leaves the input range is RANGE, negotiated or not', () => {
    const inputRange = { start: 0x1_0000n, last: 0x1_ffffn };
    const { offeredFeatures } = createGuest({ inputRange, started: false }).device;
    for (const accept of [offeredFeatures, offeredFeatures & ~1n]) {
      const guest = attached({ inputRange, accept });
      expect(guest.map(1, 0xf000n, 0xffffn, 0n)).toBe(RANGE);
      expect(guest.map(1, 0xf000n, 0x1_0fffn, 0n)).toBe(RANGE);
      expect(guest.map(1, 0x1_f000n, 0x2_0fffn, 0n)).toBe(RANGE);
      expect(guest.map(1, 0x2_0000n, 0x2_0fffn, 0n)).toBe(RANGE);
      expect(guest.map(1, 0x1_0000n, 0x1_ffffn, 0n)).toBe(OK);
    }
  });

  it('(4.9) a physical range beyond 64 bits is RANGE; up to the last byte is fine', () => {
    const guest = attached();
    expect(guest.map(1, 0n, 0x1fffn, ADDRESS_MAX - 0xfffn)).toBe(RANGE);
    expect(guest.map(1, 0x1000n, ADDRESS_MAX, 0x2000n)).toBe(RANGE);
    expect(guest.map(1, 0n, 0xfffn, ADDRESS_MAX - 0xfffn)).toBe(OK);
    const bytes = attached({ pageSizeMask: 1n });
    expect(bytes.map(1, 0n, 1n, ADDRESS_MAX)).toBe(RANGE);
    expect(bytes.map(1, 0xfffn, 0x1000n, ADDRESS_MAX)).toBe(RANGE);
    expect(bytes.map(1, 0xfffn, 0x1000n, ADDRESS_MAX - 1n)).toBe(OK);
    expect(bytes.access(A, 0x1000n, 1)).toBe('ffffffffffffffff+1');
  });

  it('(4.10) a physical range without memory can be mapped', () => {
    expect(attached().map(1, 0n, 0xfffn, 0xffff_0000_0000n)).toBe(OK);
  });

  it('(4.14) adjacent mappings stay apart', () => {
    const guest = attached();
    guest.map(1, 0n, 0xfffn, 0x5000n);
    guest.map(1, 0x1000n, 0x1fffn, 0x6000n);
    expect(guest.unmap(1, 0x1000n, 0x1fffn)).toBe(OK);
    expect(guest.access(A, 0xfffn, 1)).toBe('5fff+1');
  });

  it('(4.15) NOMEM at the limit of a domain, nothing changed, and fine again with fewer', () => {
    const guest = attached({ limits: { mappingsPerDomain: 3 } });
    expect([0, 1, 2, 3].map((page) => mapPages(guest, page, page))).toEqual([OK, OK, OK, NOMEM]);
    expect(guest.access(A, 0x3000n, 1)).toBe('mapping fault at 3000');
    // Overlap is told first (9.5).
    expect(mapPages(guest, 2, 3)).toBe(INVAL);
    expect(guest.unmap(1, 0x1000n, 0x1fffn)).toBe(OK);
    expect(mapPages(guest, 3, 3)).toBe(OK);
  });

  it('(4.15) NOMEM at the limit of the device, over all domains', () => {
    const guest = attached({ limits: { mappings: 3 } });
    guest.attach(2, B);
    mapPages(guest, 0, 0);
    mapPages(guest, 1, 1);
    expect(guest.map(2, 0n, 0xfffn, 0n)).toBe(OK);
    expect(guest.map(2, 0x1000n, 0x1fffn, 0n)).toBe(NOMEM);
    guest.detach(1, A);
    expect(guest.map(2, 0x1000n, 0x1fffn, 0n)).toBe(OK);
  });

  it('(9.5) the order in which several errors are told', () => {
    const guest = attached({
      inputRange: { start: 0n, last: 0xffff_ffffn },
      endpoints: [{ id: A, reserved: [{ start: 0x8000n, last: 0x8fffn, type: 'reserved' }] }],
    });
    mapPages(guest, 0, 1);
    const beyond = 0x1_0000_0000n;
    // Flags, order of the range, range of the device, domain, alignment, reserved region, overlap.
    expect(guest.map(9, beyond + 1n, beyond, 1n, 8)).toBe(INVAL);
    expect(guest.map(9, beyond + 1n, beyond, 1n)).toBe(INVAL);
    expect(guest.map(9, 1n, beyond, 1n)).toBe(RANGE);
    expect(guest.map(9, 1n, 0x8fffn, 0n)).toBe(NOENT);
    expect(guest.map(1, 1n, 0x8fffn, 0n)).toBe(RANGE);
    expect(guest.map(1, 0n, 0x8fffn, 0n)).toBe(INVAL);
  });
});
