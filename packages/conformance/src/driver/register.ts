/** The registers of virtio-mmio, where something is asked of the driver: section "Virtio Over MMIO". */

import {
  DeviceStatus,
  InterruptBit,
  MmioRegister,
  VirtioFeature,
  featureMask,
} from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { DeviceScript } from './scripted-device.ts';
import { A, type DriverSession } from './session.ts';

const R = MmioRegister;
const { USED_BUFFER, CONFIG_CHANGE } = InterruptBit;
const RING_RESET = featureMask(VirtioFeature.RING_RESET);

/** What may be touched where there is no device. */
const IDENTIFICATION: readonly number[] = [R.MagicValue, R.Version, R.DeviceID, R.VendorID];

/** There is no device for the driver: it only reads what says so. */
function leavesAlone(s: DriverSession, allowed: readonly number[]): void {
  const outcome = s.start();
  const { log, status } = s.device.registers;
  s.check(outcome.result !== 'ok', 'the driver takes it for a device');
  const access = log.find(({ way, offset }) => way === 'write' || !allowed.includes(offset));
  s.check(
    access === undefined,
    `a ${access?.way} at 0x${access?.offset.toString(16)}, where there is no device`,
  );
  s.check(status === 0, 'the status is not 0');
}

/** A queue is reset and works again; returns where in the log that began. */
function resetQueue(s: DriverSession, queue = 0): number {
  s.attached();
  const from = s.device.registers.log.length;
  s.setUp(s.perform({ kind: 'reset-queue', queue }));
  return from;
}

/** Interrupts with these bits, which the driver handles; what it wrote to InterruptACK. */
function acknowledged(s: DriverSession, bits: number): number {
  s.attached();
  s.handleInterrupt();
  const { registers } = s.device;
  const before = registers.written(R.InterruptACK).length;
  s.device.interrupt(bits);
  s.supported(s.handleInterrupt());
  return registers
    .written(R.InterruptACK)
    .slice(before)
    .reduce((all, value) => all | value, 0);
}

const ABSENT: readonly (readonly [id: string, title: string, device: DeviceScript])[] = [
  ['mmio.drv.reg.bad-magic-ignored', 'a wrong magic value is left alone', { magic: 0x7472_6977 }],
  ['mmio.drv.reg.bad-version-ignored', 'version 1 is left alone', { version: 1 }],
  ['mmio.drv.reg.bad-version-ignored#0', 'version 0 is left alone', { version: 0 }],
  ['mmio.drv.reg.bad-version-ignored#3', 'version 3 is left alone', { version: 3 }],
  ['mmio.drv.reg.device-id-zero-ignored', 'device 0 is left alone', { deviceId: 0 }],
  ['mmio.drv.init.abort-device-id-zero', 'device 0 keeps its status 0', { deviceId: 0 }],
  [
    'mmio.drv.init.no-access-device-id-zero',
    'of device 0 nothing but its identification is read',
    { deviceId: 0 },
  ],
];

