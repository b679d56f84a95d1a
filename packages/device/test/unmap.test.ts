import { ADDRESS_MAX, Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { A, createGuest, type Guest, type GuestOptions, unmapBytes } from './guest.ts';

const { OK, INVAL, RANGE, NOENT } = Status;

const attached = (options: GuestOptions = {}): Guest => {
  const guest = createGuest(options);
  guest.attach(1, A);
  return guest;
};

/** Ranges in granules, as the examples of the standard have them. */
const rangeOf = (granule: bigint, first: number, last: number): [bigint, bigint] => [
  BigInt(first) * granule,
  BigInt(last + 1) * granule - 1n,
];

describe('UNMAP', () => {
  const examples: readonly {
    readonly mapped: readonly (readonly [number, number])[];
    readonly unmap: readonly [number, number];
    readonly status: Status;
    readonly left: readonly (readonly [number, number])[];
  }[] = [
    { mapped: [], unmap: [0, 9], status: OK, left: [] },
    { mapped: [[0, 9]], unmap: [0, 9], status: OK, left: [] },
    {
      mapped: [
        [0, 4],
        [5, 9],
      ],
      unmap: [0, 9],
      status: OK,
      left: [],
    },
    { mapped: [[0, 9]], unmap: [0, 4], status: RANGE, left: [[0, 9]] },
    {
      mapped: [
        [0, 4],
        [5, 9],
      ],
      unmap: [0, 4],
      status: OK,
      left: [[5, 9]],
    },
    { mapped: [[0, 4]], unmap: [0, 9], status: OK, left: [] },
    {
      mapped: [
        [0, 4],
        [10, 14],
      ],
      unmap: [0, 14],
      status: OK,
      left: [],
    },
  ];
  examples.forEach(({ mapped, unmap, status, left }, index) => {
    for (const granule of [1n, 4096n, 65536n]) {
      it(`example ${index + 1} of the standard, granule ${granule}`, () => {
        const guest = attached({ pageSizeMask: granule });
        for (const [first, last] of mapped)
          expect(guest.map(1, ...rangeOf(granule, first, last), 0n)).toBe(OK);
        expect(guest.unmap(1, ...rangeOf(granule, ...unmap))).toBe(status);
        expect(Array.from(guest.device.iommu.mappings(1), ({ virt }) => virt)).toEqual(
          left.map(([first, last]) => {
            const [start, end] = rangeOf(granule, first, last);
            return { start, last: end };
          }),
        );
      });
    }
  });

  const mapPages = (guest: Guest, first: number, last: number): number =>
    guest.map(1, ...rangeOf(4096n, first, last), 0n);
  const unmapPages = (guest: Guest, first: number, last: number): number =>
    guest.unmap(1, ...rangeOf(4096n, first, last));

  it('iommu.dev.unmap.reserved-nonzero-status, (5.7) reserved bytes are ignored', () => {
    const guest = attached();
    for (let byte = 24; byte < 28; byte += 1) {
      mapPages(guest, 1, 1);
      const request = unmapBytes(1, 0x1000n, 0x1fffn);
      request[byte] = 1;
      expect(guest.status(request)).toBe(OK);
    }
  });

  it('iommu.dev.unmap.reserved-nonzero-may-unmap, (5.7) and the mapping is gone', () => {
    const guest = attached();
    mapPages(guest, 1, 1);
    guest.status(unmapBytes(1, 0x1000n, 0x1fffn).fill(0xff, 24));
    expect(guest.access(A, 0x1000n, 1)).toBe('mapping fault at 1000');
    expect(mapPages(guest, 1, 1)).toBe(OK);
  });

  it('iommu.dev.unmap.domain-missing', () => {
    const guest = attached({ domainRange: { first: 0, last: 5 } });
    expect(guest.unmap(2, 0n, 0xfffn)).toBe(NOENT);
    expect(guest.unmap(6, 0n, 0xfffn)).toBe(NOENT);
  });

  it('iommu.dev.unmap.bypass-domain', () => {
    const guest = createGuest();
    guest.attach(1, A, 1);
    expect(guest.unmap(1, 0n, 0xfffn)).toBe(INVAL);
  });

  it('iommu.dev.unmap.split-status', () => {
    const guest = attached();
    mapPages(guest, 0, 9);
    expect([unmapPages(guest, 0, 4), unmapPages(guest, 5, 9), unmapPages(guest, 3, 6)]).toEqual([
      RANGE,
      RANGE,
      RANGE,
    ]);
    expect(guest.access(A, 0x4000n, 0x2000)).toBe('4000+8192');
  });

  it('iommu.dev.unmap.split-removes-nothing, (5.6)', () => {
    const guest = attached();
    mapPages(guest, 0, 4);
    mapPages(guest, 5, 9);
    expect(unmapPages(guest, 0, 7)).toBe(RANGE);
    expect(unmapPages(guest, 3, 9)).toBe(RANGE);
    expect([mapPages(guest, 0, 4), mapPages(guest, 5, 9)]).toEqual([INVAL, INVAL]);
  });

  it('iommu.dev.unmap.split-removes-nothing: over many nodes of the store', () => {
    const guest = attached();
    for (let page = 0; page < 400; page += 1) mapPages(guest, 2 * page, 2 * page);
    mapPages(guest, 800, 801);
    expect(unmapPages(guest, 0, 800)).toBe(RANGE);
    expect(guest.device.iommu.usage.mappings).toBe(401);
    expect(unmapPages(guest, 0, 801)).toBe(OK);
    expect(guest.device.iommu.usage.mappings).toBe(0);
  });

  it('iommu.dev.unmap.partial-coverage-ok, (5.1)', () => {
    const guest = attached();
    expect(unmapPages(guest, 0, 9)).toBe(OK);
    mapPages(guest, 0, 4);
    expect(unmapPages(guest, 0, 9)).toBe(OK);
    expect(mapPages(guest, 0, 4)).toBe(OK);
    mapPages(guest, 10, 14);
    expect(unmapPages(guest, 0, 14)).toBe(OK);
    expect([mapPages(guest, 0, 4), mapPages(guest, 10, 14)]).toEqual([OK, OK]);
  });

  it('(5.2) an end below the start is INVAL and removes nothing', () => {
    const guest = attached();
    mapPages(guest, 0, 9);
    expect(guest.unmap(1, 0xafffn, 0n)).toBe(INVAL);
    expect(guest.unmap(1, ADDRESS_MAX, 0x9fffn)).toBe(INVAL);
    expect(guest.access(A, 0n, 1)).toBe('0+1');
  });

  it('(5.3) a misaligned range that cuts nothing is fine', () => {
    const guest = attached();
    mapPages(guest, 1, 1);
    expect(guest.unmap(1, 0x0801n, 0x2345n)).toBe(OK);
    expect(guest.access(A, 0x1000n, 1)).toBe('mapping fault at 1000');
    mapPages(guest, 1, 1);
    expect(guest.unmap(1, 0x1001n, 0x1fffn)).toBe(RANGE);
    expect(guest.unmap(1, 0x1000n, 0x1ffen)).toBe(RANGE);
  });

  it('(5.4) what lies outside the input range is a gap', () => {
    const guest = attached({ inputRange: { start: 0x1000n, last: 0xffffn } });
    mapPages(guest, 1, 1);
    expect(guest.unmap(1, 0n, 0xff_ffffn)).toBe(OK);
    expect(guest.unmap(1, 0xff_0000n, 0xff_ffffn)).toBe(OK);
    expect(guest.device.iommu.usage.mappings).toBe(0);
  });

  it('(5.5) the full range removes everything', () => {
    const guest = attached();
    for (const first of [0, 7, 100]) mapPages(guest, first, first);
    guest.map(1, ADDRESS_MAX - 0xfffn, ADDRESS_MAX, 0n);
    expect(guest.unmap(1, 0n, ADDRESS_MAX)).toBe(OK);
    expect([...guest.device.iommu.mappings(1)]).toEqual([]);
  });

  it('(5.8) no access uses a mapping once its removal is published', () => {
    const guest = attached();
    mapPages(guest, 0, 0);
    expect(guest.access(A, 0n, 1)).toBe('0+1');
    guest.add(unmapBytes(1, 0n, 0xfffn), 4);
    expect(guest.access(A, 0n, 1)).toBe('0+1');
    guest.device.serve();
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
  });
});
