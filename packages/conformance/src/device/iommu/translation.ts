/** What section "IOMMU Device / Device operations" says of accesses: by which addresses, and with which permissions. */

import { IommuFeature, MapFlag } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mapUnit, mappedUnit, memory, setBypass, unit, unitBytes } from '../place.ts';
import type { Session } from '../session.ts';

const { READ, WRITE, MMIO } = MapFlag;
const FLAGS = { none: 0, read: READ, write: WRITE, both: READ | WRITE } as const;

export const TRANSLATION_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'fact.iommu.translate#unmapped',
    title: 'an attached endpoint reaches nothing at an address that is not mapped, whatever bypass',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      mappedUnit(s, domain, 1);
      const phys = memory(s);
      for (const bypass of [false, true]) {
        if (bypass && !s.has(IommuFeature.BYPASS_CONFIG)) break;
        setBypass(s, bypass);
        s.must(!s.dma.write(endpoint, phys, phys).reached, `the write went through`);
        s.must(!s.dma.read(endpoint, phys, phys).reached, `the read went through`);
      }
    },
  }),
  defineCase({
    id: 'fact.iommu.translate#hole',
    title: 'an access beside a mapping goes nowhere',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      // What is in front and behind in memory is where a sloppy device would go.
      const phys = memory(s, 3);
      const { virtStart, virtEnd } = unit(s, 2);
      const bytes = virtEnd - virtStart + 1n;
      mappedUnit(s, domain, 2, { physStart: phys + bytes, flags: MapFlag.READ | MapFlag.WRITE });
      for (const [iova, place, length] of [
        [virtStart - 8n, phys + bytes - 8n, 8],
        [virtStart - 1n, phys + bytes - 1n, 1],
        [virtEnd + 1n, phys + 2n * bytes, 8],
        [virtEnd + 1n, phys + 2n * bytes, 1],
      ] as const) {
        s.must(!s.dma.write(endpoint, iova, place, length).reached, 'the write went through');
        s.must(!s.dma.read(endpoint, iova, place, length).reached, 'the read went through');
      }
    },
  }),
  defineCase({
    id: 'fact.iommu.translate',
    title: 'the first, the middle and the last bytes of a mapping lead to those of its memory',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const { virtStart, virtEnd } = unit(s, 1, 3);
      const physStart = memory(s, 3);
      s.setUp(s.map({ domain, virtStart, virtEnd, physStart }));
      const size = virtEnd - virtStart + 1n;
      for (const offset of [0n, 1n, size / 3n - 4n, size / 2n, size - 9n, size - 8n]) {
        const [iova, phys] = [virtStart + offset, physStart + offset];
        s.check(s.dma.write(endpoint, iova, phys).reached, `a write at +${offset} does not arrive`);
        s.check(s.dma.read(endpoint, iova, phys).reached, `a read at +${offset} is of other bytes`);
      }
      for (const offset of [0n, size - 1n]) {
        const [iova, phys] = [virtStart + offset, physStart + offset];
        s.check(s.dma.write(endpoint, iova, phys, 1).reached, `byte ${offset} is not written`);
        s.check(s.dma.read(endpoint, iova, phys, 1).reached, `byte ${offset} is not read`);
      }
    },
  }),
  defineCase({
    id: 'fact.iommu.translate#all-units',
    title: 'many mappings lead each to its own memory, in whatever order they were made',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const base = memory(s, 13);
      // Neither in order, nor to memory in the same order.
      const physOf = (index: number): bigint => base + BigInt((index * 5) % 13) * unitBytes(s);
      for (let turn = 0; turn < 13; turn += 1) {
        const index = (turn * 8) % 13;
        s.setUp(mapUnit(s, domain, index, physOf(index)));
      }
      for (let index = 0; index < 13; index += 1)
        for (const direction of ['write', 'read'] as const) {
          const access = s.dma[direction](endpoint, unit(s, index).virtStart, physOf(index));
          s.check(access.reached, `a ${direction} at unit ${index} goes elsewhere`);
        }
    },
  }),
  defineCase({
    id: 'fact.iommu.translate#same-memory',
    title: 'two addresses may lead to the same memory',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const phys = mappedUnit(s, domain, 2);
      mappedUnit(s, domain, 9, { physStart: phys });
      for (const index of [2, 9])
        s.check(s.dma.write(endpoint, unit(s, index).virtStart, phys).reached, `not by ${index}`);
      const { virtStart, virtEnd } = unit(s, 2);
      s.setUp(s.unmap(domain, virtStart, virtEnd));
      s.check(s.dma.write(endpoint, unit(s, 9).virtStart, phys).reached, 'the second is gone');
      s.must(!s.dma.write(endpoint, virtStart, phys).reached, 'the first is still there');
    },
  }),
  ...(['last', 'above-4g'] as const).map((where) =>
    defineCase({
      id: `fact.iommu.translate#${where}`,
      title: `addresses are translated ${where === 'last' ? 'up to the last that the endpoint has' : 'above 4 GiB'}`,
      needs: ['dma', 'map-unmap'],
      run: (s) => {
        const { id, dma } = s.dma.endpoints[0] ?? s.skip('there is no such endpoint');
        const input = s.config.inputRange;
        const reach = dma?.last ?? 0xffff_ffff_ffff_ffffn;
        const last = reach < input.last ? reach : input.last;
        const size = unitBytes(s);
        const virtStart =
          where === 'last' ? ((last + 1n) & -size) - size : 0x12_3456_0000_0000n & -size;
        if (virtStart + size - 1n > last) s.skip('the endpoint does not reach that far');
        const domain = s.attached(id);
        const physStart = memory(s);
        const virtEnd = virtStart + size - 1n;
        s.setUp(s.map({ domain, virtStart, virtEnd, physStart }));
        const [iova, phys] = [virtEnd - 7n, physStart + size - 8n];
        s.check(s.dma.write(id, iova, phys).reached, 'a write does not arrive');
        s.check(s.dma.read(id, iova, phys).reached, 'a read is of other bytes');
        // The same lower half is another address.
        const low = iova & 0xffff_ffffn;
        if (low !== iova) s.must(!s.dma.write(id, low, phys).reached, 'the upper half is ignored');
      },
    }),
  ),
  defineCase({
    id: 'fact.iommu.translate#physical',
    title: 'physical addresses are not cut to 32 bits',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const phys = memory(s);
      s.setUp(mapUnit(s, domain, 0, phys + 0x1_0000_0000n));
      // Nothing is written: who knows what is up there.
      const { virtStart } = unit(s, 0);
      s.must(!s.dma.read(endpoint, virtStart, phys).reached, 'the upper half is ignored');
    },
  }),
  defineCase({
    id: 'fact.iommu.isolation',
    title: 'the same address leads two domains to memory of their own',
    needs: ['two-dma', 'map-unmap'],
    run: (s) => {
      const [a, b] = [s.dma.endpoint(0), s.dma.endpoint(1)];
      const [one, other] = [s.attached(a), s.attached(b)];
      const { virtStart, virtEnd } = unit(s, 4);
      const [mine, theirs] = [mappedUnit(s, one, 4), mappedUnit(s, other, 4)];
      for (const [endpoint, phys, foreign] of [
        [a, mine, theirs],
        [b, theirs, mine],
      ] as const) {
        s.must(!s.dma.write(endpoint, virtStart, foreign).reached, 'the other domain is written');
        s.check(s.dma.write(endpoint, virtStart, phys).reached, 'a write does not arrive');
        s.must(!s.dma.read(endpoint, virtStart, foreign).reached, 'the other domain is read');
      }
      s.setUp(s.unmap(one, virtStart, virtEnd));
      s.must(!s.dma.write(a, virtStart, mine).reached, 'the mapping is still used');
      s.must(!s.dma.write(a, virtStart, theirs).reached, 'the mapping of the other domain is used');
      s.check(s.dma.write(b, virtStart, theirs).reached, 'the other domain has lost its mapping');
    },
  }),
  ...(['none', 'read'] as const).map((name) =>
    defineCase({
      id: `iommu.dev.map.write-needs-flag#${name}`,
      title: `nothing is written through a mapping with flags ${FLAGS[name]}`,
      needs: ['dma', 'map-unmap'],
      run: (s) => {
        const [endpoint, phys] = withMapping(s, FLAGS[name]);
        const { virtStart, virtEnd } = unit(s, 0);
        const last = phys + unitBytes(s) - 8n;
        s.check(!s.dma.write(endpoint, virtStart, phys).reached, 'a write went through');
        s.check(!s.dma.write(endpoint, virtEnd - 7n, last).reached, 'a write went through');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.map.write-needs-flag#mmio',
    title: 'nothing is written through a mapping of MMIO without WRITE',
    needs: ['dma', 'map-unmap', 'mmio-flag'],
    run: (s) => {
      for (const flags of [MMIO, MMIO | READ]) {
        const [endpoint, phys] = withMapping(s, flags);
        const { virtStart } = unit(s, 0);
        s.check(!s.dma.write(endpoint, virtStart, phys).reached, `flags ${flags}: it went through`);
      }
    },
  }),
  defineCase({
    id: 'open.4.4#access',
    title: 'nothing is read or written through a mapping without READ and WRITE',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const [endpoint, phys] = withMapping(s, 0);
      const { virtStart } = unit(s, 0);
      s.must(!s.dma.write(endpoint, virtStart, phys).reached, 'a write went through');
      s.check(!s.dma.read(endpoint, virtStart, phys).reached, 'a read went through');
    },
  }),
  defineCase({
    id: 'iommu.dev.map.write-only-may-read',
    title: 'a mapping for writing only may be read; it can be written',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const [endpoint, phys] = withMapping(s, WRITE);
      const { virtStart } = unit(s, 0);
      s.should(s.dma.write(endpoint, virtStart, phys).reached, 'a write does not arrive');
      const { reached } = s.dma.read(endpoint, virtStart, phys);
      s.note(`a read ${reached ? 'goes through' : 'is refused'}`);
    },
  }),
];

/** Maps unit 0 with these flags in a domain of its own: the endpoint, and the memory. Skips if that is refused. */
function withMapping(s: Session, flags: number): [number, bigint] {
  const endpoint = s.dma.endpoint();
  const domain = s.attached(endpoint);
  const phys = mappedUnit(s, domain, 0, { flags });
  return [endpoint, phys];
}
