/** Notifications of available buffers: sections "Available Buffer Notification Suppression" and the like. */

import { IommuQueue, RequestType, VirtioFeature, featureMask } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { DeviceScript } from './scripted-device.ts';
import type { DriverSession } from './session.ts';
import { SplitDeviceRing } from './split-device-ring.ts';

const { REQUEST } = IommuQueue;
const EVENT_INDEX = featureMask(VirtioFeature.EVENT_IDX);
const PACKED = featureMask(VirtioFeature.RING_PACKED);
const FLAGS: DeviceScript = { without: EVENT_INDEX };

/** Notifications of the request queue so far. */
function count(s: DriverSession): number {
  return s.device.notifications.filter(({ queue }) => queue === REQUEST).length;
}

/** The request queue, as a split one. */
function split(s: DriverSession): SplitDeviceRing {
  const ring = s.device.requests;
  return ring instanceof SplitDeviceRing ? ring : s.skip('the driver does not use split rings');
}

/** The case is about EVENT_IDX, which a driver need not accept. */
function eventIndexed(s: DriverSession): void {
  if (!s.device.has(VirtioFeature.EVENT_IDX)) s.skip('the driver does not accept EVENT_IDX');
}

/** The driver sends some requests; the device was told of the last of them. */
function notifies(s: DriverSession, prepare: (s: DriverSession) => void = () => undefined): void {
  s.attached();
  for (let turn = 0; turn < 12; turn += 1) {
    prepare(s);
    const before = count(s);
    s.setUp(s.map(turn));
    s.check(count(s) > before, `MAP ${turn + 1} is sent without a notification`);
    s.check(
      s.device.notifiedAt.get(REQUEST) === s.device.requests?.position,
      'the last request came after the last notification',
    );
  }
}

/** The device polls, and says that it wants no notifications: with them nothing breaks, without them it is better. */
function silent(s: DriverSession): void {
  s.attached();
  s.device.requests?.wantNotifications(false);
  const before = count(s);
  for (let turn = 0; turn < 12; turn += 1) s.setUp(s.map(turn));
  s.check(
    count(s) === before,
    `${count(s) - before} notifications of 12 requests that nobody wants`,
  );
}

export const NOTIFICATION_CASES: readonly DriverCase[] = [
  defineDriverCase({
    id: 'split.drv.avail-notify.flags-zero-notify',
    title: 'with used.flags 0 every new request is notified',
    device: FLAGS,
    run: (s) => notifies(s),
  }),
  defineDriverCase({
    id: 'split.drv.avail-notify.ignore-avail-event',
    title: 'without EVENT_IDX avail_event means nothing',
    device: FLAGS,
    run: (s) => notifies(s, () => split(s).availableEvent(0x7fff)),
  }),
  defineDriverCase({
    id: 'split.drv.avail-notify.flags-one-silent',
    title: 'with used.flags 1 nothing is notified',
    device: FLAGS,
    run: silent,
  }),
  defineDriverCase({
    id: 'split.drv.avail-notify.ignore-flags-with-event-idx',
    title: 'with EVENT_IDX used.flags mean nothing',
    run: (s) =>
      notifies(s, () => {
        eventIndexed(s);
        split(s).flags(1);
      }),
  }),
  defineDriverCase({
    id: 'split.drv.avail-notify.event-hit-notify',
    title: 'the request that avail_event names is notified',
    run: (s) => notifies(s, eventIndexed),
  }),
  defineDriverCase({
    id: 'split.drv.avail-notify.event-miss-silent',
    title: 'with avail_event far off nothing is notified',
    run: (s) => {
      silent(s);
      eventIndexed(s);
    },
  }),
  defineDriverCase({
    id: 'open.9.6#packed',
    title: 'in a packed ring every new request is notified where the device wants it',
    device: { with: PACKED },
    run: (s) => notifies(s),
  }),
  defineDriverCase({
    id: 'open.11.24#packed',
    title: 'in a packed ring nothing is notified where the device does not want it',
    device: { with: PACKED },
    run: silent,
  }),
  ...[{}, { with: PACKED }].map((device: DeviceScript, turn) =>
    defineDriverCase({
      id: `open.8.3${turn === 0 ? '' : '#packed'}`,
      title: 'the device hears of the first event buffers',
      device,
      run: (s) => {
        s.up();
        const told = s.device.notifications.some(({ queue }) => queue === IommuQueue.EVENT);
        s.should(
          told || s.device.events?.inFlight === 0,
          'event buffers are there and nobody is notified',
        );
      },
    }),
  ),
  defineDriverCase({
    id: 'split.drv.supply.batching',
    title: 'requests that are shown together are answered together',
    run: (s) => {
      s.attached();
      s.setUp(s.map(0, 8));
      s.note(`${s.requests(RequestType.MAP).length} MAPs for 8 pages, ${count(s)} notifications`);
    },
  }),
];
