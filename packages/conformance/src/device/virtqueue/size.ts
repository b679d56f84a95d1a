/** Requests that are shorter or longer than their structures: what the standard describes, and what it leaves open. */

import { Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { Answer } from '../answer.ts';
import {
  GOOD_REQUESTS,
  type GoodRequest,
  leave,
  needsOf,
  writableOf,
} from '../iommu/good-request.ts';
import type { Session } from '../session.ts';

const SHORT_ROOM = [0, 1, 2, 3] as const;
const HEADS = [0, 1, 2, 3] as const;
const MORE = [1, 4, 44] as const;

export const SIZE_CASES: readonly DeviceCase[] = [
  ...HEADS.flatMap((bytes) => [
    defineCase({
      id: `fact.iommu.parse-failure#readable-${bytes}`,
      title: `a buffer with ${bytes} readable bytes comes back unwritten, with used length 0`,
      needs: ['endpoint'],
      mayBreak: true,
      run: (s) => {
        const answer = s.attempt(Uint8Array.from([1, 0, 0, 0]).subarray(0, bytes));
        s.check(answer !== undefined, 'the device asks for a reset');
        s.check(answer?.untouched === true && answer.length === 0, `${answer?.toString()}`);
      },
    }),
    defineCase({
      id: `open.1.5#${bytes}`,
      title: `a buffer with ${bytes} readable bytes comes back unwritten, or the device asks for a reset`,
      needs: ['endpoint'],
      mayBreak: true,
      run: (s) => {
        const answer = s.attempt(Uint8Array.from([1, 0, 0, 0]).subarray(0, bytes));
        s.note(answer?.toString() ?? 'the device asks for a reset');
        s.check(answer === undefined || (answer.untouched && answer.length === 0), 'it is neither');
      },
    }),
  ]),
  ...GOOD_REQUESTS.flatMap((good) => [
    defineCase({
      id: `open.1.4#${good.name}`,
      title: `${good.name.toUpperCase()} with fewer readable bytes is refused or comes back unwritten, and has no effect`,
      needs: needsOf(good),
      mayBreak: true,
      run: (s) => {
        const seen = new Set<string>();
        for (const bytes of lengthsBelow(good.bytes)) {
          const request = good.make(s);
          // The rest lies behind it in memory, where no honest device finds it.
          const answer = s.attempt(request.slice(0, bytes), {
            writable: writableOf(good, s),
            behind: request.subarray(bytes),
          });
          seen.add(answer?.toString() ?? 'the device asks for a reset');
          if (answer === undefined) break;
          s.check(!answer.ok, `it is reported as OK with ${bytes} bytes`);
          if (good.name !== 'probe')
            s.must(!good.took(s, request), `it takes effect with ${bytes} bytes`);
          leave(s, good, request);
        }
        s.note([...seen].join('; '));
      },
    }),
    defineCase({
      id: `open.1.8#${good.name}`,
      title: `${good.name.toUpperCase()} with more readable bytes is OK or INVAL`,
      needs: needsOf(good),
      run: (s) => {
        for (const more of MORE) {
          const request = good.make(s);
          const longer = new Uint8Array(request.length + more).fill(0xff);
          longer.set(request);
          const answer = s.provoke(longer, { writable: writableOf(good, s) });
          s.note(`${more} more: ${answer.toString()}`);
          s.expect(answer, Status.OK, Status.INVAL);
          if (answer.ok) s.must(good.took(s, request), 'it does not take effect');
          leave(s, good, request);
        }
      },
    }),
    ...SHORT_ROOM.map((writable) =>
      defineCase({
        id: `open.1.6#${good.name}-${writable}`,
        title: `${good.name.toUpperCase()} with ${writable} writable bytes comes back unwritten, or the device asks for a reset`,
        needs: needsOf(good),
        mayBreak: true,
        run: (s) => {
          const answer = s.attempt(good.make(s), { writable, fill: 0xa5 });
          s.note(answer?.toString() ?? 'the device asks for a reset');
          s.check(
            answer === undefined || (answer.untouched && answer.length === 0),
            'it is neither',
          );
        },
      }),
    ),
    defineCase({
      id: `fact.iommu.parse-failure#${good.name}-without-tail`,
      title: `${good.name.toUpperCase()} without room for a status comes back unwritten, with used length 0`,
      needs: needsOf(good),
      mayBreak: true,
      run: (s) => {
        for (const writable of SHORT_ROOM) {
          const request = good.make(s);
          const answer = s.attempt(request, { writable });
          s.check(answer !== undefined, 'the device asks for a reset');
          s.check(answer?.untouched === true && answer.length === 0, `${answer?.toString()}`);
          leave(s, good, request);
        }
      },
    }),
    ...(good.name === 'probe' ? [] : [longRoom(good), withoutRoom(good)]),
  ]),
  defineCase({
    id: 'open.1.1',
    title: 'the used length of a refused request is that of its writable part, or 0',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 0);
      for (const answer of [
        s.mapPages(domain, 0),
        s.mapPages(s.domain(), 0),
        s.attach(s.domain(), s.a, 0x100),
        s.unmapPages(s.domain(), 0),
      ]) {
        s.note(answer.toString());
        s.check(answer.length === 4 || answer.length === 0, `the used length is ${answer.length}`);
        s.should(
          answer.length !== 0 || answer.untouched,
          'a status was written with used length 0',
        );
      }
    },
  }),
  defineCase({
    id: 'open.1.2',
    title: 'a status is written within the used length',
    needs: ['endpoint', 'absent'],
    run: (s) => {
      const answer = s.attach(s.domain(), s.absent);
      s.check(answer.untouched || answer.length >= 4, answer.toString());
    },
  }),
];

