/** Section "IOMMU Device / UNMAP request", the device's side. */

import { AttachFlag, FULL_RANGE, Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mappedUnit, unit } from '../place.ts';
import { unmapBytes, withBytes } from '../request.ts';
import type { Session } from '../session.ts';

const RESERVED = [24, 25, 26, 27] as const;

/** The pages of two mappings, 1 to 5 and 6 to 10, and those of a range that cuts a mapping. */
const CUTS = {
  head: [1, 3],
  tail: [3, 5],
  inside: [2, 4],
  'first-page': [1, 1],
  'last-page': [5, 5],
  'and-before': [0, 4],
  'and-behind': [7, 12],
  'second-too': [3, 10],
  'first-too': [1, 7],
  'both-ends': [2, 9],
} as const;

interface Covered {
  readonly mapped: readonly (readonly [number, number])[];
  readonly first: number;
  readonly last: number;
}

/** Whole mappings in a range, with gaps. */
const COVERED: Readonly<Record<string, Covered>> = {
  nothing: { mapped: [], first: 4, last: 8 },
  front: { mapped: [[4, 8]], first: 4, last: 13 },
  back: { mapped: [[9, 13]], first: 4, last: 13 },
  middle: { mapped: [[7, 8]], first: 4, last: 13 },
  both: {
    mapped: [
      [4, 8],
      [14, 18],
    ],
    first: 4,
    last: 18,
  },
  many: {
    mapped: Array.from({ length: 40 }, (_, index) => [4 + 3 * index, 5 + 3 * index] as const),
    first: 4,
    last: 130,
  },
};

