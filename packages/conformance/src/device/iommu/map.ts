/** Section "IOMMU Device / MAP request", the device's side: what is refused. */

import { AttachFlag, IommuFeature, Status, featureMask } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mappedUnit, unit } from '../place.ts';
import { type MapFields, mapBytes } from '../request.ts';
import type { Session } from '../session.ts';

/** Bits of the flags that no version of the standard has given a meaning. */
const UNKNOWN_FLAGS: readonly number[] = Array.from({ length: 29 }, (_, bit) => (8 << bit) >>> 0);

/** Changes that take one value off the granule, for pages 2 to 5. */
const UNALIGNED: Readonly<Record<string, (by: bigint) => Partial<MapFields>>> = {
  'virt-start': (by) => ({ virtStart: by }),
  'virt-end': (by) => ({ virtEnd: by }),
  'phys-start': (by) => ({ physStart: by }),
};

/** Ranges in pages, first and last, that meet pages 4 to 7 in different ways. */
const OVERLAPS = {
  exact: [4, 7],
  'first-page': [4, 4],
  'last-page': [7, 7],
  inside: [5, 6],
  'from-before': [3, 4],
  'up-to-all': [2, 7],
  'to-behind': [7, 8],
  'from-first': [4, 9],
  around: [2, 9],
} as const;

