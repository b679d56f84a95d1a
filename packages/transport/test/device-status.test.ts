/** The device status register: section "Device Status Field" and "Device Reset", device side. */

import { describe, expect, it } from 'vitest';
import { R, RING_RESET, VERSION_1 } from './kit/register.ts';
import { Rig, answer, layoutOf, request } from './kit/rig.ts';

describe('status writes', () => {
  it('fact.basic.status-start: the first read is 0', () => {
    expect(new Rig().get(R.status)).toBe(0);
  });

  it('walks the usual sequence', () => {
    const rig = new Rig();
    for (const status of [0x01, 0x03]) {
      rig.set(R.status, status);
      expect(rig.get(R.status)).toBe(status);
    }
    expect(rig.features()).toBe(0x0b);
    rig.set(R.status, 0x0f);
    expect(rig.get(R.status)).toBe(0x0f);
  });

  it('(11.4) ignores a write that clears a bit and is not 0', () => {
    const rig = new Rig();
    rig.features();
    for (const written of [0x01, 0x03, 0x09, 0x0a, 0x08, 0x80, 0x100, 0x20]) {
      rig.set(R.status, written);
      expect(rig.get(R.status)).toBe(0x0b);
    }
    rig.set(R.status, 0x0f);
    rig.set(R.status, 0x0b);
    expect(rig.get(R.status)).toBe(0x0f);
  });

  it('(11.4) leaves a bit clear whose turn has not come', () => {
    const table: readonly (readonly [from: number, written: number, status: number])[] = [
      [0x00, 0x02, 0x00],
      [0x00, 0x04, 0x00],
      [0x00, 0x08, 0x00],
      [0x00, 0x0c, 0x00],
      [0x00, 0x03, 0x03],
      [0x01, 0x09, 0x01],
      [0x01, 0x05, 0x01],
      [0x03, 0x07, 0x03],
      // Bits that the device sets, that need a feature or that nobody defined.
      [0x00, 0x41, 0x01],
      [0x01, 0x53, 0x03],
      [0x03, 0x23, 0x03],
      [0x03, 0xffff_ff03, 0x03],
      // FAILED may come at any time.
      [0x00, 0x80, 0x80],
      [0x03, 0x8b, 0x83],
    ];
    for (const [from, written, status] of table) {
      const rig = new Rig();
      rig.set(R.status, from);
      rig.set(R.status, written);
      expect(rig.get(R.status), `${from.toString(16)} <- ${written.toString(16)}`).toBe(status);
    }
  });

  it('(11.4) settles features before DRIVER_OK can follow', () => {
    const rig = new Rig();
    rig.features();
    rig.set(R.status, 0);
    rig.set(R.status, 0x03);
    rig.set(R.driverFeaturesSel, 1);
    rig.set(R.driverFeatures, 1);
    rig.set(R.status, 0x0f);
    expect(rig.get(R.status)).toBe(0x0b);
    expect(rig.device.log).not.toContain('start');
    rig.set(R.status, 0x0f);
    expect(rig.get(R.status)).toBe(0x0f);
    expect(rig.device.log.filter((entry) => entry === 'start')).toHaveLength(1);
  });

  it('basic.dev.suspend.ignore-before-init: SUSPEND is never shown (11.21)', () => {
    const rig = new Rig();
    for (const [reach, status] of [
      [0x00, 0x00],
      [0x03, 0x03],
    ] as const) {
      rig.set(R.status, reach);
      rig.set(R.status, reach | 0x10);
      expect(rig.get(R.status)).toBe(status);
    }
    rig.features();
    rig.set(R.status, 0x1b);
    expect(rig.get(R.status)).toBe(0x0b);
    rig.set(R.status, 0x1f);
    expect(rig.get(R.status)).toBe(0x0f);
  });

  it('goes nowhere but to a reset after FAILED', () => {
    const rig = new Rig();
    rig.features();
    rig.set(R.status, 0x8b);
    rig.set(R.status, 0x8f);
    expect(rig.get(R.status)).toBe(0x8b);
    expect(rig.device.log).not.toContain('start');
    expect(rig.start()).toBe(0x0f);
  });

  it('takes the queues from a device whose driver gives up', () => {
    const rig = new Rig();
    const driver = rig.driverQueue(layoutOf(0));
    rig.start();
    rig.set(R.status, 0x8f);
    expect(rig.get(R.status)).toBe(0x8f);
    request(rig, driver, 1);
    expect(rig.mmio.serve()).toBe(false);
    expect(rig.device.log.slice(-2)).toEqual(['queueStopped 0', 'queueStopped 1']);
    expect(driver.ready()).toBe(false);
  });
});

