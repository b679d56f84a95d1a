/** Section "Device Suspend", the device's side: a feature that few devices have. */

import { DeviceStatus, VirtioFeature, featureMask } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import { settle } from '../place.ts';
import { unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { collect, notify, post, ringBytes } from '../virtqueue/burst.ts';

const { DRIVER_OK, SUSPEND, DEVICE_NEEDS_RESET } = DeviceStatus;
const RUNNING = 0x0f;

const BASE: Pick<CaseText, 'wish' | 'start' | 'needs'> = {
  wish: { withFeatures: featureMask(VirtioFeature.SUSPEND) },
  start: { with: featureMask(VirtioFeature.SUSPEND) },
  needs: ['map-unmap'],
};

export const SUSPEND_CASES: readonly DeviceCase[] = [
  ...[0x00, 0x03, 0x0b].map((status) =>
    defineCase({
      ...BASE,
      id: `basic.dev.suspend.ignore-before-init#${status}`,
      title: `SUSPEND is without effect with status ${status}`,
      run: (s) => {
        needSuspend(s);
        s.target.writeStatus(0);
        if (status !== 0) s.target.writeStatus(status);
        s.target.writeStatus(status | SUSPEND);
        s.check((s.target.readStatus() & SUSPEND) === 0, 'the device is suspended');
        s.start(BASE.start === false ? {} : BASE.start);
      },
    }),
  ),
  defineCase({
    ...BASE,
    id: 'basic.dev.suspend.ignore-config-writes',
    title: 'a suspended device drops writes to its configuration',
    needs: ['map-unmap', 'bypass-config'],
    run: (s) => {
      const before = s.config.bypass;
      suspend(s);
      s.config.bypass = 1 - before;
      s.target.writeStatus(RUNNING);
      s.check(s.config.bypass === before, 'bypass has changed');
    },
  }),
  defineCase({
    ...BASE,
    id: 'basic.dev.suspend.quiet',
    title: 'a suspended device uses and announces nothing',
    run: (s) => {
      const ring = s.running.requests;
      suspend(s);
      s.target.takeInterrupts?.();
      const posted = post(s, ring, [unmapBytes(s.config.domainRange.last, 0n, 0n)]);
      const before = ringBytes(s, ring).join();
      notify(s, ring);
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written');
      s.check((s.target.takeInterrupts?.().used ?? 0) === 0, 'something was announced');
      s.target.writeStatus(RUNNING);
      notify(s, ring);
      collect(s, ring, posted);
    },
  }),
  defineCase({
    ...BASE,
    id: 'basic.dev.suspend.suspend-or-needs-reset',
    title: 'SUSPEND suspends the device, or it asks for a reset',
    mayBreak: true,
    run: (s) => {
      needSuspend(s);
      s.target.writeStatus(RUNNING | SUSPEND);
      settle(s);
      const status = s.target.readStatus();
      const suspended = (status & (SUSPEND | DRIVER_OK)) === SUSPEND;
      s.check(suspended || (status & DEVICE_NEEDS_RESET) !== 0, `the status is ${status}`);
    },
  }),
  defineCase({
    ...BASE,
    id: 'basic.dev.suspend.resume-or-needs-reset',
    title: 'DRIVER_OK resumes a suspended device, or it asks for a reset',
    mayBreak: true,
    run: (s) => {
      suspend(s);
      s.target.writeStatus(RUNNING | SUSPEND);
      settle(s);
      const status = s.target.readStatus();
      const resumed = (status & (SUSPEND | DRIVER_OK)) === DRIVER_OK;
      s.check(resumed || (status & DEVICE_NEEDS_RESET) !== 0, `the status is ${status}`);
    },
  }),
  defineCase({
    ...BASE,
    id: 'basic.dev.suspend.drain-before',
    title: 'what a device has taken before it is suspended it gives back',
    run: (s) => {
      const ring = s.running.requests;
      const count = Math.min(16, ring.size >> 1);
      post(
        s,
        ring,
        Array.from({ length: count }, () => unmapBytes(s.config.domainRange.last, 0n, 0n)),
      );
      notify(s, ring);
      suspend(s);
      const before = ringBytes(s, ring).join();
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written afterwards');
    },
  }),
];

function needSuspend(s: Session): void {
  if (!s.has(VirtioFeature.SUSPEND)) s.skip('the device does not offer SUSPEND');
}

/** Suspends the device; skips if that does not work. */
function suspend(s: Session): void {
  needSuspend(s);
  s.target.writeStatus(RUNNING | SUSPEND);
  s.target.wait(() => (s.target.readStatus() & SUSPEND) !== 0, 1000);
  if ((s.target.readStatus() & SUSPEND) === 0) s.skip('the device is not suspended');
}
