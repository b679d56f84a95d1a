/** Section "IOMMU Device / Device operations", the device's side: what all requests have in common. */

import { Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { Answer } from '../answer.ts';
import { GOOD_REQUESTS, leave, needsOf, writableOf } from './good-request.ts';
import { memory, setBypass, unit } from '../place.ts';
import { attachBytes, mapBytes, unmapBytes, withBytes } from '../request.ts';
import type { Session } from '../session.ts';

/** Types that nobody has defined: beside those that are, and the ends of a byte. */
const UNKNOWN_TYPES = [0, 6, 7, 0x7f, 0x80, 0x85, 0xff] as const;

/** Ways to be attached to nothing. */
const UNATTACHED = {
  never: 'that was never attached',
  refused: 'whose ATTACH was refused',
  detached: 'that was detached',
  beside: 'beside another one that is attached',
} as const;

export const OPERATION_CASES: readonly DeviceCase[] = [
  ...GOOD_REQUESTS.map((good) =>
    defineCase({
      id: `iommu.dev.req.status-ok#${good.name}`,
      title: `${good.name.toUpperCase()} takes effect and reports OK, with a used length that covers the status`,
      needs: needsOf(good),
      run: (s) => {
        const request = good.make(s);
        const writable = writableOf(good, s);
        const answer = s.send(request, { writable });
        s.expect(answer, Status.OK);
        s.should(
          answer.length === writable,
          `the used length is ${answer.length}, and ${writable} bytes were written`,
        );
        s.must(good.took(s, request), 'the request did not take effect');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.req.status-ok#again',
    title: 'the same succeeds many times over',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.domain();
      for (let turn = 0; turn < 200; turn += 1) {
        s.expect(s.attach(domain, s.a), Status.OK);
        s.expect(s.mapPages(domain, turn % 200, 3), Status.OK);
        s.expect(s.unmapPages(domain, turn % 200, 3), Status.OK);
        s.expect(s.mapPages(domain, 0), Status.OK);
        s.expect(s.detach(domain, s.a), Status.OK);
      }
    },
  }),
  ...UNKNOWN_TYPES.flatMap((type) => {
    const request = (): Uint8Array => withBytes(new Uint8Array(36), { 0: type, 4: 1 });
    const label = `type 0x${type.toString(16)}`;
    return [
      defineCase({
        id: `iommu.dev.req.unknown-type-not-written#${type}`,
        title: `a request of ${label} comes back unwritten`,
        run: (s) => {
          for (const [fill, writable] of [
            [0xa5, 4],
            [0, 4],
            [0xa5, 68],
          ] as const) {
            const answer = s.provoke(request(), { label, fill, writable });
            s.must(
              fill === 0 || !answerSays(answer, Status.OK),
              'a request of an unknown type is reported as OK',
            );
            s.check(answer.untouched, `the writable part was written: ${answer.toString()}`);
          }
        },
      }),
      defineCase({
        id: `iommu.dev.req.unknown-type-used-len-zero#${type}`,
        title: `a request of ${label} comes back with used length 0`,
        run: (s) => {
          const { length, writeFlag } = s.provoke(request(), { label });
          s.check(writeFlag === false || length === 0, `the used length is ${length}`);
        },
      }),
    ];
  }),
  ...GOOD_REQUESTS.map((good) =>
    defineCase({
      id: `iommu.dev.req.head-reserved-ignored#${good.name}`,
      title: `reserved bytes in the head of ${good.name.toUpperCase()} make no difference`,
      needs: needsOf(good),
      run: (s) => {
        for (const change of [{ 1: 1 }, { 2: 0x80 }, { 3: 0xff }, { 1: 0xff, 2: 0xff, 3: 0xff }]) {
          const request = withBytes(good.make(s), change);
          const answer = s.provoke(request, { writable: writableOf(good, s) });
          s.expect(answer, Status.OK);
          s.check(good.took(s, request), 'the request did not take effect');
          leave(s, good, request);
        }
      },
    }),
  ),
  ...GOOD_REQUESTS.map((good) =>
    defineCase({
      id: `iommu.dev.req.tail-reserved-zero#${good.name}`,
      title: `the tail of ${good.name.toUpperCase()} has zeros behind the status`,
      needs: needsOf(good),
      run: (s) => {
        for (const fill of [0xff, 0x01]) {
          const request = good.make(s);
          checkTail(s, s.send(request, { writable: writableOf(good, s), fill }));
          leave(s, good, request);
        }
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.req.tail-reserved-zero#refused',
    title: 'the tail of a refused request has zeros behind the status',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const [virtStart, virtEnd, physStart] = [s.page(0), s.last(0), s.physical(1)];
      const missing = s.domain();
      const domain = s.attached();
      s.mapped(domain, 0, 4);
      for (const request of [
        attachBytes(domain, s.a, 0x8000_0000),
        mapBytes({ domain: missing, virtStart, virtEnd, physStart }),
        mapBytes({ domain, virtStart, virtEnd, physStart }),
        unmapBytes(missing, virtStart, virtEnd),
        unmapBytes(domain, virtStart, virtEnd),
      ])
        checkTail(s, s.provoke(request, { fill: 0xff }));
    },
  }),
  ...(['never', 'refused', 'detached', 'beside'] as const).map((how) =>
    defineCase({
      id: `iommu.dev.req.unattached-no-access#${how}`,
      title: `an endpoint ${UNATTACHED[how]} reaches no memory without bypass`,
      needs: how === 'beside' ? ['two-dma', 'map-unmap'] : ['dma'],
      wish: { bypass: false },
      run: (s) => {
        setBypass(s, false);
        const endpoint = s.dma.endpoint();
        // At an address that is its own translation, so that any kind of access shows.
        const phys = memory(s);
        if (how === 'refused') s.attach(s.domain(), endpoint, 0x8000_0000);
        if (how === 'detached') s.setUp(s.detach(s.attached(endpoint), endpoint));
        if (how === 'beside') {
          const domain = s.attached(s.dma.endpoint(1));
          s.setUp(s.map({ domain, ...aligned(s, phys), physStart: phys }));
        }
        s.must(!s.dma.write(endpoint, phys, phys).reached, 'the write went through');
        s.must(!s.dma.read(endpoint, phys, phys).reached, 'the read went through');
      },
    }),
  ),
];

function aligned(s: Session, at: bigint): { virtStart: bigint; virtEnd: bigint } {
  return { virtStart: at, virtEnd: at + unit(s, 0).virtEnd - unit(s, 0).virtStart };
}

/** Whether the status, wherever a device may put it, is this one. */
function answerSays({ bytes, untouched, length }: Answer, status: Status): boolean {
  return !untouched && length > 0 && (bytes[0] === status || bytes.at(-4) === status);
}

function checkTail(s: Session, answer: Answer): void {
  if (answer.status === undefined) return;
  s.check(
    answer.tail.subarray(1).every((byte) => byte === 0),
    `the tail is ${Array.from(answer.tail, (byte) => byte.toString(16).padStart(2, '0')).join(' ')}`,
  );
}
