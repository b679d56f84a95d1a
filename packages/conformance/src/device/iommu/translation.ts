/** What section "IOMMU Device / Device operations" says of accesses: by which addresses, and with which permissions. */

import { MapFlag } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { readBytes, writeBytes } from '../../ring/bytes.ts';
import type { DmaDirection } from '../../target.ts';
import { mapUnit, mappedUnit, memory, unit, unitBytes } from '../place.ts';
import type { Session } from '../session.ts';

const { READ, WRITE, MMIO } = MapFlag;
const FLAGS = { none: 0, read: READ, write: WRITE, both: READ | WRITE } as const;

export const TRANSLATION_CASES: readonly DeviceCase[] = [
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
  ...permissionCases(),
];

/** Maps unit 0 with these flags in a domain of its own: the endpoint, and the memory. Skips if that is refused. */
function withMapping(s: Session, flags: number): [number, bigint] {
  const endpoint = s.dma.endpoint();
  const domain = s.attached(endpoint);
  const phys = mappedUnit(s, domain, 0, { flags });
  return [endpoint, phys];
}

/** Two mappings side by side, with all permissions, made in either order, to memory that is apart or in one piece. */
function permissionCases(): DeviceCase[] {
  return Object.entries(FLAGS).flatMap(([leftName, left]) =>
    Object.entries(FLAGS).map(([rightName, right]) =>
      defineCase({
        id: `iommu.dev.map.write-needs-flag#${leftName}-beside-${rightName}`,
        title: `of two mappings side by side, for ${leftName} and ${rightName}, each has its own permissions`,
        needs: ['dma', 'map-unmap'],
        run: (s) => {
          for (const leftFirst of [true, false])
            for (const inOnePiece of [false, true])
              sideBySide(s, { left, right, leftFirst, inOnePiece });
        },
      }),
    ),
  );
}

interface Pair {
  readonly left: number;
  readonly right: number;
  readonly leftFirst: boolean;
  readonly inOnePiece: boolean;
}

function sideBySide(s: Session, { left, right, leftFirst, inOnePiece }: Pair): void {
  const endpoint = s.dma.endpoint();
  const domain = s.attached(endpoint);
  const size = unitBytes(s);
  const room = memory(s, 3);
  const phys = [room, inOnePiece ? room + size : room + 2n * size] as const;
  const flags = [left, right] as const;
  for (const index of leftFirst ? ([0, 1] as const) : ([1, 0] as const))
    s.setUp(mapUnit(s, domain, index, phys[index], { flags: flags[index] }));
  for (const index of [0, 1] as const) {
    const iova = unit(s, index).virtStart + 1n;
    const at = phys[index] + 1n;
    const [write, read] = [s.dma.write(endpoint, iova, at), s.dma.read(endpoint, iova, at)];
    const what = `${index === 0 ? 'left' : 'right'} of flags ${left} and ${right}`;
    s.check(write.reached ? (flags[index] & WRITE) !== 0 : true, `a write went through, ${what}`);
    s.should(write.reached || (flags[index] & WRITE) === 0, `a write does not arrive, ${what}`);
    s.should(read.reached || (flags[index] & READ) === 0, `a read is refused, ${what}`);
    // A mapping for writing only may be read, and then is.
    s.should(!read.reached || flags[index] !== 0, `a read went through, ${what}`);
  }
  for (const direction of ['write', 'read'] as const)
    acrossBoth(s, endpoint, direction, { flags, phys });
}

/** One access of eight bytes, four in each mapping. */
function acrossBoth(
  s: Session,
  endpoint: number,
  direction: DmaDirection,
  pair: { readonly flags: readonly [number, number]; readonly phys: readonly [bigint, bigint] },
): void {
  const { flags, phys } = pair;
  const { memory: ram } = s.target;
  const places = [phys[0] + unitBytes(s) - 4n, phys[1]] as const;
  const pattern = Uint8Array.from(
    [1, 2, 3, 4, 5, 6, 7, 8],
    (byte) => ((byte + 0x10 * endpoint) & 0x7f) | 0x80,
  );
  const before = direction === 'write' ? new Uint8Array(8) : pattern;
  writeBytes(ram, places[0], before.subarray(0, 4));
  writeBytes(ram, places[1], before.subarray(4));
  const bytes = direction === 'write' ? pattern.slice() : new Uint8Array(8);
  s.dma.access(endpoint, direction, unit(s, 0).virtEnd - 3n, bytes);
  const got = [0, 1].map((side) => {
    const seen =
      direction === 'write'
        ? readBytes(ram, places[side] ?? 0n, 4)
        : bytes.subarray(4 * side, 4 * side + 4);
    return seen.every((byte, index) => byte === pattern[4 * side + index]);
  });
  const need = direction === 'write' ? WRITE : READ;
  for (const side of [0, 1] as const) {
    const what = `the ${side === 0 ? 'first' : 'second'} half of a ${direction} across flags ${flags.join(' and ')}`;
    if (direction === 'write')
      s.check(got[side] !== true || (flags[side] & WRITE) !== 0, `${what} went through`);
    else s.should(got[side] !== true || flags[side] !== 0, `${what} went through`);
  }
  if ((flags[0] & need) !== 0 && (flags[1] & need) !== 0)
    s.should(
      got[0] === true && got[1] === true,
      `a ${direction} across both mappings does not arrive whole`,
    );
}
