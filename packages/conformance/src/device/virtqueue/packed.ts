/** Section "Packed Virtqueues", the device's side. */

import {
  DescriptorFlag,
  EventMode,
  PackedFlag,
  Status,
  VirtioFeature,
  featureMask,
} from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import { readBytes } from '../../ring/bytes.ts';
import { PackedRing } from '../../ring/packed-ring.ts';
import { settle } from '../place.ts';
import { attachBytes, detachBytes, mapBytes, unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { collect, notify, post, prepare, statusOf } from './burst.ts';

/** RING_PACKED, as a mask. */
export const PACKED: bigint = featureMask(VirtioFeature.RING_PACKED);
const { NEXT, WRITE } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;

/** What cases with packed rings have in common. */
export const PACKED_BASE: Pick<CaseText, 'needs' | 'wish' | 'start'> = {
  needs: ['packed', 'map-unmap', 'endpoint'],
  wish: { withFeatures: PACKED },
  start: { with: PACKED },
};
/** With queues of this size. */
export const small = (queueSize: number): Pick<CaseText, 'start'> => ({
  start: { with: PACKED, queueSize },
});

/** The request queue, which is packed in all of these cases. */
export function packedRing(s: Session): PackedRing {
  const { requests } = s.running;
  return requests instanceof PackedRing ? requests : s.skip('the queue is split');
}

export const PACKED_CASES: readonly DeviceCase[] = [
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.order.start-in-ring-order',
    title: 'requests that depend on each other take effect in the order of the ring',
    run: (s) => {
      const ring = packedRing(s);
      const domain = s.domain();
      const posted = post(s, ring, [
        attachBytes(domain, s.a),
        mapOf(s, domain, 1),
        mapOf(s, domain, 1),
        unmapBytes(domain, s.page(1), s.last(1)),
        mapOf(s, domain, 1),
        detachBytes(domain, s.a),
        mapOf(s, domain, 2),
      ]);
      notify(s, ring);
      collect(s, ring, posted);
      const { OK, INVAL, NOENT } = Status;
      const got = posted.map((one) => statusOf(s, one)).join(' ');
      s.check(got === [OK, OK, INVAL, OK, OK, OK, NOENT].join(' '), `the statuses are ${got}`);
    },
  }),
  defineCase({
    ...PACKED_BASE,
    ...small(8),
    id: 'packed.dev.order.write-used-in-completion-order',
    title: 'used descriptors follow one another, each as far on as its list was long',
    run: (s) => {
      const ring = packedRing(s);
      for (let turn = 0; turn < 12; turn += 1) {
        const posted = post(s, ring, requests(s, 1 + (turn % 4)));
        notify(s, ring);
        const order = collect(s, ring, posted).map(({ id }) => id);
        s.note(order.join(' '));
        s.check(ring.nextUsed.slot === ring.next.slot, 'there is a hole in the ring');
      }
    },
  }),
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.order.reorder-writes',
    title: 'the device keeps up with a driver that looks at the next used descriptor only',
    run: (s) => {
      const ring = packedRing(s);
      const posted = post(s, ring, requests(s, 16));
      notify(s, ring);
      collect(s, ring, posted);
    },
  }),
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.desc.no-write-readable',
    title: 'readable buffers stay as they are',
    run: (s) => {
      const ring = packedRing(s);
      const domain = s.attached();
      for (const request of [
        mapOf(s, domain, 1),
        mapOf(s, domain, 1),
        new Uint8Array(20).fill(0x77),
      ]) {
        const posted = post(s, ring, [request]);
        notify(s, ring);
        collect(s, ring, posted);
        for (const { readableAt } of posted)
          s.check(
            readBytes(s.target.memory, readableAt, request.length).join() === request.join(),
            'the readable part was written',
          );
      }
    },
  }),
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.desc.no-read-writable',
    title: 'what writable buffers hold beforehand makes no difference',
    run: (s) => {
      const results = [0x00, 0x5a, 0xff].map((fill) => {
        const domain = s.attached();
        const answers = [
          s.send(mapOf(s, domain, 1), { fill }),
          s.send(mapOf(s, domain, 1), { fill }),
        ];
        s.setUp(s.detach(domain, s.a));
        return answers.map(({ bytes, length }) => `${bytes.join(' ')} of ${length}`).join(', ');
      });
      s.check(new Set(results).size === 1, results.join('; '));
    },
  }),
  ...[0, 1].map((lap) =>
    defineCase({
      ...PACKED_BASE,
      ...small(8),
      id: `packed.dev.desc.use-only-available#lap-${lap}`,
      title: `a descriptor whose flags are of the lap before is not used: lap ${lap}`,
      run: (s) => {
        const ring = packedRing(s);
        const taken = lap === 0 ? 0 : 4;
        for (let turn = 0; turn < taken; turn += 1) s.checkServes();
        const { buffers, ...sent } = prepare(s, attachBytes(s.domain(), s.a));
        const { slot, wrap } = ring.next;
        // All but the two bits that say that it is there.
        const stale = wrap ? 0 : AVAIL | USED;
        for (const [turn, { address, length, writable }] of buffers.entries())
          ring.slotEntry(ring.ahead(ring.next, turn).slot, {
            addr: address,
            len: length,
            id: 77,
            flags: (writable ? WRITE : NEXT) | stale,
          });
        notify(s, ring);
        settle(s);
        s.check(!ring.ready(), 'it was used');
        s.check(statusOf(s, { ...sent, id: 77 }) === undefined, 'its buffer was written');
        s.check((ring.slot(slot).flags & (AVAIL | USED)) === stale, 'the descriptor was written');
      },
    }),
  ),
  defineCase({
    ...PACKED_BASE,
    ...small(8),
    id: 'packed.dev.desc.no-change-after-used',
    title: 'a used descriptor stays as it is while others are used',
    run: (s) => {
      const ring = packedRing(s);
      if (ring.size < 8) s.skip('the queue is too small for this case');
      s.checkServes();
      const before = slotBytes(s, ring, 0);
      for (let turn = 0; turn < 3; turn += 1) {
        s.checkServes();
        s.check(slotBytes(s, ring, 0) === before, 'it was written');
      }
    },
  }),
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.sg.list-limit',
    title: 'lists may grow to the size of the queue, or long ones fail and later ones do not',
    mayBreak: true,
    run: (s) => {
      const domain = s.attached();
      for (let count = 2; count <= packedRing(s).size; count *= 2) {
        const readableCuts = Array.from({ length: Math.min(count - 2, 35) }, () => 1);
        const answer = s.attempt(mapOf(s, domain, count), { readableCuts });
        s.note(`${readableCuts.length + 2} elements: ${answer?.toString() ?? 'a reset is wanted'}`);
        if (answer === undefined) return;
      }
    },
  }),
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.supply.immediate-access',
    title: 'a buffer may be used before its notification',
    run: (s) => {
      const ring = packedRing(s);
      const posted = post(s, ring, requests(s, 1));
      settle(s);
      s.note(`it is used ${ring.ready() ? 'before' : 'after'} the notification`);
      notify(s, ring);
      collect(s, ring, posted);
    },
  }),
  defineCase({
    ...PACKED_BASE,
    id: 'packed.dev.supply.suppress-notify',
    title: 'who notifies only when the device asks for it is served',
    run: (s) => {
      const ring = packedRing(s);
      let silent = 0;
      for (let turn = 0; turn < 40; turn += 1) {
        const posted = post(s, ring, requests(s, 1));
        const { flags } = ring.deviceSuppression();
        s.check((flags & 3) < 2, `without EVENT_IDX the mode is ${flags & 3}`);
        if ((flags & 3) === EventMode.DISABLE) silent += 1;
        else notify(s, ring);
        collect(s, ring, posted);
      }
      s.note(`${silent} of 40 notifications were not asked for`);
    },
  }),
];

/** A MAP of one page. */
export function mapOf(s: Session, domain: number, page: number): Uint8Array {
  const [virtStart, virtEnd] = [s.page(page), s.last(page)];
  return mapBytes({ domain, virtStart, virtEnd, physStart: s.physical(1) });
}

/** Good requests without an effect. */
export function requests(s: Session, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => unmapBytes(s.config.domainRange.last, 0n, 0n));
}

/** A slot as it stands in memory. */
export function slotBytes(s: Session, ring: PackedRing, slot: number): string {
  return readBytes(s.target.memory, ring.layout.descriptorArea + BigInt(16 * slot), 16).join();
}