/** The tail of a larger writable part is at its start or at its end. */
function longRoom(good: GoodRequest): DeviceCase {
  return defineCase({
    id: `open.1.9#${good.name}`,
    title: `${good.name.toUpperCase()} with more writable bytes has its status at the start or in the last four`,
    needs: needsOf(good),
    run: (s) => {
      for (const more of MORE) {
        const request = good.make(s);
        const answer = s.provoke(request, { writable: 4 + more, fill: 0xa5 });
        const { length, bytes } = answer;
        const place = placeOf(answer, 4 + more);
        s.note(`${more} more: ${place ?? 'elsewhere'}, used length ${length}`);
        s.check(
          place !== undefined,
          `the writable part is ${bytes.join(' ')}, used length ${length}`,
        );
        s.must(good.took(s, request), 'it does not take effect');
        leave(s, good, request);
      }
    },
  });
}

function placeOf({ bytes, length, fill }: Answer, writable: number): string | undefined {
  const rest = (from: number, to?: number): boolean =>
    bytes.subarray(from, to).every((byte) => byte === fill || byte === 0);
  if (bytes[0] === Status.OK && length === 4 && rest(4)) return 'at the start';
  if (bytes.at(-4) === Status.OK && length === writable && rest(0, -4)) return 'at the end';
  return undefined;
}

/** Whether or not a request without room for its status took effect: later ones are consistent. */
function withoutRoom(good: GoodRequest): DeviceCase {
  return defineCase({
    id: `open.1.7#${good.name}`,
    title: `${good.name.toUpperCase()} without room for a status takes effect or does not`,
    needs: needsOf(good),
    mayBreak: true,
    run: (s: Session) => {
      const request = good.make(s);
      const answer = s.attempt(request, { writable: 0 });
      if (answer === undefined) return s.note('the device asks for a reset');
      s.note(good.took(s, request) ? 'it takes effect' : 'it does not');
    },
  });
}

/** The sizes from four bytes on, at and around each field. */
function lengthsBelow(size: number): number[] {
  return Array.from({ length: size - 4 }, (_, index) => 4 + index).filter(
    (bytes) => bytes < 40 || bytes > size - 4 || bytes % 8 === 0,
  );
}
