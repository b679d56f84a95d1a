/** Section "IOMMU Device / PROBE properties / Property RESV_MEM", the device's side. */

import { AttachFlag, IommuFeature, Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { readBytes } from '../../ring/bytes.ts';
import type { TargetRegion } from '../../target.ts';
import { memory, setBypass, unitBytes } from '../place.ts';
import { mapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { type ProbedRegion, probed, regionsOf } from './property-list.ts';

/** Ranges in pages that meet a region, given its first and last page. */
const MEETING: Readonly<
  Record<string, (first: bigint, last: bigint) => readonly [bigint, bigint]>
> = {
  equal: (first, last) => [first, last],
  'first-page': (first) => [first, first],
  'last-page': (_, last) => [last, last],
  containing: (first, last) => [first - 1n, last + 1n],
  'across-start': (first) => [first - 1n, first],
  'across-end': (_, last) => [last, last + 1n],
  'from-far': (first) => [first - 16n, first],
};

const TWO: readonly TargetRegion[] = [
  { start: 0x800_0000n, last: 0x80f_ffffn, type: 'reserved' },
  { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
];

/** Where the targets of this package have their memory. */
const WINDOW = { start: 0x4000_0000n, last: 0x400f_ffffn } as const;
/** In one page of it. */
const EDGES = { start: 0x4002_0100n, last: 0x4002_02ffn } as const;

export const RESERVED_MEMORY_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.resv.reserved-zero',
    title: 'reserved bytes of each RESV_MEM are 0',
    needs: ['probe', 'endpoint'],
    wish: { reserved: TWO },
    run: (s) => {
      for (const { id } of s.present)
        for (const { at, region } of probed(s, id).properties)
          s.check(
            region?.reserved.every((byte) => byte === 0) ?? true,
            `endpoint ${id}: those of the property at ${at} are not`,
          );
    },
  }),
  defineCase({
    id: 'iommu.dev.resv.single-msi',
    title: 'an endpoint has one MSI region at most',
    needs: ['probe', 'endpoint'],
    run: (s) => {
      for (const { id } of s.present) {
        const count = regionsOf(probed(s, id)).filter(({ type }) => type === 'msi').length;
        s.check(count <= 1, `endpoint ${id} has ${count}`);
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.resv.no-overlap',
    title: 'regions of an endpoint do not overlap, and each ends behind its start',
    needs: ['probe', 'endpoint'],
    wish: { reserved: TWO },
    run: (s) => {
      for (const { id } of s.present) {
        const regions = regionsOf(probed(s, id)).toSorted((a, b) => (a.start < b.start ? -1 : 1));
        for (const [index, { start, end }] of regions.entries()) {
          s.check(
            start <= end,
            `endpoint ${id}: a region ends at ${hex(end)}, before ${hex(start)}`,
          );
          const next = regions[index + 1];
          s.check(
            next === undefined || next.start > end,
            `endpoint ${id}: two meet at ${hex(end)}`,
          );
        }
      }
    },
  }),
  ...Object.entries(MEETING).map(([name, pages]) =>
    defineCase({
      id: `iommu.dev.resv.map-overlap-rejected#${name}`,
      title: `MAP of pages that meet a reserved region is refused: ${name}`,
      needs: ['map-unmap', 'endpoint', 'reserved'],
      run: (s) => {
        let tried = 0;
        for (const [endpoint, region] of regionsInReach(s)) {
          const [first, last] = pages(region.start / s.granule, region.end / s.granule);
          if (!fits(s, first, last)) continue;
          const domain = s.attached(endpoint);
          s.expectRefused(s.provoke(mapOf(s, domain, first, last)));
          // No page of it was mapped.
          for (const page of [first - 1n, last + 1n])
            if (isFree(s, endpoint, page))
              s.must(s.send(mapOf(s, domain, page, page)).ok, 'a page beside it is taken');
          s.setUp(s.detach(domain, endpoint));
          tried += 1;
        }
        if (tried === 0) s.skip('no reserved region can be met like this');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.resv.map-overlap-rejected#neighbours',
    title: 'the pages on both sides of a region can be mapped',
    needs: ['map-unmap', 'endpoint', 'reserved'],
    run: (s) => {
      for (const [endpoint, region] of regionsInReach(s)) {
        const domain = s.attached(endpoint);
        for (const page of [region.start / s.granule - 1n, region.end / s.granule + 1n])
          if (isFree(s, endpoint, page))
            s.expect(s.provoke(mapOf(s, domain, page, page)), Status.OK);
        s.setUp(s.detach(domain, endpoint));
      }
    },
  }),
  defineCase({
    id: 'open.4.12',
    title: 'a region that only another endpoint has can be mapped',
    needs: ['map-unmap', 'two-endpoints', 'reserved'],
    run: (s) => {
      for (const [owner, region] of regionsInReach(s)) {
        const page = region.start / s.granule;
        const other = s.present.find(({ id }) => id !== owner && isFree(s, id, page));
        if (other === undefined) continue;
        s.attached(owner);
        const answer = s.provoke(mapOf(s, s.attached(other.id), page, page));
        s.note(answer.toString());
        s.check(answer.ok, 'the MAP is refused');
        return;
      }
      s.skip('all endpoints have the same regions');
    },
  }),
  defineCase({
    id: 'open.6.6',
    title: 'the end of a region belongs to it, and the next address does not',
    needs: ['map-unmap', 'endpoint', 'reserved'],
    wish: { reserved: TWO },
    run: (s) => {
      for (const [endpoint, region] of regionsInReach(s)) {
        if ((region.end + 1n) % s.granule !== 0n) continue;
        const [first, last] = [region.start / s.granule, region.end / s.granule];
        const domain = s.attached(endpoint);
        if (s.provoke(mapOf(s, domain, first, first)).ok) s.skip('its first page can be mapped');
        s.check(!s.provoke(mapOf(s, domain, last, last)).ok, 'its last page can be mapped');
        if (isFree(s, endpoint, last + 1n))
          s.check(s.provoke(mapOf(s, domain, last + 1n, last + 1n)).ok, 'the next page cannot');
        s.setUp(s.detach(domain, endpoint));
      }
    },
  }),
  defineCase({
    id: 'open.6.7',
    title: 'regions may hold for a driver that has not asked for them',
    needs: ['map-unmap', 'endpoint', 'reserved', 'probe'],
    start: { without: 1n << BigInt(IommuFeature.PROBE) },
    run: (s) => {
      for (const { id, reserved = [] } of s.present) {
        const [region] = reserved;
        if (region === undefined) continue;
        const page = region.start / s.granule;
        s.note(s.provoke(mapOf(s, s.attached(id), page, page)).toString());
        return;
      }
    },
  }),
  defineCase({
    id: 'open.6.11',
    title: 'pages that a region which is not aligned covers in part are free or not',
    needs: ['map-unmap', 'endpoint', 'reserved'],
    wish: { reserved: [{ start: 0x800_0800n, last: 0x800_37ffn, type: 'reserved' }] },
    run: (s) => {
      for (const [endpoint, region] of regionsInReach(s)) {
        if (region.start % s.granule === 0n) continue;
        const page = region.start / s.granule;
        s.note(s.provoke(mapOf(s, s.attached(endpoint), page, page)).toString());
        return;
      }
      s.skip('all regions are aligned');
    },
  }),
  ...(['attached', 'unattached', 'bypass', 'bypass-domain'] as const).map((state) =>
    defineCase({
      id: `iommu.dev.resv.access-contained#${state}`,
      title: `accesses to a reserved region reach no memory: endpoint ${state}`,
      needs: state.startsWith('bypass')
        ? ['dma', 'reserved', 'bypass-config']
        : ['dma', 'reserved'],
      wish: { reserved: [{ ...WINDOW, type: 'reserved' }] },
      run: (s) => contained(s, 'reserved', state),
    }),
  ),
  defineCase({
    id: 'iommu.dev.resv.access-contained#edges',
    title:
      'the first and the last byte of a reserved region are not accessed, and their neighbours are',
    needs: ['dma', 'reserved', 'bypass-config'],
    wish: { reserved: [{ ...EDGES, type: 'reserved' }] },
    run: (s) => {
      setBypass(s, true);
      let start = memory(s);
      while (start + unitBytes(s) <= EDGES.start) start = memory(s);
      const { id, reserved = [] } = s.dma.endpoints[0] ?? s.skip('no endpoint makes accesses');
      const inside = start < EDGES.start && start + unitBytes(s) - 1n > EDGES.last;
      if (!inside || !reserved.some((one) => one.start === EDGES.start && one.last === EDGES.last))
        s.skip('the region does not lie in the memory of the suite');
      for (const at of [EDGES.start - 1n, EDGES.last + 1n])
        s.check(s.dma.write(id, at, at, 1).reached, `the byte at ${hex(at)} is kept off`);
      for (const at of [EDGES.start, EDGES.last])
        s.check(!s.dma.write(id, at, at, 1).reached, `the byte at ${hex(at)} was written`);
      // An access that begins in front of it does not get in either.
      s.dma.write(id, EDGES.start - 8n, EDGES.start - 8n, 16);
      const inner = readBytes(s.target.memory, EDGES.start, 8);
      s.check(
        inner.every((byte) => byte === 0),
        'an access that begins in front was done inside',
      );
    },
  }),
  defineCase({
    id: 'open.6.12',
    title: 'a write to the MSI region changes no memory',
    needs: ['dma', 'reserved'],
    wish: { reserved: [{ ...WINDOW, type: 'msi' }] },
    run: (s) => contained(s, 'msi', 'attached'),
  }),
];

/** Regions by PROBE or, without it, by what the platform says, that MAP can name. */
function regionsInReach(s: Session): [number, ProbedRegion][] {
  const { start, last } = s.config.inputRange;
  const found = s.present.flatMap(({ id, reserved = [] }): [number, ProbedRegion][] => {
    const regions = s.has(IommuFeature.PROBE)
      ? regionsOf(probed(s, id))
      : reserved.map((region) => ({ ...region, end: region.last }));
    return regions
      .filter((region) => region.start >= start && region.end <= last)
      .map((region) => [id, region]);
  });
  return found.length > 0 ? found : s.skip('no region is in the input range');
}

function fits(s: Session, first: bigint, last: bigint): boolean {
  const input = s.config.inputRange;
  return first * s.granule >= input.start && (last + 1n) * s.granule - 1n <= input.last;
}

/** True if a page is in the input range and in no region of the endpoint. */
function isFree(s: Session, endpoint: number, page: bigint): boolean {
  if (page < 0n || !fits(s, page, page)) return false;
  const [start, end] = [page * s.granule, (page + 1n) * s.granule - 1n];
  const regions = s.present.find(({ id }) => id === endpoint)?.reserved ?? [];
  return regions.every((region) => region.last < start || region.start > end);
}

function mapOf(s: Session, domain: number, first: bigint, last: bigint): Uint8Array {
  return mapBytes({
    domain,
    virtStart: first * s.granule,
    virtEnd: (last + 1n) * s.granule - 1n,
    physStart: s.physical(1),
  });
}

type State = 'attached' | 'unattached' | 'bypass' | 'bypass-domain';

/** Only where a region lies over memory can one see that nothing gets there. */
function contained(s: Session, type: TargetRegion['type'], state: State): void {
  const phys = memory(s);
  const end = phys + 15n;
  const endpoint = s.dma.endpoints.find(({ reserved = [] }) =>
    reserved.some((one) => one.type === type && one.start <= phys && one.last >= end),
  );
  if (endpoint === undefined)
    s.skip(`no ${type} region of an endpoint with accesses lies over the memory of the suite`);
  setBypass(s, state === 'bypass');
  if (state === 'attached') s.attached(endpoint.id);
  if (state === 'bypass-domain') s.attached(endpoint.id, AttachFlag.BYPASS);
  s.check(!s.dma.write(endpoint.id, phys, phys).reached, 'the write went through');
}

function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}
