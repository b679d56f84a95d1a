/** What section "Packed Virtqueues" states as fact. */

import { DescriptorFlag, PackedFlag, VirtioFeature, featureMask } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { settle } from '../place.ts';
import { collect, notify, prepare, statusOf } from './burst.ts';
import {
  PACKED,
  PACKED_BASE as BASE,
  mapOf,
  packedRing,
  requests,
  slotBytes,
  small,
} from './packed.ts';
import { unmapBytes } from '../request.ts';

const INDIRECT_DESC = featureMask(VirtioFeature.INDIRECT_DESC);
const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;

export const PACKED_FACT_CASES: readonly DeviceCase[] = [
  defineCase({
    ...BASE,
    id: 'fact.packed.zero-start',
    title: 'a ring of zeros begins at its first descriptor, in the lap with wrap counter 1',
    run: (s) => {
      const ring = packedRing(s);
      settle(s);
      s.check(!ring.ready(), 'something is used before anything is available');
      s.checkServes();
      s.check((ring.slot(0).flags & (AVAIL | USED)) === (AVAIL | USED), 'slot 0 is not used');
    },
  }),
  ...[2, 3, 5, 7, 31].map((queueSize) =>
    defineCase({
      ...BASE,
      ...small(queueSize),
      id: `fact.packed.any-size#${queueSize}`,
      title: `a ring of ${queueSize} works`,
      run: (s) => {
        const ring = packedRing(s);
        if (ring.size !== queueSize) s.skip(`the largest queue is ${ring.size}`);
        for (let turn = 0; turn < 3 * queueSize + 4; turn += 1) {
          const answer = s.send(unmapBytes(s.config.domainRange.last, 0n, 0n));
          s.check(answer.status !== undefined, `turn ${turn} is not served`);
        }
      },
    }),
  ),
  defineCase({
    ...BASE,
    id: 'fact.packed.id-last',
    title: 'the id is that of the last descriptor of a list',
    run: (s) => {
      const ring = packedRing(s);
      const { buffers, ...sent } = prepare(s, requests(s, 1)[0] ?? new Uint8Array());
      ring.place(
        buffers.map(({ address, length, writable }) => ({
          addr: address,
          len: length,
          id: writable ? 0x1234 : 0x4321,
          flags: writable ? WRITE : NEXT,
        })),
      );
      notify(s, ring);
      s.target.wait(() => ring.ready(), 3000);
      const { id } = ring.slot(0);
      s.check(id === 0x1234, `it is 0x${id.toString(16)}`);
      s.must(statusOf(s, { ...sent, id }) !== undefined, 'the request is not served');
      // The ring's own count does not know of this list.
      ring.nextUsed = ring.next;
    },
  }),
  defineCase({
    ...BASE,
    id: 'fact.packed.id-last#three',
    title: 'likewise in a list of three',
    run: (s) => {
      const ring = packedRing(s);
      const sent = prepare(s, requests(s, 1)[0] ?? new Uint8Array());
      const { readableAt, request, writableAt, writable: room } = sent;
      const pieces = [
        { address: readableAt, length: 4, writable: false },
        { address: readableAt + 4n, length: request.length - 4, writable: false },
        { address: writableAt, length: room, writable: true },
      ];
      ring.place(
        pieces.map(({ address, length, writable }, index) => ({
          addr: address,
          len: length,
          id: writable ? 0x1234 : 0x4321 + index,
          flags: writable ? WRITE : NEXT,
        })),
      );
      notify(s, ring);
      s.target.wait(() => ring.ready(), 3000);
      const { id } = ring.slot(0);
      s.check(id === 0x1234, `it is 0x${id.toString(16)}`);
      s.must(statusOf(s, { ...sent, id }) !== undefined, 'the request is not served');
      // As above.
      ring.nextUsed = ring.next;
    },
  }),
  defineCase({
    ...BASE,
    id: 'fact.packed.single-used',
    title: 'a list of three is given back by one descriptor',
    run: (s) => {
      const ring = packedRing(s);
      const before = (): string => [1, 2].map((slot) => slotBytes(s, ring, slot)).join();
      const { buffers, ...sent } = prepare(s, requests(s, 1)[0] ?? new Uint8Array());
      const [request, tail] = buffers;
      if (request === undefined || tail === undefined) return;
      const half = request.length / 2;
      const id = ring.offer([
        { ...request, length: half },
        { address: request.address + BigInt(half), length: half, writable: false },
        tail,
      ]);
      const made = before();
      notify(s, ring);
      collect(s, ring, [{ ...sent, id }]);
      s.check(before() === made, 'the others were written');
    },
  }),
  defineCase({
    ...BASE,
    id: 'fact.packed.write-flag',
    title: 'WRITE in a used descriptor says that something was written',
    run: (s) => {
      const good = s.attach(s.domain(), s.a);
      s.check(good.writeFlag === true, 'it is clear for a request that is OK');
      const unknown = s.send(new Uint8Array(20).fill(0x66));
      s.check(
        !unknown.untouched || unknown.writeFlag === false || unknown.length === 0,
        'it is set, with a length, for one that was not written',
      );
    },
  }),
  defineCase({
    ...BASE,
    id: 'fact.packed.indirect-flags',
    title: 'in a table only WRITE has a meaning',
    needs: [...(BASE.needs ?? []), 'indirect'],
    start: { with: PACKED | INDIRECT_DESC },
    run: (s) => {
      const ring = packedRing(s);
      const domain = s.attached();
      for (const [page, extra] of [0, NEXT, AVAIL, USED, AVAIL | USED].entries()) {
        const { buffers, ...sent } = prepare(s, mapOf(s, domain, page));
        const tableAt = s.arena.allocate(32);
        for (const [index, { address, length, writable }] of buffers.entries())
          ring.tableEntry(tableAt, index, {
            addr: address,
            len: length,
            id: 0xbeef,
            flags: (writable ? WRITE : 0) | extra,
          });
        ring.place([{ addr: tableAt, len: 32, flags: INDIRECT, id: page }]);
        notify(s, ring);
        collect(s, ring, [{ ...sent, id: page }]);
        const status = statusOf(s, { ...sent, id: page });
        s.check(status === 0, `with 0x${extra.toString(16)} the status is ${status}`);
      }
    },
  }),
];