export const UNMAP_CASES: readonly DeviceCase[] = [
  ...RESERVED.map((at) =>
    defineCase({
      id: `iommu.dev.unmap.reserved-nonzero-status#${at}`,
      title: `a reserved byte, at ${at}, that is not 0 is ignored or answered with INVAL`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        s.mapped(domain, 2);
        const request = withBytes(unmapBytes(domain, s.page(2), s.last(2)), { [at]: 1 });
        const answer = s.provoke(request);
        s.note(answer.toString());
        s.expect(answer, Status.OK, Status.INVAL);
        if (answer.ok) s.must(s.mapPages(domain, 2).ok, 'the mapping is still there');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.unmap.reserved-nonzero-may-unmap',
    title: 'after INVAL for reserved bytes the mapping is whole or gone',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 2, 4);
      const request = withBytes(unmapBytes(domain, s.page(2), s.last(5)), { 27: 0xff });
      const answer = s.provoke(request);
      const free = [2, 3, 4, 5].filter((page) => s.mapPages(domain, page).ok).length;
      s.note(`${answer.toString()}; the mapping is ${free === 0 ? 'still there' : 'gone'}`);
      s.must(free === 0 || free === 4, 'a part of the mapping is gone');
    },
  }),
  defineCase({
    id: 'iommu.dev.unmap.domain-missing#unused',
    title: 'a domain that nobody has attached to is NOENT',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const taken = s.attached();
      s.mapped(taken, 0);
      s.expect(s.provoke(unmapBytes(s.domain(), s.page(0), s.last(0))), Status.NOENT);
      s.must(!s.mapPages(taken, 0).ok, 'a mapping of another domain is gone');
    },
  }),
  defineCase({
    id: 'iommu.dev.unmap.domain-missing#detached',
    title: 'a domain whose last endpoint was detached is NOENT',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 0);
      s.setUp(s.detach(domain, s.a));
      s.expect(s.provoke(unmapBytes(domain, s.page(0), s.last(0))), Status.NOENT);
    },
  }),
  defineCase({
    id: 'iommu.dev.unmap.bypass-domain',
    title: 'nothing can be unmapped in a bypass domain: INVAL',
    needs: ['map-unmap', 'endpoint', 'bypass-config'],
    run: (s) => {
      const domain = s.attached(s.a, AttachFlag.BYPASS);
      s.expect(s.provoke(unmapBytes(domain, s.page(0), s.last(0))), Status.INVAL);
      s.must(s.detach(domain, s.a).ok, 'the endpoint cannot be detached');
    },
  }),
  ...Object.entries(CUTS).flatMap(([name, [first, last]]) => [
    defineCase({
      id: `iommu.dev.unmap.split-status#${name}`,
      title: `pages ${first} to ${last} are refused with RANGE while 1 to 5 and 6 to 10 are mapped`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        s.mapped(domain, 1, 5);
        s.mapped(domain, 6, 5);
        s.expect(s.provoke(unmapBytes(domain, s.page(first), s.last(last))), Status.RANGE);
      },
    }),
    defineCase({
      id: `iommu.dev.unmap.split-removes-nothing#${name}`,
      title: `UNMAP of pages ${first} to ${last} removes nothing of mappings at 1 to 5 and 6 to 10`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        s.mapped(domain, 1, 5);
        s.mapped(domain, 6, 5);
        const answer = s.provoke(unmapBytes(domain, s.page(first), s.last(last)));
        if (answer.ok) s.note('the cut is not refused');
        for (let page = 1; page <= 10; page += 1)
          s.check(!s.mapPages(domain, page).ok, `page ${page} is not mapped any more`);
        s.check(s.unmapPages(domain, 1, 5).ok, 'the first cannot be removed afterwards');
        s.check(s.unmapPages(domain, 6, 5).ok, 'the second cannot be removed afterwards');
      },
    }),
  ]),
  defineCase({
    id: 'iommu.dev.unmap.split-removes-nothing#third',
    title: 'a cut at the end of a range with many mappings leaves all of them',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      for (let page = 0; page < 100; page += 2) s.mapped(domain, page, 2);
      const answer = s.provoke(unmapBytes(domain, s.page(0), s.last(98)));
      s.check(answer.status === Status.RANGE, `expected RANGE, got ${answer.toString()}`);
      for (let page = 0; page < 100; page += 2)
        s.check(!s.mapPages(domain, page, 2).ok, `pages ${page} and ${page + 1} are free`);
    },
  }),
  defineCase({
    id: 'iommu.dev.unmap.split-status#translated',
    title: 'after a refused UNMAP the translation holds in all of the mapping',
    needs: ['map-unmap', 'dma'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      // As large a mapping as two units: the cut is between them.
      const { virtStart, virtEnd } = unit(s, 2, 2);
      const physStart = s.arena.allocate(
        Number(virtEnd - virtStart + 1n),
        s.granule < 4096n ? 4096n : s.granule,
      );
      s.setUp(s.map({ domain, virtStart, virtEnd, physStart }));
      s.expect(s.provoke(unmapBytes(domain, virtStart, unit(s, 2).virtEnd)), Status.RANGE);
      for (const offset of [0n, virtEnd - virtStart - 7n])
        s.should(
          s.dma.write(endpoint, virtStart + offset, physStart + offset).reached,
          'a write does not arrive',
        );
    },
  }),
  ...Object.entries(COVERED).map(([name, { mapped, first, last }]) =>
    defineCase({
      id: `iommu.dev.unmap.partial-coverage-ok#${name}`,
      title: `UNMAP of pages ${first} to ${last} is OK and removes what is mapped there: ${listOf(mapped)}`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        for (const [from, to] of mapped) s.mapped(domain, from, to - from + 1);
        // A neighbour on each side, which must stay.
        s.mapped(domain, first - 1);
        s.mapped(domain, last + 1);
        s.expect(s.provoke(unmapBytes(domain, s.page(first), s.last(last))), Status.OK);
        s.must(s.mapPages(domain, first, last - first + 1).ok, 'something is still mapped');
        for (const page of [first - 1, last + 1])
          s.must(!s.mapPages(domain, page).ok, `page ${page}, outside of the range, is gone`);
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.unmap.partial-coverage-ok#translated',
    title: 'when UNMAP is back no access uses the mapping any more, and the one beside it works',
    needs: ['map-unmap', 'dma'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const [gone, stays] = [mappedUnit(s, domain, 2), mappedUnit(s, domain, 3)];
      const [one, other] = [unit(s, 2), unit(s, 3)];
      if (!s.dma.write(endpoint, one.virtStart, gone).reached) s.skip('the mapping is not used');
      s.setUp(s.unmap(domain, one.virtStart, one.virtEnd));
      s.must(!s.dma.write(endpoint, one.virtStart, gone).reached, 'a write uses the mapping');
      s.must(!s.dma.read(endpoint, one.virtStart, gone).reached, 'a read uses the mapping');
      s.must(s.dma.write(endpoint, other.virtStart, stays).reached, 'the other one is gone');
      const next = mappedUnit(s, domain, 2);
      s.must(s.dma.read(endpoint, one.virtStart, next).reached, 'a new mapping is not used');
    },
  }),
  ...(['page', 'zero', 'full', 'input'] as const).map((which) =>
    defineCase({
      id: `${{ page: 'open.5.1', zero: 'open.5.3#one-byte', full: 'open.5.5', input: 'open.5.4' }[which]}`,
      title: {
        page: 'UNMAP where nothing is mapped is OK',
        zero: 'UNMAP of a single byte where nothing is mapped is OK',
        full: 'UNMAP of all addresses is OK and removes all mappings',
        input: 'UNMAP of the whole input range and one page more is OK or RANGE',
      }[which],
      needs: ['map-unmap', 'endpoint'],
      wish: which === 'input' ? { inputRange: { start: 0x1_0000n, last: 0x3f_ffffn } } : {},
      run: (s) => unmapRange(s, which),
    }),
  ),
  defineCase({
    id: 'open.5.2',
    title: 'a range that ends before it starts removes nothing, whatever the status',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 1);
      s.mapped(domain, 4, 2);
      for (const [start, end] of [
        [s.page(6), s.last(0)],
        [s.page(6), 0n],
        [FULL_RANGE.last, s.page(0)],
        [s.last(4), s.page(4)],
      ] as const)
        s.note(s.provoke(unmapBytes(domain, start, end)).toString());
      for (const page of [1, 4, 5])
        s.must(!s.mapPages(domain, page).ok, `page ${page} is not mapped any more`);
    },
  }),
  defineCase({
    id: 'open.5.3',
    title: 'a misaligned range that cuts nothing is OK',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      if (s.granule === 1n) s.skip('the granule is 1 byte');
      const domain = s.attached();
      s.mapped(domain, 4);
      const answer = s.provoke(unmapBytes(domain, s.page(4) - 1n, s.last(4) + 1n));
      s.note(answer.toString());
      s.expect(answer, Status.OK, Status.RANGE);
      s.must(s.mapPages(domain, 4).ok === answer.ok, 'the status does not say what happened');
    },
  }),
  defineCase({
    id: 'open.5.6',
    title: 'when a cut is refused nothing was removed before it',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 0, 5);
      s.mapped(domain, 5, 5);
      const answer = s.provoke(unmapBytes(domain, s.page(0), s.last(7)));
      s.expect(answer, Status.RANGE);
      s.check(!s.mapPages(domain, 0).ok, 'the first mapping was removed');
    },
  }),
];

function listOf(mapped: Covered['mapped']): string {
  if (mapped.length > 5) return `${mapped.length} mappings`;
  return mapped.map(([from, to]) => `${from} to ${to}`).join(', ') || 'nothing';
}

function unmapRange(s: Session, which: 'page' | 'zero' | 'full' | 'input'): void {
  const { last } = s.config.inputRange;
  const domain = s.attached();
  if (which === 'page' || which === 'zero') {
    const end = which === 'page' ? s.last(3) : s.page(3);
    s.expect(s.provoke(unmapBytes(domain, s.page(3), end)), Status.OK);
    s.must(s.mapPages(domain, 3).ok, 'the page cannot be mapped afterwards');
    return;
  }
  if (which === 'input' && last === FULL_RANGE.last) s.skip('the input range ends with 64 bits');
  for (const page of [0, 2, 3, 60]) s.mapped(domain, page);
  const end = which === 'full' ? FULL_RANGE.last : last + s.granule;
  const answer = s.provoke(unmapBytes(domain, 0n, end));
  s.note(answer.toString());
  s.expect(answer, Status.OK, Status.RANGE);
  for (const page of [0, 2, 3, 60])
    s.must(s.mapPages(domain, page).ok === answer.ok, 'the status does not say what happened');
}