export const REGISTER_CASES: readonly DriverCase[] = [
  ...ABSENT.map(([id, title, device]) =>
    defineDriverCase({ id, title, device, run: (s) => leavesAlone(s, IDENTIFICATION) }),
  ),
  ...[
    [1, 1],
    [2, 2],
    [8, 8],
    [256, 256],
    [1024, 64],
  ].map((queueSizes, turn) =>
    defineDriverCase({
      id: `mmio.drv.reg.queue-size-limit#of-${queueSizes[0]}`,
      title: `queues of at most ${queueSizes.join(' and ')} are not made larger`,
      device: { queueSizes },
      run: (s) => {
        s.note(`case ${turn + 1}: the driver is ${s.start().result}`);
        s.attach(A);
        s.map(0);
        s.judge('mmio.drv.reg.queue-size-limit');
      },
    }),
  ),
  ...[USED_BUFFER, CONFIG_CHANGE, USED_BUFFER | CONFIG_CHANGE].map((bits) =>
    defineDriverCase({
      id: `mmio.drv.reg.ack-handled${bits === 1 ? '' : `#${bits}`}`,
      title: `an interrupt with bits ${bits} is acknowledged with the same`,
      run: (s) => {
        const value = acknowledged(s, bits);
        s.check(value === bits, `0x${value.toString(16)} is acknowledged`);
        s.check(s.device.registers.interruptStatus === 0, 'the interrupt stays');
      },
    }),
  ),
  defineDriverCase({
    id: 'mmio.drv.irq.acknowledge',
    title: 'a handled interrupt is acknowledged and goes away',
    run: (s) => {
      acknowledged(s, USED_BUFFER);
      s.check(s.device.registers.interruptStatus === 0, 'the interrupt stays');
    },
  }),
  defineDriverCase({
    id: 'mmio.drv.reg.ack-defined-only#undefined',
    title: 'undefined bits are not acknowledged',
    run: (s) => {
      const value = acknowledged(s, 0xffff_fffd);
      s.check((value & ~3) === 0, `0x${(value >>> 0).toString(16)} is acknowledged`);
    },
  }),
  defineDriverCase({
    id: 'mmio.drv.reg.interrupt-undefined-ignored',
    title: 'undefined bits beside the used-buffer bit change nothing',
    run: (s) => {
      s.attached();
      s.device.inject({ reason: 2, flags: 0x102, endpoint: A, address: 0x1000n });
      s.device.interrupt(0xffff_fffd);
      s.supported(s.handleInterrupt());
      s.check(s.faults().length === 1, 'the record is not found');
      s.must(s.map(0).result === 'ok', 'the driver does not map afterwards');
    },
  }),
  defineDriverCase({
    id: 'mmio.drv.irq.used-bit-all-queues',
    title: 'one interrupt is about all queues',
    run: (s) => {
      s.attached();
      s.faults();
      // The record comes while the driver waits for a MAP.
      s.device.inject({ reason: 2, flags: 0x102, endpoint: A, address: 0x1000n });
      s.check(s.map(0).result === 'ok', 'the MAP is not completed');
      s.supported(s.handleInterrupt());
      s.check(s.faults().length === 1, 'the fault record beside it is not found');
    },
  }),
  defineDriverCase({
    id: 'split.drv.used-notify.spurious-handled',
    title: 'interrupts for nothing do nothing',
    run: (s) => {
      s.attached();
      s.setUp(s.map(0));
      s.faults();
      for (let turn = 0; turn < 20; turn += 1) {
        s.device.interrupt(USED_BUFFER);
        s.supported(s.handleInterrupt());
      }
      s.check(s.faults().length === 0, 'the driver tells of faults that nobody reported');
      s.must(
        s.map(1).result === 'ok' && s.unmap(0, 2).result !== 'unsupported',
        'the driver does not go on',
      );
    },
  }),
  defineDriverCase({
    id: 'mmio.drv.reg.queue-reset-wait',
    title: 'a queue is not programmed before its reset is done',
    device: { with: RING_RESET, slowReads: 4 },
    run: (s) => {
      const from = resetQueue(s);
      const log = s.device.registers.log.slice(from);
      const asked = log.findIndex(({ way, offset }) => way === 'write' && offset === R.QueueReset);
      if (asked < 0) s.skip('the driver does not use QueueReset');
      const done = log.findIndex(
        ({ way, offset, value }, at) =>
          at > asked && way === 'read' && offset === R.QueueReset && value === 0,
      );
      s.check(
        done > asked && log.slice(asked + 1, done).every(({ way }) => way === 'read'),
        'registers are written before QueueReset reads 0',
      );
    },
  }),
  ...[0, 1].map((queue) =>
    defineDriverCase({
      id: `basic.drv.queue-reset.reenable-like-init${queue === 0 ? '' : '#events'}`,
      title: `${queue === 0 ? 'the request queue' : 'the event queue'} is set up anew after its reset`,
      device: { with: RING_RESET },
      run: (s) => {
        const from = resetQueue(s, queue);
        const log = s.device.registers.log.slice(from).filter(({ way }) => way === 'write');
        const ready = log.findIndex(({ offset, value }) => offset === R.QueueReady && value === 1);
        s.check(ready >= 0, 'the queue is not enabled again');
        const before = new Set(log.slice(0, ready).map(({ offset }) => offset));
        const all = [
          R.QueueSize,
          R.QueueDescLow,
          R.QueueDescHigh,
          R.QueueDriverLow,
          R.QueueDriverHigh,
          R.QueueDeviceLow,
          R.QueueDeviceHigh,
        ];
        s.check(
          all.every((offset) => before.has(offset)),
          'not all of the queue is programmed',
        );
        s.must(s.map(0).result === 'ok', 'the driver does not map afterwards');
      },
    }),
  ),
  defineDriverCase({
    id: 'basic.drv.queue-reset.verify',
    title: 'the driver looks whether the reset is done',
    device: { with: RING_RESET, slowReads: 4 },
    run: (s) => {
      const from = resetQueue(s);
      const reads = s.device.registers.log
        .slice(from)
        .filter(
          ({ way, offset }) =>
            way === 'read' && (offset === R.QueueReset || offset === R.QueueReady),
        );
      s.check(reads.length > 0, 'neither QueueReset nor QueueReady is read');
      s.must(s.map(0).result === 'ok', 'the driver does not map afterwards');
    },
  }),
  ...['mmio.drv.reg.stop-writes-zero', 'basic.drv.cleanup.quiesce-before-removal'].map((id) =>
    defineDriverCase({
      id,
      title: 'a driver that goes resets the device or stops its queues',
      run: (s) => {
        s.attached();
        const from = s.device.registers.log.length;
        s.setUp(s.perform({ kind: 'remove' }));
        const log = s.device.registers.log.slice(from);
        const stops = log.filter(
          ({ way, offset, value }) =>
            way === 'write' && value === 0 && (offset === R.Status || offset === R.QueueReady),
        );
        s.check(stops.length > 0, 'neither Status nor QueueReady is written 0');
        s.check(
          (s.device.registers.status & DeviceStatus.DRIVER_OK) === 0 ||
            s.device.rings.every((ring) => ring === undefined),
          'a queue stays alive',
        );
      },
    }),
  ),
  defineDriverCase({
    id: 'mmio.drv.reg.stop-reads-back',
    title: 'who stops reads that it is done',
    run: (s) => {
      s.attached();
      const from = s.device.registers.log.length;
      s.setUp(s.perform({ kind: 'remove' }));
      const log = s.device.registers.log.slice(from);
      const stop = log.findLastIndex(
        ({ way, offset, value }) =>
          way === 'write' && value === 0 && (offset === R.Status || offset === R.QueueReady),
      );
      const { offset: register = -1 } = log[stop] ?? {};
      s.check(
        log.slice(stop + 1).some(({ way, offset }) => way === 'read' && offset === register),
        'the register is not read back',
      );
    },
  }),
];