describe('before DRIVER_OK', () => {
  it('basic.dev.status.idle-before-driver-ok: nothing is consumed, nothing notified (11.1, 11.2)', () => {
    const rig = new Rig();
    rig.features();
    const driver = rig.driverQueue(layoutOf(0));
    rig.program(0, layoutOf(0));
    rig.set(R.queueReady, 1);
    request(rig, driver, 1);
    const before = rig.ram();
    const bell = rig.control.interruptBell(0).value();
    rig.set(R.queueNotify, 0);
    rig.control.doorbells(0).ring(0, 0);
    expect(rig.mmio.serve()).toBe(false);
    expect(rig.mmio.arm()).toBe(true);
    expect(rig.ram()).toEqual(before);
    expect(rig.get(R.interruptStatus)).toBe(0);
    expect(rig.control.interruptBell(0).value()).toBe(bell);

    rig.set(R.status, 0x0f);
    // Without another notification.
    expect(rig.mmio.serve()).toBe(true);
    expect(driver.take()).toBe(1);
    expect(answer(rig, 1)).toBe(0x1112);
  });
});

describe('DEVICE_NEEDS_RESET', () => {
  it('basic.dev.status.set-needs-reset: a damaged ring costs the device', () => {
    const rig = new Rig();
    rig.start();
    // The available index jumps over the whole ring.
    rig.memory.setUint16(0x402, 100);
    rig.mmio.serve();
    expect(rig.get(R.status)).toBe(0x4f);
    expect(rig.mmio.fault).toMatch(/available index/);
    expect(rig.mmio.serve()).toBe(false);
  });

  it('basic.dev.status.needs-reset-notify: comes with a configuration change notification', () => {
    const rig = new Rig();
    rig.start();
    const bell = rig.control.interruptBell(0).value();
    rig.device.port?.needsReset('a test says so');
    expect(rig.get(R.status)).toBe(0x4f);
    expect(rig.get(R.interruptStatus)).toBe(2);
    expect(rig.control.interruptBell(0).value()).not.toBe(bell);
  });

  it('is not cleared, and not set, by a driver (11.4)', () => {
    const rig = new Rig();
    rig.start();
    rig.set(R.status, 0x4f);
    expect(rig.get(R.status)).toBe(0x0f);
    rig.device.port?.needsReset('a test says so');
    rig.set(R.status, 0x0f);
    expect(rig.get(R.status)).toBe(0x4f);
    rig.set(R.status, 0);
    expect(rig.get(R.status)).toBe(0);
    expect(rig.mmio.fault).toBeUndefined();
  });

  it('publishes nothing afterwards (11.22)', () => {
    const rig = new Rig();
    const driver = rig.driverQueue(layoutOf(0));
    rig.start();
    rig.device.port?.needsReset('a test says so');
    rig.set(R.interruptAck, 2);
    request(rig, driver, 1);
    const before = rig.ram();
    rig.device.port?.interrupt(0);
    rig.device.port?.configChanged();
    expect(rig.mmio.serve()).toBe(false);
    expect(rig.ram()).toEqual(before);
    expect(rig.get(R.interruptStatus)).toBe(0);
  });
});

