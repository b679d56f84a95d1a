/** Sections "Used Buffer Notification Suppression" and "Available Buffer Notification Suppression" of split rings. */

import { IommuQueue, VirtioFeature, featureMask } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import type { SplitRing } from '../../ring/split-ring.ts';
import { settle } from '../place.ts';
import { unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { collect, notify, post } from './burst.ts';
import { splitRing } from './split.ts';

const EVENT_IDX = featureMask(VirtioFeature.EVENT_IDX);
const PACKED = featureMask(VirtioFeature.RING_PACKED);
const SPURIOUS = 1000;
const INTERRUPT_MS = 1000;

const BY_FLAGS: Pick<CaseText, 'needs' | 'start'> = {
  needs: ['interrupts', 'map-unmap'],
  start: { without: PACKED | EVENT_IDX },
};
const BY_EVENT: Pick<CaseText, 'needs' | 'start'> = {
  needs: ['interrupts', 'map-unmap', 'event-index'],
  start: { without: PACKED, with: EVENT_IDX },
};

export const SPLIT_NOTIFICATION_CASES: readonly DeviceCase[] = [
  defineCase({
    ...BY_FLAGS,
    id: 'split.dev.used-notify.flags-zero-notify',
    title: 'with available flags 0 each burst of used buffers is announced',
    run: (s) => {
      const ring = splitRing(s);
      for (const count of [1, 1, 5, 1, 12]) {
        const announced = exchange(s, ring, count, { wait: true });
        s.check(announced, `${count} used buffers were not announced`);
      }
    },
  }),
  defineCase({
    ...BY_FLAGS,
    id: 'split.dev.used-notify.flags-one-silent',
    title: 'with available flags 1 nothing is announced',
    run: (s) => {
      const ring = splitRing(s);
      ring.flags(1);
      for (const count of [1, 4])
        s.check(!exchange(s, ring, count), `${count} used buffers were announced`);
      ring.flags(0);
      s.check(exchange(s, ring, 1, { wait: true }), 'with flags 0 again nothing is announced');
    },
  }),
  ...[0, 1, 0x7fff, 0xffff].map((event) =>
    defineCase({
      ...BY_FLAGS,
      id: `split.dev.used-notify.ignore-used-event#${event}`,
      title: `without EVENT_IDX a used_event of ${event} makes no difference`,
      run: (s) => {
        const ring = splitRing(s);
        ring.entry(ring.size, event);
        for (let turn = 0; turn < 3; turn += 1)
          s.check(exchange(s, ring, 1, { wait: true }), 'a used buffer was not announced');
      },
    }),
  ),
  defineCase({
    ...BY_EVENT,
    id: 'split.dev.used-notify.ignore-flags-with-event-idx',
    title: 'with EVENT_IDX available flags 1 make no difference',
    run: (s) => {
      const ring = splitRing(s);
      ring.flags(1);
      for (let turn = 0; turn < 4; turn += 1) {
        ring.entry(ring.size, ring.usedIndex);
        s.check(exchange(s, ring, 1, { wait: true }), 'a used buffer was not announced');
      }
    },
  }),
  defineCase({
    ...BY_EVENT,
    id: 'split.dev.used-notify.event-hit-notify',
    title: 'the buffer that used_event names is announced, alone and in a burst',
    run: (s) => {
      const ring = splitRing(s);
      for (const [ahead, count] of [
        [0, 1],
        [2, 3],
        [0, 5],
        [4, 5],
        [2, 7],
      ] as const) {
        ring.entry(ring.size, (ring.usedIndex + ahead) & 0xffff);
        const announced = exchange(s, ring, count, { wait: true });
        s.check(announced, `entry ${ahead} of ${count} was named, and not announced`);
      }
    },
  }),
  defineCase({
    ...BY_EVENT,
    id: 'split.dev.used-notify.event-hit-notify#one-by-one',
    title: 'a buffer further on is announced when it comes',
    run: (s) => {
      const ring = splitRing(s);
      ring.entry(ring.size, ring.usedIndex + 2);
      // Whether what is not named is silent is another matter.
      exchange(s, ring, 1);
      exchange(s, ring, 1);
      s.check(exchange(s, ring, 1, { wait: true }), 'the third was not announced');
    },
  }),
  defineCase({
    ...BY_EVENT,
    id: 'split.dev.used-notify.event-hit-notify#wrap',
    title: 'likewise where the index goes from 65535 to 0',
    run: (s) => {
      const ring = splitRing(s);
      // Far ahead all the way there: nothing to announce.
      while (ring.usedIndex < 0xfff0) {
        ring.entry(ring.size, (ring.usedIndex + 0x4000) & 0xffff);
        exchange(s, ring, Math.min(ring.size >> 1, 0xfff8 - ring.usedIndex), { quiet: true });
      }
      for (const event of [0xffff, 0, 3]) {
        ring.entry(ring.size, event);
        const count = ((event - ring.usedIndex) & 0xffff) + 1;
        s.check(exchange(s, ring, count, { wait: true }), `entry ${event} was not announced`);
      }
    },
  }),
  defineCase({
    ...BY_EVENT,
    id: 'split.dev.used-notify.event-miss-silent',
    title: 'buffers that used_event does not name are not announced',
    run: (s) => {
      const ring = splitRing(s);
      for (const ahead of [100, 0x7fff, -1, -2, -50]) {
        ring.entry(ring.size, (ring.usedIndex + ahead) & 0xffff);
        s.check(!exchange(s, ring, 1), `one was announced, with used_event at ${ahead}`);
        ring.entry(ring.size, (ring.usedIndex + ahead) & 0xffff);
        s.check(!exchange(s, ring, 5), `some of 5 were announced, with used_event at ${ahead}`);
      }
    },
  }),
  ...[false, true].map((events) =>
    defineCase({
      id: events
        ? 'split.dev.avail-notify.flags-zero-with-event-idx'
        : 'split.dev.avail-notify.flags-range',
      title: events
        ? 'with EVENT_IDX used flags stay 0'
        : 'without EVENT_IDX used flags are 0 or 1',
      needs: events ? ['map-unmap', 'event-index'] : ['map-unmap'],
      start: { without: events ? PACKED : PACKED | EVENT_IDX, with: events ? EVENT_IDX : 0n },
      run: (s) => {
        const ring = splitRing(s);
        const look = (): void => {
          const flags = ring.deviceFlags();
          s.check(flags === 0 || (!events && flags === 1), `they are ${flags}`);
        };
        look();
        for (const count of [1, 5, 20]) {
          const posted = post(s, ring, requests(s, count));
          look();
          notify(s, ring);
          s.target.wait(() => {
            look();
            return ring.ready();
          }, INTERRUPT_MS);
          collect(s, ring, posted);
          look();
        }
      },
    }),
  ),
  defineCase({
    id: 'split.dev.avail-notify.flags-suppress',
    title: 'used flags may ask for silence, and buffers are used all the same',
    needs: ['map-unmap'],
    start: { without: PACKED | EVENT_IDX },
    run: (s) => {
      const ring = splitRing(s);
      const posted = post(s, ring, requests(s, 4));
      const flags = ring.deviceFlags();
      s.note(`used flags are ${flags}`);
      if (flags === 0) notify(s, ring);
      collect(s, ring, posted);
    },
  }),
  defineCase({
    id: 'split.dev.avail-notify.avail-event',
    title: 'avail_event may name the index to be notified at, and then nothing is left unserved',
    needs: ['map-unmap', 'event-index'],
    start: { without: PACKED, with: EVENT_IDX },
    run: (s) => {
      const ring = splitRing(s);
      let notified = 0;
      for (const count of [1, 3, 1, 8, 2, 1]) {
        const old = ring.availableIndex;
        const posted = post(s, ring, requests(s, count));
        const event = ring.availableEvent();
        const crossed =
          ((ring.availableIndex - event - 1) & 0xffff) < ((ring.availableIndex - old) & 0xffff);
        if (crossed) {
          notify(s, ring);
          notified += 1;
        }
        collect(s, ring, posted);
      }
      s.note(`${notified} of 6 bursts were to be notified`);
    },
  }),
  defineCase({
    id: 'split.dev.avail-notify.spurious-handled',
    title: `${SPURIOUS} notifications of nothing do no harm`,
    needs: ['map-unmap'],
    start: { without: PACKED },
    run: (s) => {
      const ring = splitRing(s);
      for (let turn = 0; turn < SPURIOUS; turn += 1)
        s.target.notify(turn % 2 === 0 ? IommuQueue.REQUEST : IommuQueue.EVENT, ring.position);
      settle(s);
      s.check(!ring.ready(), 'something was used');
      s.check(s.events.take().length === 0, 'an event came');
    },
  }),
];

/** Good requests without an effect. */
function requests(s: Session, count: number): Uint8Array[] {
  const { last } = s.config.domainRange;
  return Array.from({ length: count }, () => unmapBytes(last, 0n, 0n));
}

interface ExchangeOptions {
  /** The announcement must come: there is time for it. */
  readonly wait?: boolean;
  /** Nobody asks whether there was one. */
  readonly quiet?: boolean;
}

/** Sends so many requests at once; true if that they are used was announced. */
function exchange(
  s: Session,
  ring: SplitRing,
  count: number,
  { wait = false, quiet = false }: ExchangeOptions = {},
): boolean {
  if (!quiet) s.target.takeInterrupts?.();
  const posted = post(s, ring, requests(s, count));
  notify(s, ring);
  collect(s, ring, posted);
  if (quiet) return false;
  let seen = 0;
  const look = (): boolean => {
    seen += s.target.takeInterrupts?.().used ?? 0;
    return seen > 0;
  };
  if (wait) s.target.wait(look, INTERRUPT_MS);
  else settle(s);
  return look();
}
