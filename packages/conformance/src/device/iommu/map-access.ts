/** Ranges that a device should refuse: if it accepts one, accesses must not go where nobody asked them to. */

import { Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { readBytes, writeBytes } from '../../ring/bytes.ts';
import { memory, unit } from '../place.ts';
import type { MapFields } from '../request.ts';
import type { Session } from '../session.ts';
import { strayIn } from './permission.ts';

const PAGE = 4096n;
const VALUE = 0xc3;

/** Parts of a page, as a driver might want them mapped. */
const PARTS: Readonly<Record<string, (right: Whole) => Whole>> = {
  'virt-end': (right) => ({ ...right, virtEnd: right.virtEnd - 0x800n }),
  'virt-start': (right) => ({ ...right, virtStart: right.virtStart + 0x800n }),
  'phys-start': (right) => ({ ...right, physStart: right.physStart + 0x800n }),
};

type Whole = Pick<MapFields, 'virtStart' | 'virtEnd' | 'physStart'>;

export const MAP_ACCESS_CASES: readonly DeviceCase[] = [
  ...Object.entries(PARTS).map(([name, change]) =>
    defineCase({
      id: `iommu.dev.map.unaligned#${name}-access`,
      title: `if a ${name} in the middle of a page is accepted, accesses go to what it maps and to nothing else`,
      needs: ['map-unmap', 'dma'],
      run: (s) => {
        if (s.granule !== PAGE) s.skip(`the granule is ${s.granule} bytes`);
        const endpoint = s.dma.endpoint();
        const domain = s.attached(endpoint);
        const room = memory(s, 4);
        const part = change({ ...unit(s, 2), physStart: room + PAGE });
        const answer = s.map({ domain, ...part });
        if (!answer.ok) return s.expect(answer, Status.RANGE);
        s.note('the MAP is accepted');
        for (const offset of [-8n, 0n, 0x7f8n, 0x7fcn, 0x800n, 0xff8n, 0x1000n])
          checkWrite(s, endpoint, { part, room, iova: unit(s, 2).virtStart + offset });
      },
    }),
  ),
  defineCase({
    id: 'open.4.2#access',
    title: 'a range that ends before it starts can be reached by no access',
    needs: ['map-unmap', 'dma'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const room = memory(s, 4);
      const part = {
        virtStart: unit(s, 6).virtStart,
        virtEnd: unit(s, 3).virtEnd,
        physStart: room + PAGE,
      };
      s.note(s.map({ domain, ...part }).toString());
      for (const index of [2, 3, 4, 5, 6, 7])
        checkWrite(s, endpoint, { part, room, iova: unit(s, index).virtStart });
    },
  }),
  ...(['behind', 'across', 'all'] as const).map((which) =>
    defineCase({
      id: `open.4.2#unmap-${which}`,
      title: `after a range that ends before it starts UNMAP comes back: ${which}`,
      needs: ['map-unmap', 'endpoint'],
      run: (s) => {
        const domain = s.attached();
        const [virtStart, virtEnd] = [s.page(6), s.last(2)];
        const answer = s.map({ domain, virtStart, virtEnd, physStart: s.physical(1) });
        s.note(`MAP: ${answer.toString()}`);
        const range = {
          behind: [s.page(6), s.last(9)],
          across: [s.page(1), s.last(4)],
          all: [s.page(0), s.last(40)],
        }[which];
        const [start = 0n, end = 0n] = range;
        s.note(`UNMAP: ${s.unmap(domain, start, end).toString()}`);
        // The good request at the end shows whether the queue is still alive.
      },
    }),
  ),
];

/** One write of eight bytes: what arrives is where the mapping has it, byte by byte. */
function checkWrite(
  s: Session,
  endpoint: number,
  { part, room, iova }: { readonly part: Whole; readonly room: bigint; readonly iova: bigint },
): void {
  const bytes = 4 * Number(PAGE);
  writeBytes(s.target.memory, room, new Uint8Array(bytes));
  s.dma.access(endpoint, 'write', iova, new Uint8Array(8).fill(VALUE));
  const after = readBytes(s.target.memory, room, bytes);
  const allowed = Array.from({ length: 8 }, (_, index) => iova + BigInt(index))
    .filter((address) => address >= part.virtStart && address <= part.virtEnd)
    .map((address) => Number(address - part.virtStart + part.physStart - room));
  const stray = strayIn(after, allowed);
  s.must(
    stray < 0,
    `a write at 0x${iova.toString(16)} went to byte ${stray}, where it was not mapped to`,
  );
}