export const MAP_CASES: readonly DeviceCase[] = [
  ...Object.entries(UNALIGNED).map(([name, change]) =>
    defineCase({
      id: `iommu.dev.map.unaligned#${name}`,
      title: `a ${name} that is not at a granule is refused with RANGE, and nothing is mapped`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        if (s.granule === 1n) s.skip('the granule is 1 byte');
        const domain = s.attached();
        const right = { virtStart: s.page(2), virtEnd: s.last(5), physStart: s.physical(4) };
        for (const by of [1n, s.granule / 2n, s.granule - 1n, -1n]) {
          const wrong = Object.entries(change(by)).map(([field, value]) => [
            field,
            right[field as keyof typeof right] + BigInt(value), // the keys of the table above
          ]);
          const request = { domain, ...right, ...Object.fromEntries(wrong) };
          s.expect(s.provoke(mapBytes(request)), Status.RANGE);
        }
        for (const page of [1, 2, 3, 4, 5, 6])
          s.must(s.mapPages(domain, page).ok, `a refused MAP has taken page ${page}`);
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.map.unaligned#large-granule',
    title: 'with a granule of 64 KiB, multiples of 4096 are refused with RANGE',
    needs: ['map-unmap', 'endpoint'],
    wish: { pageSizeMask: 0xffff_ffff_ffff_0000n },
    run: (s) => {
      if (s.granule !== 0x1_0000n) s.skip(`the granule is ${s.granule} bytes`);
      const domain = s.attached();
      const [virtStart, virtEnd, physStart] = [s.page(2), s.last(2), s.physical(1)];
      const right = { domain, virtStart, virtEnd, physStart };
      const page = 0x1000n;
      for (const wrong of [
        { ...right, virtStart: virtStart + page },
        { ...right, virtEnd: virtEnd - page },
        { ...right, physStart: physStart + page },
      ])
        s.expect(s.provoke(mapBytes(wrong)), Status.RANGE);
      s.must(s.map(right).ok, 'a refused MAP has taken the range');
    },
  }),
  defineCase({
    id: 'iommu.dev.map.unaligned#hint',
    title: 'only the lowest bit of page_size_mask limits what can be mapped',
    needs: ['map-unmap', 'endpoint'],
    wish: { pageSizeMask: 0x4020_1000n },
    run: (s) => {
      const domain = s.attached();
      for (const [first, count] of [
        [1, 1],
        [3, 3],
        [7, 100],
      ] as const)
        s.expect(s.mapPages(domain, first, count), Status.OK);
    },
  }),
  ...Object.entries(OVERLAPS).map(([name, [first, last]]) =>
    defineCase({
      id: `iommu.dev.map.overlap#${name}`,
      title: `pages ${first} to ${last} are refused with INVAL while 4 to 7 are mapped`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        const physStart = s.mapped(domain, 4, 4);
        const [virtStart, virtEnd] = [s.page(first), s.last(last)];
        s.expect(s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart })), Status.INVAL);
        // Neither has the old one gone, nor has any of the new one come.
        for (const page of [4, 5, 6, 7])
          s.check(!s.mapPages(domain, page).ok, `page ${page} is not mapped any more`);
        for (const page of [2, 3, 8, 9])
          s.must(s.mapPages(domain, page).ok, `the refused MAP has taken page ${page}`);
        s.check(s.unmapPages(domain, 4, 4).ok, 'the mapping cannot be removed');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.map.overlap#edge-bytes',
    title: 'one byte of overlap, the first or the last of a range, is refused with INVAL',
    needs: ['map-unmap', 'endpoint', 'granule-1'],
    wish: { pageSizeMask: 0xffff_ffff_ffff_ffffn },
    run: (s) => {
      const domain = s.attached();
      const at = s.page(20);
      const physStart = s.target.window.start;
      s.setUp(s.map({ domain, virtStart: at, virtEnd: at + 9n, physStart }));
      for (const [from, to] of [
        [-5n, 0n],
        [9n, 14n],
        [4n, 5n],
      ] as const) {
        const request = { domain, virtStart: at + from, virtEnd: at + to, physStart };
        s.expect(s.provoke(mapBytes(request)), Status.INVAL);
      }
      for (const [from, to] of [
        [-5n, -1n],
        [10n, 14n],
      ] as const) {
        const request = { domain, virtStart: at + from, virtEnd: at + to, physStart };
        s.must(s.map(request).ok, 'a range that only touches the other is refused');
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.map.overlap#among-many',
    title: 'among many mappings each is found, in whatever order they came',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      // 101 is prime: all even pages of the first 202, in an order that is none.
      const pages = Array.from({ length: 101 }, (_, turn) => 2 * ((turn * 37) % 101));
      for (const page of pages) {
        const answer = s.mapPages(domain, page);
        if (answer.status === Status.NOMEM) s.skip('the device has no room for so many');
        s.expect(answer, Status.OK);
      }
      for (const page of pages) s.expect(s.mapPages(domain, page), Status.INVAL);
      s.expect(s.provoke(mapOf(s, domain, 99, 3)), Status.INVAL);
      s.expect(s.provoke(mapOf(s, domain, 0, 202)), Status.INVAL);
      for (const page of pages) s.expect(s.mapPages(domain, page + 1), Status.OK, Status.NOMEM);
    },
  }),
  defineCase({
    id: 'iommu.dev.map.overlap#translated',
    title: 'after a refused MAP the old translation holds',
    needs: ['map-unmap', 'dma'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const phys = mappedUnit(s, domain, 2);
      const { virtStart, virtEnd } = unit(s, 2);
      s.expect(
        s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart: s.physical(1) })),
        Status.INVAL,
      );
      s.check(s.dma.write(endpoint, virtStart, phys).reached, 'a write does not arrive');
    },
  }),
  defineCase({
    id: 'iommu.dev.map.flags-unknown',
    title: 'each flag that nobody has defined is refused with INVAL, and nothing is mapped',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      const [virtStart, virtEnd, physStart] = [s.page(0), s.last(0), s.physical(1)];
      for (const flags of [...UNKNOWN_FLAGS, 0xb, 0x8000_0001, 0xffff_fff8]) {
        const answer = s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart, flags }));
        s.expect(answer, Status.INVAL);
      }
      s.must(s.mapPages(domain, 0).ok, 'a refused MAP has taken the range');
    },
  }),
  defineCase({
    id: 'iommu.dev.map.domain-missing#unused',
    title: 'a domain that nobody has attached to is refused with NOENT',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const { first, last } = s.config.domainRange;
      const taken = s.attached();
      for (const domain of [s.domain(), first, last])
        if (domain !== taken) s.expect(s.provoke(mapOf(s, domain, 0, 1)), Status.NOENT);
      s.must(s.mapPages(taken, 0).ok, 'the domain that is there cannot be mapped in');
    },
  }),
  defineCase({
    id: 'iommu.dev.map.domain-missing#detached',
    title: 'a domain whose last endpoint was detached is refused with NOENT',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 0);
      s.setUp(s.detach(domain, s.a));
      s.expect(s.provoke(mapOf(s, domain, 2, 1)), Status.NOENT);
    },
  }),
  defineCase({
    id: 'iommu.dev.map.domain-missing#high-numbers',
    title: 'domain numbers are told apart in all of their 32 bits',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const { first, last } = s.config.domainRange;
      const domain = s.attached();
      for (const bit of Array.from({ length: 32 }, (_, index) => (1 << index) >>> 0)) {
        const other = (domain ^ bit) >>> 0;
        if (other >= first && other <= last)
          s.expect(s.provoke(mapOf(s, other, 0, 1)), Status.NOENT);
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.map.bypass-domain',
    title: 'nothing can be mapped in a bypass domain: INVAL',
    needs: ['map-unmap', 'endpoint', 'bypass-config'],
    run: (s) => {
      const domain = s.attached(s.a, AttachFlag.BYPASS);
      s.expect(s.provoke(mapOf(s, domain, 0, 1)), Status.INVAL);
      s.expect(s.provoke(mapOf(s, domain, 0, 1)), Status.INVAL);
      s.must(s.detach(domain, s.a).ok, 'the endpoint cannot be detached');
    },
  }),
  defineCase({
    id: 'open.1.12#map',
    title: 'without MAP_UNMAP being accepted MAP and UNMAP are unknown, refused, or served',
    needs: ['map-unmap', 'endpoint'],
    start: { without: featureMask(IommuFeature.MAP_UNMAP) },
    run: (s) => {
      const answer = s.provoke(mapOf(s, s.attached(), 0, 1));
      s.note(`MAP: ${answer.toString()}`);
    },
  }),
];

function mapOf(s: Session, domain: number, first: number, count: number): Uint8Array {
  const [virtStart, virtEnd] = [s.page(first), s.last(first + count - 1)];
  return mapBytes({ domain, virtStart, virtEnd, physStart: s.physical(count) });
}
