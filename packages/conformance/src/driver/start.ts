/** Taking a device over: sections "Feature Bits" and "Device Initialization". */

import {
  DeviceStatus,
  IommuFeature,
  MmioRegister,
  VirtioFeature,
  featureSet,
} from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import { life } from './life.ts';
import { clean, works } from './judge.ts';
import type { DeviceScript } from './scripted-device.ts';
import type { DriverSession } from './session.ts';

const R = MmioRegister;
const { FAILED, DRIVER_OK } = DeviceStatus;
const ALL = (1n << 64n) - 1n;
const mask = (...bits: readonly number[]): bigint => featureSet(bits);
/** Bits that stand for nothing on an IOMMU over virtio-mmio. */
const UNKNOWN = mask(
  ...Array.from({ length: 17 }, (_, index) => 7 + index),
  24,
  25,
  26,
  27,
  30,
  31,
  44,
  45,
  46,
  47,
  48,
  49,
  50,
  62,
  63,
  VirtioFeature.ADMIN_VQ,
);

/** Status values that were written. */
function statuses(s: DriverSession): readonly number[] {
  return s.device.registers.written(R.Status);
}

/** The driver gave the device up. */
function stopped(s: DriverSession, fails: boolean): void {
  const outcome = s.start();
  s.check(outcome.result !== 'ok', 'the driver takes the device over');
  s.check(
    statuses(s).every((value) => (value & DRIVER_OK) === 0),
    'DRIVER_OK is written',
  );
  if (fails)
    s.check(
      statuses(s).some((value) => (value & FAILED) !== 0),
      'FAILED is not written',
    );
}

const BROKEN_STARTS: readonly { name: string; title: string; device: DeviceScript }[] = [
  { name: '', title: 'FEATURES_OK that does not stay', device: { refuseFeatures: true } },
  { name: '#queues', title: 'queues of size 0', device: { queueSizes: [0, 0] } },
];

export const START_CASES: readonly DriverCase[] = [
  defineDriverCase({
    id: 'basic.drv.status.failed-then-reset',
    title: 'the next attempt after FAILED begins with a reset',
    device: { refuseFeatures: true },
    run: (s) => {
      s.start();
      s.start();
      s.judge();
      if (statuses(s).every((value) => (value & FAILED) === 0))
        s.skip('the driver does not write FAILED');
    },
  }),
  defineDriverCase({
    id: 'basic.drv.features.validate-offer',
    title: 'of all 64 bits only known ones are accepted',
    device: { offered: ALL },
    run: (s) => {
      s.note(`the driver is ${s.start().result}`);
      clean(s, 'basic.drv.features.not-accept-unknown');
    },
  }),
  defineDriverCase({
    id: 'basic.drv.features.validate-offer#none',
    title: 'where nothing is offered nothing is accepted',
    device: { offered: 0n },
    run: (s) => {
      s.note(`the driver is ${s.start().result}`);
      clean(s, 'basic.drv.features.subset-of-offer');
    },
  }),
  defineDriverCase({
    id: 'basic.drv.features.ignore-unknown',
    title: 'bits that stand for nothing change nothing',
    device: { with: UNKNOWN },
    run: works,
  }),
  defineDriverCase({
    id: 'basic.drv.features.not-accept-unknown',
    title: 'bits that stand for nothing are not accepted',
    device: { with: UNKNOWN },
    run: (s) => {
      s.start();
      s.judge();
    },
  }),
  defineDriverCase({
    id: 'basic.drv.features.not-fail-on-unknown-offer',
    title: 'bit 63 is no reason to give up',
    device: { with: mask(63) },
    run: works,
  }),
  defineDriverCase({
    id: 'basic.drv.reserved.sr-iov-not-without-cap',
    title: 'SR_IOV over virtio-mmio is not accepted',
    device: { with: mask(VirtioFeature.SR_IOV) },
    run: (s) => {
      s.start();
      s.judge();
    },
  }),
  ...[
    IommuFeature.INPUT_RANGE,
    IommuFeature.DOMAIN_RANGE,
    IommuFeature.PROBE,
    IommuFeature.MMIO,
    IommuFeature.BYPASS_CONFIG,
    VirtioFeature.EVENT_IDX,
    VirtioFeature.INDIRECT_DESC,
  ].map((bit, turn) =>
    defineDriverCase({
      id: `basic.drv.features.fallback-mode${turn === 0 ? '' : `#${bit}`}`,
      title: `a device without feature ${bit} is driven all the same`,
      device: { without: mask(bit) },
      run: works,
    }),
  ),
  ...[IommuFeature.MAP_UNMAP, VirtioFeature.VERSION_1].map((bit, turn) =>
    defineDriverCase({
      id: `basic.drv.features.fail-without-required${turn === 0 ? '' : `#${bit}`}`,
      title: `who cannot do without feature ${bit} writes FAILED and stops`,
      device: { without: mask(bit) },
      run: (s) => {
        if (s.start().result === 'ok') return s.note('the driver does without it');
        s.check(
          statuses(s).some((value) => (value & FAILED) !== 0),
          'FAILED is not written',
        );
        s.check(s.device.layouts.length === 0, 'a queue is enabled');
      },
    }),
  ),
  ...(
    [
      ['version-1-accept', VirtioFeature.VERSION_1],
      ['packed-accept', VirtioFeature.RING_PACKED],
      ['access-platform-accept', VirtioFeature.ACCESS_PLATFORM],
      ['order-platform-accept', VirtioFeature.ORDER_PLATFORM],
    ] as const
  ).map(([name, bit]) =>
    defineDriverCase({
      id: `basic.drv.reserved.${name}`,
      title: `feature ${bit} is accepted where it is offered`,
      device: { with: mask(bit) },
      run: (s) => {
        s.up();
        s.check(s.device.has(bit), `feature ${bit} is not accepted`);
      },
    }),
  ),
  defineDriverCase({
    id: 'basic.drv.reserved.version-1-required',
    title: 'without VERSION_1 a driver may stop',
    device: { without: mask(VirtioFeature.VERSION_1) },
    run: (s) => s.note(`the driver is ${s.start().result}`),
  }),
  ...BROKEN_STARTS.flatMap(({ name, title, device }) => [
    defineDriverCase({
      id: `basic.drv.init.failed-on-error${name}`,
      title,
      device,
      run: (s) => stopped(s, true),
    }),
    defineDriverCase({
      id: `basic.drv.init.stop-on-error${name}`,
      title,
      device,
      run: (s) => stopped(s, false),
    }),
  ]),
  defineDriverCase({
    id: 'basic.drv.init.no-config-write-early',
    title: 'the configuration is not written before FEATURES_OK',
    run: (s) => {
      life(s);
      s.judge();
    },
  }),
  defineDriverCase({
    id: 'basic.drv.reset.wait-status-zero',
    title: 'who resets waits until the status is 0',
    device: { slowReads: 5 },
    run: (s) => {
      const { registers } = s.device;
      registers.status = 0xf;
      s.check(s.start().result === 'ok', 'the driver does not take the device over');
      const from = registers.log.findIndex(
        ({ way, offset, value }) => way === 'write' && offset === R.Status && value === 0,
      );
      const behind = registers.log.slice(from + 1);
      const zero = behind.findIndex(
        ({ way, offset, value }) => way === 'read' && offset === R.Status && value === 0,
      );
      s.check(
        zero >= 0 &&
          behind.slice(0, zero).every(({ way, offset }) => way === 'read' && offset === R.Status),
        'the driver goes on before the status reads 0',
      );
    },
  }),
];
