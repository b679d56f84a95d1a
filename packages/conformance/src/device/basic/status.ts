/** Sections "Device Status Field", "Device Reset" and "Device Configuration Space", the device's side. */

import { DeviceStatus, IommuConfig, IommuQueue, MapFlag, Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mappedUnit, setBypass, settle, unit } from '../place.ts';
import { attachBytes, unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { enableRing, negotiate } from '../start.ts';
import { collect, notify, post, ringBytes, statusOf } from '../virtqueue/burst.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, FAILED, DEVICE_NEEDS_RESET } = DeviceStatus;
const RUNNING = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

/** Values that the status has before a reset. */
const BEFORE = [0x00, 0x01, 0x03, 0x0b, 0x0f, 0x8f, 0x83] as const;

export const STATUS_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'fact.basic.status-start',
    title: 'the status is 0 at first',
    start: false,
    run: (s) => s.check(s.target.readStatus() === 0, `it is ${s.target.readStatus()}`),
  }),
  ...[DRIVER | ACKNOWLEDGE | FEATURES_OK, ACKNOWLEDGE | DRIVER].map((status) =>
    defineCase({
      id: `basic.dev.status.idle-before-driver-ok#${status}`,
      title: `with status ${status} nothing is used, and all of it after DRIVER_OK`,
      needs: ['endpoint'],
      start: false,
      run: (s) => {
        if (!negotiate(s.target, featuresOf(s))) s.skip('the features are refused');
        if ((status & FEATURES_OK) === 0) s.target.writeStatus(0);
        if ((status & FEATURES_OK) === 0) s.target.writeStatus(status);
        const ring = enableRing(s.target, s.arena, IommuQueue.REQUEST, { accepted: featuresOf(s) });
        s.target.takeInterrupts?.();
        const posted = post(s, ring, [attachBytes(s.domain(), s.a)]);
        notify(s, ring);
        settle(s);
        s.check(!ring.ready(), 'a buffer was used');
        s.check(
          posted.every((one) => statusOf(s, one) === undefined),
          'a buffer was written',
        );
        s.check((s.target.takeInterrupts?.().used ?? 0) === 0, 'a used buffer was announced');
        if ((status & FEATURES_OK) === 0) return;
        s.target.writeStatus(RUNNING);
        // No driver may notify before: another one is in order.
        notify(s, ring);
        collect(s, ring, posted);
      },
    }),
  ),
  defineCase({
    id: 'open.11.1',
    title:
      'buffers that are there before DRIVER_OK are used after it, at once or when it is notified',
    needs: ['endpoint'],
    start: false,
    run: (s) => {
      if (!negotiate(s.target, featuresOf(s))) s.skip('the features are refused');
      const ring = enableRing(s.target, s.arena, IommuQueue.REQUEST, { accepted: featuresOf(s) });
      const posted = post(s, ring, [attachBytes(s.domain(), s.a)]);
      s.target.writeStatus(RUNNING);
      settle(s);
      s.note(ring.ready() ? 'at once' : 'when it is notified');
      notify(s, ring);
      collect(s, ring, posted);
    },
  }),
  ...BEFORE.map((before) =>
    defineCase({
      id: `basic.dev.reset.status-zero#${before}`,
      title: `a reset with status ${before} ends with status 0, and the device works`,
      start: false,
      run: (s) => {
        if ((before & DRIVER_OK) !== 0) s.start();
        else if ((before & FEATURES_OK) !== 0) negotiate(s.target, featuresOf(s));
        s.target.writeStatus(before);
        s.target.writeStatus(0);
        const status = s.target.readStatus();
        s.check(status === 0, `it is ${status}`);
        s.start();
        s.checkServes();
      },
    }),
  ),
  defineCase({
    id: 'basic.dev.reset.quiet-after-reset',
    title: 'after a reset nothing is used or announced until the device is set up again',
    needs: ['endpoint'],
    run: (s) => {
      const ring = s.running.requests;
      s.checkServes();
      s.target.writeStatus(0);
      s.target.takeInterrupts?.();
      const posted = post(s, ring, [attachBytes(s.domain(), s.a)]);
      const before = ringBytes(s, ring).join();
      notify(s, ring);
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written');
      s.check(
        posted.every((one) => statusOf(s, one) === undefined),
        'a buffer was written',
      );
      s.check((s.target.takeInterrupts?.().used ?? 0) === 0, 'a used buffer was announced');
      s.start();
      s.must(
        posted.every((one) => statusOf(s, one) === undefined),
        'it was written later',
      );
    },
  }),
  defineCase({
    id: 'basic.dev.reset.quiet-after-reset#fault',
    title: 'after a reset no event is written into a buffer of before',
    needs: ['dma', 'map-unmap'],
    wish: { bypass: false },
    run: (s) => {
      setBypass(s, false);
      const { ring } = s.events;
      s.target.writeStatus(0);
      const before = ringBytes(s, ring).join();
      s.dma.access(s.dma.endpoint(), 'write', unit(s, 1).virtStart, new Uint8Array(8));
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written');
    },
  }),
  defineCase({
    id: 'open.7.11',
    title: 'a reset with many requests on their way ends in silence',
    needs: ['map-unmap'],
    run: (s) => {
      const ring = s.running.requests;
      post(
        s,
        ring,
        Array.from({ length: 24 }, () => unmapBytes(s.config.domainRange.last, 0n, 0n)),
      );
      notify(s, ring);
      s.target.writeStatus(0);
      const before = ringBytes(s, ring).join();
      settle(s);
      s.must(ringBytes(s, ring).join() === before, 'the ring was written after the reset');
    },
  }),
  defineCase({
    id: 'fact.iommu.reset-unattached',
    title: 'after a reset no endpoint is attached, and no domain is left',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 1);
      s.target.writeStatus(0);
      s.start();
      const answer = s.mapPages(domain, 3);
      if (answer.ok) s.detach(domain, s.a);
      s.expect(answer, Status.NOENT);
      s.setUp(s.attach(domain, s.a));
      s.check(s.mapPages(domain, 1).ok, 'a mapping is left');
    },
  }),
  ...[false, true].map((bypass) =>
    defineCase({
      id: `fact.iommu.reset-unattached#access-${bypass ? 1 : 0}`,
      title: `after a reset no mapping can be used, with bypass ${bypass ? 1 : 0}`,
      needs: ['dma', 'map-unmap', 'bypass-config'],
      wish: { bypass },
      run: (s) => {
        setBypass(s, bypass);
        const endpoint = s.dma.endpoint();
        const domain = s.attached(endpoint);
        const { virtStart } = unit(s, 2);
        const phys = mappedUnit(s, domain, 2, { flags: MapFlag.READ | MapFlag.WRITE });
        if (!s.dma.write(endpoint, virtStart, phys).reached) s.skip('the mapping is not used');
        s.target.writeStatus(0);
        s.check(!s.dma.write(endpoint, virtStart, phys).reached, 'a write uses the mapping');
        s.start();
        s.check(!s.dma.read(endpoint, virtStart, phys).reached, 'a read uses the mapping');
        setBypass(s, bypass);
        const { reached } = s.dma.read(endpoint, phys, phys);
        s.check(reached === bypass, `the endpoint ${reached ? 'bypasses' : 'does not bypass'}`);
      },
    }),
  ),
  defineCase({
    id: 'basic.dev.config.read-before-features-ok',
    title: 'the configuration reads the same from power-up on',
    start: false,
    run: (s) => {
      const seen = [0, ACKNOWLEDGE, ACKNOWLEDGE | DRIVER].map((status) => {
        s.target.writeStatus(status);
        return configOf(s);
      });
      s.start();
      const running = configOf(s);
      for (const early of seen)
        s.check(early === running, `it is ${early} before, and ${running} afterwards`);
    },
  }),
  ...[
    [ACKNOWLEDGE, 0x41],
    [RUNNING, RUNNING & ~DRIVER],
    [0, RUNNING],
    [RUNNING, RUNNING | FAILED],
  ].map(([first = 0, second = 0]) =>
    defineCase({
      id: `open.11.4#${first}-${second}`,
      title: `a status of ${second} after ${first}, which no driver writes, does no lasting harm`,
      mayBreak: true,
      run: (s) => {
        if (first !== RUNNING) s.target.writeStatus(0);
        if (first !== 0 && first !== RUNNING) s.target.writeStatus(first);
        s.target.writeStatus(second);
        settle(s);
        const status = s.target.readStatus();
        s.note(`the status is 0x${status.toString(16)}`);
        s.target.writeStatus(0);
        s.must(s.target.readStatus() === 0, 'a reset does not end');
        s.start();
      },
    }),
  ),
  defineCase({
    id: 'open.11.2',
    title: 'a notification before DRIVER_OK has no effect',
    start: false,
    run: (s) => {
      if (!negotiate(s.target, featuresOf(s))) s.skip('the features are refused');
      for (const queue of [IommuQueue.REQUEST, IommuQueue.EVENT]) s.target.notify(queue);
      settle(s);
      s.check((s.target.readStatus() & DEVICE_NEEDS_RESET) === 0, 'the device asks for a reset');
      s.start();
    },
  }),
  defineCase({
    id: 'fact.basic.one-format',
    title: 'the event queue has the format of the request queue',
    needs: ['dma', 'map-unmap'],
    wish: { bypass: false },
    run: (s) => {
      setBypass(s, false);
      s.dma.access(s.dma.endpoint(), 'write', unit(s, 1).virtStart, new Uint8Array(8));
      settle(s);
      const events = s.events.take();
      s.note(`${events.length} events in a ${s.events.ring.format} ring`);
      for (const { record } of events)
        s.check(record?.endpoint === s.dma.endpoint(), 'an event is none');
    },
  }),
];

/** What the suite accepts with split rings. */
function featuresOf({ offered }: Session): bigint {
  return offered & ((1n << 32n) | (1n << 33n) | (1n << 36n) | 0x77n);
}

function configOf({ target }: Session): string {
  return Array.from({ length: IommuConfig.size / 4 }, (_, word) => {
    // Beside bypass there are reserved bytes, which may be anything.
    const at = 4 * word;
    return at === IommuConfig.offset.bypass
      ? target.readConfig(at, 1)
      : target.readConfig(at, 4) >>> 0;
  }).join(' ');
}