describe('device reset', () => {
  it('basic.dev.reset.status-zero: from every status (fact.mmio.status-zero-resets)', () => {
    const stages: Record<number, (rig: Rig) => void> = {
      0x01: (rig) => rig.set(R.status, 0x01),
      0x03: (rig) => rig.set(R.status, 0x03),
      0x0b: (rig) => rig.features(),
      0x0f: (rig) => rig.start(),
      0x4f: (rig) => {
        rig.start();
        rig.device.port?.needsReset('a test says so');
      },
      0x8f: (rig) => {
        rig.start();
        rig.set(R.status, 0x8f);
      },
    };
    for (const [status, reach] of Object.entries(stages)) {
      const rig = new Rig();
      reach(rig);
      expect(rig.get(R.status)).toBe(Number(status));
      rig.set(R.status, 0);
      expect(rig.get(R.status)).toBe(0);
      expect(rig.device.log.at(-1)).toBe('reset');
      expect(rig.start()).toBe(0x0f);
    }
  });

  it('basic.dev.reset.quiet-after-reset: touches neither rings nor buffers (7.11)', () => {
    const rig = new Rig();
    const driver = rig.driverQueue(layoutOf(0));
    rig.start();
    request(rig, driver, 1);
    const port = rig.device.port;
    rig.set(R.status, 0);
    request(rig, driver, 2);
    const before = rig.ram();
    const bell = rig.control.interruptBell(0).value();
    rig.set(R.queueNotify, 0);
    rig.mmio.serve();
    rig.mmio.arm();
    rig.mmio.suppress();
    // Even if the device type forgot that it was reset.
    port?.interrupt(0);
    port?.configChanged();
    port?.needsReset('a test says so');
    expect(rig.ram()).toEqual(before);
    expect(rig.get(R.status)).toBe(0);
    expect(rig.get(R.interruptStatus)).toBe(0);
    expect(rig.control.interruptBell(0).value()).toBe(bell);
  });

  it('mmio.dev.reg.reset-clears: InterruptStatus and every QueueReady', () => {
    const rig = new Rig();
    rig.start();
    rig.device.port?.interrupt(0);
    rig.device.port?.configChanged();
    expect(rig.get(R.interruptStatus)).toBe(3);
    rig.set(R.status, 0);
    expect(rig.get(R.interruptStatus)).toBe(0);
    for (const index of [0, 1]) {
      rig.set(R.queueSel, index);
      expect(rig.get(R.queueReady)).toBe(0);
    }
  });

  it('returns selectors, sizes, addresses and written features to their first values', () => {
    const rig = new Rig();
    rig.start();
    rig.set(R.queueSel, 1);
    rig.set(R.deviceFeaturesSel, 1);
    rig.set(R.status, 0);
    expect(rig.get(R.queueSizeMax)).toBe(16);
    expect(rig.get(R.deviceFeatures)).toBe(Number(rig.device.offeredFeatures & 0xffff_ffffn));
    // No feature is left, VERSION_1 neither.
    rig.set(R.status, 0x03);
    rig.set(R.status, 0x0b);
    expect(rig.get(R.status)).toBe(0x03);
    // The selector for features is back at word 0: this accepts bit 0 and no VERSION_1.
    rig.set(R.status, 0);
    rig.set(R.status, 0x03);
    rig.set(R.driverFeatures, 1);
    rig.set(R.status, 0x0b);
    expect(rig.get(R.status)).toBe(0x03);
    // No size is left.
    rig.features(VERSION_1);
    rig.set(R.queueReady, 1);
    expect(rig.get(R.queueReady)).toBe(0);
    expect(rig.get(R.status)).toBe(0x0b);
    // And no address: 0 lies outside memory.
    rig.set(R.queueSize, 8);
    rig.set(R.queueReady, 1);
    expect(rig.get(R.status)).toBe(0x4b);
  });

  it('forgets RING_RESET with the other features', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    rig.set(R.status, 0);
    rig.program(0, layoutOf(0));
    rig.set(R.queueReset, 1);
    rig.set(R.status, 0x03);
    rig.set(R.driverFeaturesSel, 1);
    rig.set(R.driverFeatures, 1);
    rig.set(R.status, 0x0b);
    rig.set(R.queueReady, 1);
    expect(rig.get(R.queueReady)).toBe(1);
  });
});

describe('system reset', () => {
  it('is a device reset, and more for what outlives one (7.1, 7.2)', () => {
    const rig = new Rig();
    rig.start(rig.device.offeredFeatures);
    rig.port.write(0x124, 1, 0);
    rig.set(R.status, 0);
    expect(rig.port.read(0x124, 1)).toBe(0);
    rig.start();
    rig.mmio.systemReset();
    expect(rig.get(R.status)).toBe(0);
    expect(rig.port.read(0x124, 1)).toBe(1);
    expect(rig.device.log.slice(-2)).toEqual(['reset', 'systemReset']);
  });
});
