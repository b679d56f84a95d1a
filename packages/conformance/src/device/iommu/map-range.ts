/** Section "IOMMU Device / MAP request", the device's side: the ends of ranges, and choices. */

import { FULL_RANGE, IommuFeature, MapFlag, Status, featureMask } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mapBytes, unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';

const { READ, WRITE, MMIO } = MapFlag;
const MAPPINGS_MAX = 1024;

export const MAP_RANGE_CASES: readonly DeviceCase[] = [
  ...(['start', 'last'] as const).map((end) =>
    defineCase({
      id: `iommu.dev.req.status-ok#input-${end}`,
      title: `the ${end === 'start' ? 'first' : 'last'} page of the input range can be mapped and unmapped`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => mapAtEnd(s, end),
    }),
  ),
  ...(['start', 'last'] as const).map((end) =>
    defineCase({
      id: `iommu.dev.req.status-ok#narrow-input-${end}`,
      title: 'likewise where the input range is narrow',
      needs: ['map-unmap', 'endpoint', 'input-range'],
      wish: { inputRange: { start: 0x1_0000n, last: 0x3f_ffffn } },
      run: (s) => mapAtEnd(s, end),
    }),
  ),
  defineCase({
    id: 'iommu.dev.req.status-ok#unmap-above-4g',
    title: 'UNMAP above 4 GiB removes what is there, and nothing with the same lower half',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const { start, last } = s.config.inputRange;
      const low = s.page(0);
      const high = low + 0x1_0000_0000n;
      const size = s.granule;
      if (low < start || high + size - 1n > last) s.skip('the input range ends before');
      const domain = s.attached();
      for (const at of [low, high])
        s.setUp(
          s.map({ domain, virtStart: at, virtEnd: at + size - 1n, physStart: s.physical(1) }),
        );
      s.expect(s.provoke(unmapBytes(domain, high, high + size - 1n)), Status.OK);
      s.check(!s.mapPages(domain, 0).ok, 'the mapping below 4 GiB is gone');
      s.expect(
        s.map({ domain, virtStart: high, virtEnd: high + size - 1n, physStart: s.physical(1) }),
        Status.OK,
      );
    },
  }),
  defineCase({
    id: 'open.4.1#last-page',
    title: 'a mapping may end with the last address of 64 bits',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      if (s.config.inputRange.last !== FULL_RANGE.last) s.skip('the input range ends before');
      const domain = s.attached();
      const virtEnd = FULL_RANGE.last;
      const virtStart = virtEnd - s.granule + 1n;
      const request = { domain, virtStart, virtEnd, physStart: s.physical(1) };
      const answer = s.provoke(mapBytes(request));
      s.expect(answer, Status.OK, Status.RANGE, Status.DEVERR, Status.NOMEM);
      s.note(answer.toString());
      if (!answer.ok) return;
      s.check(s.map(request).status === Status.INVAL, 'it can be mapped a second time');
      s.check(s.unmap(domain, virtStart, virtEnd).ok, 'it cannot be removed');
      s.check(s.map(request).ok, 'it is still there after UNMAP');
    },
  }),
  defineCase({
    id: 'open.4.1#full-range',
    title: 'one mapping may cover all addresses of 64 bits',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const { start, last } = s.config.inputRange;
      if (start !== 0n || last !== FULL_RANGE.last) s.skip('the input range is narrower');
      const domain = s.attached();
      const request = { domain, virtStart: 0n, virtEnd: last, physStart: 0n };
      const answer = s.provoke(mapBytes(request));
      s.expect(answer, Status.OK, Status.RANGE, Status.DEVERR, Status.NOMEM, Status.INVAL);
      s.note(answer.toString());
      if (!answer.ok) {
        s.must(s.mapPages(domain, 0).ok, 'the refused MAP has taken the range');
        return;
      }
      s.check(s.mapPages(domain, 0).status === Status.INVAL, 'a page of it is free');
      s.check(s.unmap(domain, 0n, last).ok, 'it cannot be removed');
      s.check(s.mapPages(domain, 0).ok, 'it is still there after UNMAP');
    },
  }),
  defineCase({
    id: 'open.4.2',
    title: 'a range that ends before it starts maps nothing, whatever the status',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      for (const [virtStart, virtEnd] of [
        [s.page(6), s.last(2)],
        [s.page(6), s.last(5)],
        [s.page(6), 0n],
        [FULL_RANGE.last - s.granule + 1n, s.last(2)],
      ] as const) {
        const request = mapBytes({ domain, virtStart, virtEnd, physStart: s.physical(1) });
        s.note(s.provoke(request).toString());
      }
      for (let page = 0; page < 8; page += 1)
        s.must(s.mapPages(domain, page).ok, `page ${page} has been mapped`);
    },
  }),
  defineCase({
    id: 'open.4.3',
    title: 'one byte may be mapped where the granule is one byte',
    needs: ['map-unmap', 'endpoint', 'granule-1'],
    wish: { pageSizeMask: 0xffff_ffff_ffff_ffffn },
    run: (s) => {
      const domain = s.attached();
      const [at, physStart] = [s.page(7), s.physical(1)];
      const answer = s.provoke(mapBytes({ domain, virtStart: at, virtEnd: at, physStart }));
      s.note(answer.toString());
      if (!answer.ok) return;
      s.check(s.mapPages(domain, 7).status === Status.INVAL, 'it can be mapped a second time');
      s.check(s.mapPages(domain, 6).ok && s.mapPages(domain, 8).ok, 'its neighbours are taken');
      s.check(s.unmap(domain, at, at).ok, 'it cannot be removed');
    },
  }),
  ...[0, MMIO, WRITE, WRITE | MMIO].map((flags) =>
    defineCase({
      id: `${(flags & WRITE) === 0 ? 'open.4.4' : 'open.4.5'}#${flags}`,
      title: `MAP with flags ${flags} maps the range or is refused`,
      needs:
        (flags & MMIO) === 0 ? ['map-unmap', 'endpoint'] : ['map-unmap', 'endpoint', 'mmio-flag'],
      run: (s) => {
        const domain = s.attached();
        const answer = s.provoke(mapOf(s, domain, flags));
        s.note(answer.toString());
        s.expect(answer, Status.OK, Status.INVAL, Status.UNSUPP);
        const again = s.mapPages(domain, 0);
        s.must(answer.ok !== again.ok, 'a later MAP of the range says the opposite');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.req.status-ok#mmio',
    title: 'memory-mapped I/O can be mapped, with all combinations of READ and WRITE',
    needs: ['map-unmap', 'endpoint', 'mmio-flag'],
    run: (s) => {
      const domain = s.attached();
      for (const flags of [READ, READ | WRITE]) {
        s.expect(s.send(mapOf(s, domain, flags | MMIO)), Status.OK);
        s.expect(s.unmapPages(domain, 0), Status.OK);
      }
    },
  }),
  ...(['accepted', 'offered'] as const).map((what) =>
    defineCase({
      id: `open.4.7#not-${what}`,
      title: `the MMIO flag may be refused where its feature is not ${what}`,
      needs: ['map-unmap', 'endpoint', what === 'accepted' ? 'mmio-flag' : 'no-mmio-flag'],
      wish: what === 'accepted' ? {} : { withoutFeatures: featureMask(IommuFeature.MMIO) },
      start: { without: featureMask(IommuFeature.MMIO) },
      run: (s) => {
        const answer = s.provoke(mapOf(s, s.attached(), READ | MMIO));
        s.note(answer.toString());
        s.expect(answer, Status.OK, Status.INVAL);
      },
    }),
  ),
  ...['below', 'above', 'across-start', 'across-end'].map((where) =>
    defineCase({
      id: `fact.iommu.input-range-fails#${where}`,
      title: `MAP of a range ${where.replace('-', ' the ')} ${where.includes('-') ? 'of ' : ''}the input range is refused`,
      needs: ['map-unmap', 'endpoint', 'input-range'],
      wish: { inputRange: { start: 0x1_0000n, last: 0x3f_ffffn } },
      run: (s) => {
        const { start, last } = s.config.inputRange;
        const page = s.granule;
        const ranges: Readonly<Record<string, readonly [bigint, bigint]>> = {
          below: [start - page, start - 1n],
          above: [last + 1n, last + page],
          'across-start': [start - page, start + page - 1n],
          'across-end': [last - page + 1n, last + page],
        };
        const [virtStart, virtEnd] = ranges[where] ?? [0n, 0n];
        if (virtStart < 0n || virtEnd > FULL_RANGE.last) s.skip('there is nothing beyond');
        const domain = s.attached();
        const request = mapBytes({ domain, virtStart, virtEnd, physStart: s.physical(2) });
        const answer = s.provoke(request);
        s.note(answer.toString());
        s.expectRefused(answer);
      },
    }),
  ),
  ...[0n, -1n].map((over) =>
    defineCase({
      id: `open.4.9${over === 0n ? '' : '#last'}`,
      title: `physical addresses ${over === 0n ? 'that would go beyond' : 'up to the end of'} 64 bits are mapped or refused`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        const pages = over === 0n ? 4 : 1;
        const physStart = FULL_RANGE.last - s.granule + 1n;
        const [virtStart, virtEnd] = [s.page(0), s.last(pages - 1)];
        s.note(s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart })).toString());
      },
    }),
  ),
  defineCase({
    id: 'open.4.10',
    title: 'physical addresses without memory behind them are mapped or refused',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const physStart = 0xf_ffff_0000_0000n;
      const [virtStart, virtEnd] = [s.page(0), s.last(0)];
      const domain = s.attached();
      s.note(s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart })).toString());
    },
  }),
  defineCase({
    id: 'open.4.13',
    title: 'the very same MAP again is refused with INVAL',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 3);
      s.expect(s.mapPages(domain, 3), Status.INVAL);
    },
  }),
  defineCase({
    id: 'open.4.14',
    title: 'mappings side by side stay apart, also where their memory is in one piece',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      const physStart = s.physical(2);
      s.mapped(domain, 3, 1, { physStart });
      s.mapped(domain, 4, 1, { physStart: physStart + s.granule });
      s.mapped(domain, 2, 1, { physStart: physStart - s.granule });
      s.expect(s.unmapPages(domain, 3), Status.OK);
      s.check(s.mapPages(domain, 3).ok, 'the one in the middle is still there');
      s.check(!s.mapPages(domain, 4).ok && !s.mapPages(domain, 2).ok, 'a neighbour went with it');
    },
  }),
  defineCase({
    id: 'open.4.15',
    title: `${MAPPINGS_MAX} mappings are made, or refused with NOMEM, and room comes back`,
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      const { start, last } = s.config.inputRange;
      const base = s.page(0) > start ? s.page(0) : start;
      const step = 2n * s.granule;
      let made = 0;
      for (; made < MAPPINGS_MAX; made += 1) {
        const virtStart = base + BigInt(made) * step;
        if (virtStart + step > last || inRegion(s, virtStart)) break;
        const virtEnd = virtStart + s.granule - 1n;
        const answer = s.map({ domain, virtStart, virtEnd, physStart: s.physical(1) });
        if (answer.ok) continue;
        s.expect(answer, Status.NOMEM);
        break;
      }
      s.note(`${made} mappings were made`);
      s.expect(s.unmap(domain, base, base + BigInt(made) * step - 1n), Status.OK);
      s.check(s.mapPages(domain, 0, 3).ok, 'there is no room afterwards');
    },
  }),
];

function mapAtEnd(s: Session, end: 'start' | 'last'): void {
  const { start, last } = s.config.inputRange;
  const page = s.granule;
  const virtStart = end === 'start' ? (start + page - 1n) & -page : ((last + 1n) & -page) - page;
  const virtEnd = virtStart + page - 1n;
  if (inRegion(s, virtStart)) s.skip('it is in a reserved region');
  const domain = s.attached();
  s.expect(s.map({ domain, virtStart, virtEnd, physStart: s.physical(1) }), Status.OK);
  s.expect(s.unmap(domain, virtStart, virtEnd), Status.OK);
  const again = s.map({ domain, virtStart, virtEnd, physStart: s.physical(1) });
  s.must(again.ok, 'the mapping is still there after UNMAP');
}

function inRegion(s: Session, page: bigint): boolean {
  return s.present.some(({ reserved = [] }) =>
    reserved.some(({ start, last }) => start < page + s.granule && last >= page),
  );
}

function mapOf(s: Session, domain: number, flags: number): Uint8Array {
  const [virtStart, virtEnd, physStart] = [s.page(0), s.last(0), s.physical(1)];
  return mapBytes({ domain, virtStart, virtEnd, physStart, flags });
}
