/** Section "Split Virtqueues", the device's side: descriptors, and what is used. */

import { DescriptorFlag, VirtioFeature, featureMask } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import { readBytes, writeBytes } from '../../ring/bytes.ts';
import { SplitRing } from '../../ring/split-ring.ts';
import { settle } from '../place.ts';
import { attachBytes, mapBytes, probeBytes, unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { collect, notify, post, prepare, statusOf } from './burst.ts';

const INDIRECT_DESC = featureMask(VirtioFeature.INDIRECT_DESC);
const EVENT_IDX = featureMask(VirtioFeature.EVENT_IDX);
const PACKED = featureMask(VirtioFeature.RING_PACKED);
const { INDIRECT, WRITE } = DescriptorFlag;
const LAPS = 66_000;

const PLAIN: Pick<CaseText, 'start' | 'needs'> = {
  needs: ['map-unmap', 'endpoint'],
  start: { without: PACKED },
};

/** The request queue, which is split in all of these cases. */
export function splitRing(s: Session): SplitRing {
  const { requests } = s.running;
  return requests instanceof SplitRing ? requests : s.skip('the queue is packed');
}

export const SPLIT_CASES: readonly DeviceCase[] = [
  defineCase({
    ...PLAIN,
    id: 'split.dev.framing.chain-limit',
    title: 'chains may grow to the size of the queue, or long ones fail and later ones do not',
    mayBreak: true,
    run: (s) => {
      const domain = s.attached();
      const { size } = s.running.requests;
      for (let count = 2; count <= size; count *= 2) {
        const map = mapOf(s, domain, count);
        // One byte a descriptor, as far as they go, and the tail in the last.
        const readableCuts = Array.from({ length: Math.min(count - 2, 35) }, () => 1);
        const answer = s.attempt(map, { readableCuts });
        s.note(
          `${readableCuts.length + 2} descriptors: ${answer?.toString() ?? 'a reset is wanted'}`,
        );
        if (answer === undefined) return;
      }
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.desc.no-write-readable',
    title: 'readable buffers stay as they are, in requests of all outcomes',
    run: (s) => {
      const ring = splitRing(s);
      const domain = s.attached();
      const requests = [
        mapOf(s, domain, 1),
        mapOf(s, domain, 1),
        unmapBytes(domain, s.page(1), s.last(1)),
        new Uint8Array(20).fill(0x77),
      ];
      for (const request of requests) {
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
    ...PLAIN,
    id: 'split.dev.desc.no-read-writable',
    title: 'what writable buffers hold beforehand makes no difference',
    run: (s) => {
      const results = [0x00, 0x01, 0x5a, 0xff].map((fill) => {
        const domain = s.attached();
        const answers = [
          s.send(mapOf(s, domain, 1), { fill }),
          s.send(mapOf(s, domain, 1), { fill }),
          s.send(unmapBytes(domain, s.page(1), s.last(1)), { fill }),
          s.send(attachBytes(s.domain(), s.a, 0x100), { fill }),
        ];
        s.setUp(s.detach(domain, s.a));
        return answers.map(({ bytes, length }) => `${bytes.join(' ')} of ${length}`).join(', ');
      });
      s.check(new Set(results).size === 1, results.join('; '));
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.desc.table-read-only',
    title: 'the descriptor table stays as it is',
    run: (s) => {
      const ring = splitRing(s);
      const domain = s.attached();
      const table = (): string =>
        readBytes(s.target.memory, ring.layout.descriptorArea, 16 * ring.size).join();
      const requests = [0, 1, 2].map((page) => mapOf(s, domain, page));
      const posted = post(s, ring, [...requests, new Uint8Array(4)]);
      const before = table();
      notify(s, ring);
      collect(s, ring, posted);
      s.check(table() === before, 'a descriptor was written');
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.desc.table-read-only#indirect',
    title: 'indirect tables stay as they are',
    needs: ['map-unmap', 'endpoint', 'indirect'],
    start: { without: PACKED, with: INDIRECT_DESC },
    run: (s) => {
      const ring = splitRing(s);
      const { buffers, ...sent } = prepare(s, mapOf(s, s.attached(), 0));
      const tableAt = s.arena.allocate(64);
      const id = ring.offer(buffers, { indirectFrom: 0, tableAt });
      const before = readBytes(s.target.memory, tableAt, 64).join();
      notify(s, ring);
      collect(s, ring, [{ ...sent, id }]);
      s.check(readBytes(s.target.memory, tableAt, 64).join() === before, 'it was written');
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.indirect.write-flag-ignored',
    title: 'the WRITE flag of a descriptor that points to a table makes no difference',
    needs: ['map-unmap', 'endpoint', 'indirect'],
    start: { without: PACKED, with: INDIRECT_DESC },
    run: (s) => {
      const domain = s.attached();
      for (const [page, flags] of [INDIRECT, INDIRECT | WRITE].entries()) {
        const [status, length] = byTable(s, mapOf(s, domain, page), { flags });
        s.check(status === 0 && length === 4, `flags ${flags}: status ${status}, length ${length}`);
      }
      s.check(!s.mapPages(domain, 1).ok, 'the request took no effect');
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.indirect.chain-then-indirect#last-slot',
    title: 'a table may lie anywhere, and its descriptor be any of the queue',
    needs: ['map-unmap', 'endpoint', 'indirect'],
    start: { without: PACKED, with: INDIRECT_DESC },
    run: (s) => {
      const domain = s.attached();
      const last = splitRing(s).size - 1;
      for (const [page, head] of [last, 0, 3].entries()) {
        const [status] = byTable(s, mapOf(s, domain, page), { flags: INDIRECT, head });
        s.check(status === 0, `descriptor ${head}: status ${status}`);
      }
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.used.len-before-idx',
    title: 'used entries are complete when the index shows them',
    run: (s) => {
      const ring = splitRing(s);
      const domain = s.attached();
      // So that what nobody wrote is known.
      const at = ring.layout.deviceArea + 4n;
      for (let turn = 0; turn < 8; turn += 1) {
        const slot = ring.usedIndex % ring.size;
        writeBytes(s.target.memory, at + BigInt(8 * slot), new Uint8Array(8).fill(0xff));
        const posted = post(s, ring, [mapOf(s, domain, turn)]);
        notify(s, ring);
        s.target.wait(() => ring.ready(), 3000);
        const { id, len } = ring.usedElement(slot);
        s.check(id === posted[0]?.id && len <= 4, `the entry has id ${id} and length ${len}`);
        collect(s, ring, posted);
      }
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.used.len-bytes-written',
    title: 'as many bytes as the used length says were written',
    run: (s) => {
      for (const request of ['good', 'refused', 'probe', 'unknown'] as const) {
        const answers = [0x5a, 0xa5].map((fill) => {
          const domain = s.attached();
          const bytes = {
            good: mapOf(s, domain, 1),
            refused: attachBytes(domain, s.a, 0x100),
            probe: probeBytes(s.a),
            unknown: new Uint8Array(20).fill(0x66),
          }[request];
          const writable = request === 'probe' ? s.config.probeSize + 4 : 4;
          const answer = s.send(bytes, { fill, writable });
          s.setUp(s.detach(domain, s.a));
          return answer;
        });
        const [one, other] = answers.map(({ bytes, length }) => bytes.subarray(0, length).join());
        s.check(one === other, `${request}: bytes within the used length were not written`);
      }
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.used.may-write-more',
    title: 'bytes behind the used length may be written',
    run: (s) => {
      const { length, bytes } = s.attach(s.domain(), s.a);
      s.note(`the used length is ${length} of ${bytes.length}`);
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'fact.split.idx-start',
    title: 'indices begin at 0, count each buffer, and go on after 65535',
    run: (s) => {
      const ring = splitRing(s);
      s.check(ring.deviceIndex() === 0, `the used index begins at ${ring.deviceIndex()}`);
      const requests = Array.from({ length: 16 }, () =>
        unmapBytes(s.config.domainRange.last, 0n, 0n),
      );
      for (let sent = 0; sent < LAPS; sent += requests.length) {
        const posted = post(s, ring, requests);
        notify(s, ring);
        collect(s, ring, posted);
        s.check(ring.deviceIndex() === ring.availableIndex, `it is ${ring.deviceIndex()}`);
      }
    },
  }),
  defineCase({
    ...PLAIN,
    id: 'split.dev.supply.immediate-access',
    title: 'a buffer may be used before its notification',
    run: (s) => {
      const ring = splitRing(s);
      const posted = post(s, ring, [mapOf(s, s.attached(), 0)]);
      settle(s);
      s.note(`it is used ${ring.ready() ? 'before' : 'after'} the notification`);
      notify(s, ring);
      collect(s, ring, posted);
      s.must(
        posted.every((one) => statusOf(s, one) === 0),
        'it is not served',
      );
    },
  }),
  ...[false, true].map((events) =>
    defineCase({
      ...PLAIN,
      id: `split.dev.supply.suppress-notify${events ? '#event-index' : ''}`,
      title: 'who notifies only when the device asks for it is served',
      needs: ['map-unmap', 'endpoint', ...(events ? (['event-index'] as const) : [])],
      start: { without: PACKED, ...(events ? { with: EVENT_IDX } : {}) },
      run: (s) => {
        const ring = splitRing(s);
        const domain = s.attached();
        let silent = 0;
        for (let turn = 0; turn < 40; turn += 1) {
          const before = ring.availableIndex;
          const posted = post(s, ring, [mapOf(s, domain, turn)]);
          const wanted = events ? ring.availableEvent() === before : (ring.deviceFlags() & 1) === 0;
          if (wanted) notify(s, ring);
          else silent += 1;
          collect(s, ring, posted);
        }
        s.note(`${silent} of 40 notifications were not asked for`);
      },
    }),
  ),
];

function mapOf(s: Session, domain: number, page: number): Uint8Array {
  const [virtStart, virtEnd] = [s.page(page), s.last(page)];
  return mapBytes({ domain, virtStart, virtEnd, physStart: s.physical(1) });
}

/** Sends a request by a table whose descriptor has these flags; its status and used length. */
function byTable(
  s: Session,
  request: Uint8Array,
  { flags, head = 0 }: { readonly flags: number; readonly head?: number },
): [number | undefined, number | undefined] {
  const ring = splitRing(s);
  const { buffers, ...sent } = prepare(s, request);
  const tableAt = s.arena.allocate(16 * buffers.length);
  ring.chain(buffers, { indirectFrom: 0, tableAt });
  ring.descriptor(head, { addr: tableAt, len: 16 * buffers.length, flags });
  ring.entry(ring.availableIndex % ring.size, head);
  ring.publish(ring.availableIndex + 1);
  const posted = { ...sent, id: head };
  notify(s, ring);
  const [used] = collect(s, ring, [posted]);
  return [statusOf(s, posted), used?.length];
}
