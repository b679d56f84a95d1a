/** Queue set-up, queue reset and interrupts: section "Virtio Over MMIO", device side. */

import { describe, expect, it } from 'vitest';
import { FakeDevice } from './kit/fake-device.ts';
import { EVENT_IDX, NOTIFICATION_DATA, PACKED, R, RING_RESET, VERSION_1 } from './kit/register.ts';
import { RAM_BASE, RAM_BYTES, Rig, answer, layoutOf, request } from './kit/rig.ts';
import { guestPhysical } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';

/** Programs and enables; returns QueueReady. */
function enable(rig: Rig, index: number, layout: QueueLayout): number {
  rig.program(index, layout);
  rig.set(R.queueReady, 1);
  return rig.get(R.queueReady);
}

describe('identification', () => {
  it('mmio.dev.reg.magic: reads 76 69 72 74', () => {
    const rig = new Rig();
    expect(rig.get(R.magic)).toBe(0x7472_6976);
    expect([0x100, 0x101].map((at) => rig.port.read(at, 1))).toEqual([0x00, 0xf0]);
  });

  it('mmio.dev.reg.version: reads 2', () => {
    expect(new Rig().get(R.version)).toBe(2);
  });

  it('names the device type and a vendor', () => {
    const rig = new Rig();
    expect(rig.get(R.deviceId)).toBe(23);
    expect(rig.get(R.vendorId)).not.toBe(0);
  });

  it('fact.mmio.shm-absent: no shared memory region has a length or a base', () => {
    const rig = new Rig();
    for (const region of [0, 1, 255]) {
      rig.set(R.shmSel, region);
      for (const register of [R.shmLenLow, R.shmLenHigh, R.shmBaseLow, R.shmBaseHigh])
        expect(rig.get(register)).toBe(0xffff_ffff);
    }
  });
});

describe('undefined accesses', () => {
  it('(11.13) write-only registers, gaps, odd widths and offsets read 0', () => {
    const rig = new Rig();
    rig.start();
    const readable = new Set<number>([
      0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044, 0x070, 0x0b0, 0x0b4, 0x0b8, 0x0bc,
    ]);
    for (let offset = 0; offset < 0x100; offset += 1) {
      for (const width of [1, 2, 4]) {
        const value = rig.port.read(offset, width);
        if (width !== 4 || !readable.has(offset)) expect(value, `${offset} ${width}`).toBe(0);
        else expect(value, `${offset} ${width}`).not.toBe(0);
      }
    }
  });

  it('(11.13) read-only registers, gaps, odd widths and offsets cannot be written', () => {
    const rig = new Rig();
    rig.start();
    const shown = (): number[] =>
      Array.from({ length: 0x80 }, (_, index) => rig.port.read(4 * index, 4));
    const before = shown();
    const log = rig.device.log.length;
    for (let offset = 0; offset < 0x100; offset += 1) {
      for (const width of [0, 1, 2, 3, 5, 8]) rig.port.write(offset, width, 0);
      const writable = [
        0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4,
        0xac, 0xc0,
      ].includes(offset);
      if (!writable) rig.port.write(offset, 4, 0);
    }
    expect(shown()).toEqual(before);
    expect(rig.device.log).toHaveLength(log);
  });
});

describe('queue set-up', () => {
  it('fact.mmio.queue-absent: QueueSizeMax 0 for queues that are not there (11.14)', () => {
    const rig = new Rig();
    const sizes = [0, 1, 2, 100, 0xffff_ffff].map((index) => {
      rig.set(R.queueSel, index);
      return rig.get(R.queueSizeMax);
    });
    expect(sizes).toEqual([16, 8, 0, 0, 0]);
  });

  it('(11.14) ignores what is written for a queue that is not there', () => {
    const rig = new Rig();
    rig.features(VERSION_1 | RING_RESET);
    expect(enable(rig, 2, layoutOf(0))).toBe(0);
    rig.set(R.queueReset, 1);
    expect(rig.get(R.queueReset)).toBe(0);
    expect(rig.get(R.status)).toBe(0x0b);
    rig.set(R.queueSel, 0);
    expect(rig.get(R.queueReady)).toBe(0);
  });

  it('(11.10) stays not ready with a size of 0, above the maximum or no power of two', () => {
    const rig = new Rig();
    rig.features();
    for (const size of [0, 3, 6, 15, 17, 32, 0x8000_0000, 0xffff_ffff]) {
      expect(enable(rig, 0, layoutOf(0, { size })), `size ${size}`).toBe(0);
    }
    expect(rig.get(R.status)).toBe(0x0b);
    for (const size of [1, 2, 4, 8, 16]) {
      expect(enable(rig, 0, layoutOf(0, { size })), `size ${size}`).toBe(1);
      rig.set(R.queueReady, 0);
    }
  });

  it('needs a reset for areas that are misaligned or outside memory', () => {
    const good = layoutOf(0);
    const bad: Partial<QueueLayout>[] = [
      { descriptorArea: guestPhysical(RAM_BASE + 8n) },
      { driverArea: guestPhysical(RAM_BASE + 0x401n) },
      { deviceArea: guestPhysical(RAM_BASE + 0x802n) },
      { descriptorArea: guestPhysical(0n) },
      { driverArea: guestPhysical(RAM_BASE + BigInt(RAM_BYTES) - 2n) },
      { deviceArea: guestPhysical(0xffff_ffff_ffff_fff0n) },
      { deviceArea: guestPhysical(RAM_BASE + (1n << 32n)) },
    ];
    for (const change of bad) {
      const rig = new Rig();
      rig.features();
      expect(enable(rig, 0, { ...good, ...change })).toBe(0);
      expect(rig.get(R.status)).toBe(0x4b);
      expect(rig.mmio.fault).toBeDefined();
      expect(rig.get(R.interruptStatus)).toBe(0);
      // It does not start in this state, and a reset heals it.
      rig.set(R.status, 0x0f);
      expect(rig.get(R.status)).toBe(0x4b);
      expect(rig.start()).toBe(0x0f);
    }
  });

  it('a bad layout after DRIVER_OK costs the whole device', () => {
    const rig = new Rig();
    rig.features();
    enable(rig, 0, layoutOf(0));
    rig.set(R.status, 0x0f);
    expect(enable(rig, 1, { ...layoutOf(1), deviceArea: guestPhysical(2n) })).toBe(0);
    expect(rig.get(R.status)).toBe(0x4f);
    expect(rig.get(R.interruptStatus)).toBe(2);
    expect(rig.device.log.at(-1)).toBe('queueStopped 0');
    expect(rig.mmio.serve()).toBe(false);
  });

  it('uses all 64 bits of an address', () => {
    const rig = new Rig();
    rig.features();
    rig.program(0, layoutOf(0));
    rig.set(R.driverHigh, 1);
    rig.set(R.queueReady, 1);
    expect(rig.get(R.status)).toBe(0x4b);
  });

  it('cannot be made ready before FEATURES_OK, or with another value than 1', () => {
    const rig = new Rig();
    rig.set(R.status, 0x03);
    expect(enable(rig, 0, layoutOf(0))).toBe(0);
    rig.features();
    rig.program(0, layoutOf(0));
    for (const value of [2, 3, 0x100, 0xffff_ffff]) {
      rig.set(R.queueReady, value);
      expect(rig.get(R.queueReady)).toBe(0);
    }
    rig.set(R.queueReady, 1);
    rig.set(R.queueReady, 2);
    expect(rig.get(R.queueReady)).toBe(1);
  });

  it('size and addresses of a ready queue cannot be written', () => {
    const rig = new Rig();
    rig.features();
    const driver = rig.driverQueue(layoutOf(0));
    enable(rig, 0, layoutOf(0));
    rig.program(0, layoutOf(0, { size: 4, set: 1 }));
    rig.set(R.status, 0x0f);
    request(rig, driver, 1);
    rig.mmio.serve();
    expect(driver.take()).toBe(1);
    // The queue that is programmed after a stop is the old one.
    rig.set(R.queueReady, 0);
    rig.set(R.queueReady, 1);
    expect(rig.device.queues[0]?.size).toBe(8);
    const again = rig.driverQueue(layoutOf(0));
    request(rig, again, 2);
    rig.mmio.serve();
    expect(again.take()).toBe(2);
  });

  it('mmio.dev.reg.no-access-when-not-ready: neither programmed nor stopped queues are touched', () => {
    const rig = new Rig();
    rig.features();
    const queues = [rig.driverQueue(layoutOf(0)), rig.driverQueue(layoutOf(1))] as const;
    rig.program(0, layoutOf(0));
    enable(rig, 1, layoutOf(1));
    rig.set(R.status, 0x0f);
    request(rig, queues[0], 1);
    let before = rig.ram();
    rig.set(R.queueNotify, 0);
    rig.mmio.serve();
    rig.mmio.arm();
    rig.mmio.suppress();
    expect(rig.device.session?.queues[0]).toBeUndefined();
    expect(rig.ram().subarray(0, 0x1000)).toEqual(before.subarray(0, 0x1000));

    rig.set(R.queueSel, 1);
    rig.set(R.queueReady, 0);
    expect(rig.get(R.queueReady)).toBe(0);
    expect(rig.device.log.at(-1)).toBe('queueStopped 1');
    request(rig, queues[1], 2);
    before = rig.ram();
    rig.set(R.queueNotify, 1);
    rig.mmio.serve();
    expect(rig.ram()).toEqual(before);
  });

  it('a queue that is made ready again starts at position 0 (11.9), also after DRIVER_OK', () => {
    const rig = new Rig();
    rig.start();
    let driver = rig.driverQueue(layoutOf(0));
    for (const token of [1, 2, 3]) request(rig, driver, token);
    rig.mmio.serve();
    rig.set(R.queueSel, 0);
    rig.set(R.queueReady, 0);
    driver = rig.driverQueue(layoutOf(0));
    rig.set(R.queueReady, 1);
    expect(rig.device.log.at(-1)).toBe('queueStarted 0');
    request(rig, driver, 7);
    rig.mmio.serve();
    expect(driver.take()).toBe(7);
    expect(answer(rig, 7)).toBe(0x1118);
  });

  it('shows the readiness of the selected queue', () => {
    const rig = new Rig();
    rig.features();
    enable(rig, 1, layoutOf(1));
    rig.set(R.queueSel, 0);
    expect(rig.get(R.queueReady)).toBe(0);
    rig.set(R.queueSel, 1);
    expect(rig.get(R.queueReady)).toBe(1);
  });

  it('(11.3) a notification for an absent or stopped queue has no effect', () => {
    const rig = new Rig();
    rig.start();
    rig.set(R.queueSel, 1);
    rig.set(R.queueReady, 0);
    const before = rig.ram();
    for (const queue of [1, 2, 0xffff_ffff]) rig.set(R.queueNotify, queue);
    expect(rig.mmio.serve()).toBe(false);
    expect(rig.ram()).toEqual(before);
    expect(rig.get(R.status)).toBe(0x0f);
  });

  it('what NOTIFICATION_DATA adds to a notification is not believed: the ring counts', () => {
    const device = new FakeDevice();
    device.offeredFeatures |= NOTIFICATION_DATA;
    const rig = new Rig({ device });
    expect(rig.start(VERSION_1 | NOTIFICATION_DATA)).toBe(0x0f);
    const driver = rig.driverQueue(layoutOf(0));
    for (const [token, position] of [0, 7, 0x7fff, 0x8000, 0xffff].entries()) {
      rig.set(R.queueNotify, (position << 16) >>> 0);
      expect(rig.mmio.serve(), `position ${position}, nothing there`).toBe(false);
      request(rig, driver, token);
      rig.set(R.queueNotify, (position << 16) >>> 0);
      rig.mmio.serve();
      expect(driver.take(), `position ${position}`).toBe(token);
    }
    expect(rig.get(R.status)).toBe(0x0f);
  });

  it('shows as the maximum what the negotiated format can have', () => {
    const device = new FakeDevice();
    device.offeredFeatures |= PACKED;
    device.queueSizesMax = [100, 1];
    const rig = new Rig({ device });
    const shown = (): number[] =>
      [0, 1].map((index) => {
        rig.set(R.queueSel, index);
        return rig.get(R.queueSizeMax);
      });
    rig.features(VERSION_1);
    expect(shown()).toEqual([64, 1]);
    rig.set(R.queueSel, 0);
    rig.features(VERSION_1 | PACKED);
    expect(rig.get(R.queueSizeMax)).toBe(100);
    expect(shown()).toEqual([100, 1]);
    rig.set(R.status, 0);
    expect(shown()).toEqual([64, 1]);
  });
});

describe('queue reset', () => {
  it('mmio.dev.reg.queue-reset-performs: positions, size and addresses are gone', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    const driver = rig.driverQueue(layoutOf(0));
    request(rig, driver, 1);
    rig.mmio.serve();
    rig.set(R.queueSel, 0);
    rig.set(R.queueReset, 1);
    expect(rig.get(R.queueReset)).toBe(0);
    expect(rig.get(R.queueReady)).toBe(0);
    expect(rig.device.log.at(-1)).toBe('queueStopped 0');
    rig.set(R.queueReady, 1);
    expect(rig.get(R.queueReady)).toBe(0);
  });

  it('mmio.dev.reg.queue-reset-busy-one: never 1 after 0', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    rig.set(R.queueSel, 1);
    rig.set(R.queueReset, 1);
    expect([rig.get(R.queueReset), rig.get(R.queueReset)]).toEqual([0, 0]);
  });

  it('mmio.dev.reg.queue-reset-done-zero: and QueueReady with it', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    for (const index of [0, 1]) {
      rig.set(R.queueSel, index);
      expect([rig.get(R.queueReset), rig.get(R.queueReady)]).toEqual([0, 1]);
      rig.set(R.queueReset, 1);
      expect([rig.get(R.queueReset), rig.get(R.queueReady)]).toEqual([0, 0]);
    }
  });

  it('mmio.dev.reg.queue-reset-zero-on-enable: and after the queue is enabled', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    rig.set(R.queueSel, 1);
    rig.set(R.queueReset, 1);
    expect(enable(rig, 1, layoutOf(1))).toBe(1);
    expect(rig.get(R.queueReset)).toBe(0);
  });

  it('mmio.dev.reg.queue-reset-zero-on-reset: and after a device reset', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    rig.set(R.queueReset, 1);
    rig.set(R.status, 0);
    for (const index of [0, 1, 2]) {
      rig.set(R.queueSel, index);
      expect(rig.get(R.queueReset)).toBe(0);
    }
  });

  it('basic.dev.queue-reset.quiet-after: the queue is dead, the other one lives', () => {
    const rig = new Rig();
    const queues = [rig.driverQueue(layoutOf(0)), rig.driverQueue(layoutOf(1))] as const;
    rig.start(VERSION_1 | RING_RESET);
    request(rig, queues[0], 1);
    rig.set(R.queueSel, 0);
    rig.set(R.queueReset, 1);
    request(rig, queues[0], 2);
    const before = rig.ram().subarray(0, 0x1000);
    rig.set(R.queueNotify, 0);
    request(rig, queues[1], 3);
    expect(rig.mmio.serve()).toBe(true);
    expect(queues[1].take()).toBe(3);
    expect(queues[0].ready()).toBe(false);
    expect(rig.ram().subarray(0, 0x1000)).toEqual(before);
  });

  it('basic.drv.queue-reset.release-after: the memory of the queue is free', () => {
    const rig = new Rig();
    const driver = rig.driverQueue(layoutOf(0));
    rig.start(VERSION_1 | RING_RESET);
    request(rig, driver, 1);
    rig.set(R.queueSel, 0);
    rig.set(R.queueReset, 1);
    // Poison: a device that still looked would break, one that still wrote would leave a mark.
    rig.memory.write(0, new Uint8Array(0x1000).fill(0xff), 0, 0x1000);
    rig.mmio.suppress();
    rig.mmio.serve();
    rig.mmio.arm();
    expect(rig.get(R.status)).toBe(0x0f);
    expect(
      rig
        .ram()
        .subarray(0, 0x1000)
        .every((byte) => byte === 0xff),
    ).toBe(true);
  });

  it('basic.dev.queue-reset.state-default: the first request comes from index 0 again', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    let driver = rig.driverQueue(layoutOf(0));
    for (const token of [1, 2, 3]) request(rig, driver, token);
    rig.mmio.serve();
    rig.set(R.queueSel, 0);
    rig.set(R.queueReset, 1);
    driver = rig.driverQueue(layoutOf(0));
    enable(rig, 0, layoutOf(0));
    request(rig, driver, 4);
    rig.mmio.serve();
    expect(driver.take()).toBe(4);
    // used.idx is 1.
    expect(rig.memory.getUint16(0x802)).toBe(1);
  });

  it('basic.dev.queue-reset.reenable-new-config: another size at another place', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | RING_RESET);
    rig.set(R.queueSel, 0);
    rig.set(R.queueReset, 1);
    const layout = layoutOf(0, { size: 4, set: 1 });
    const driver = rig.driverQueue(layout);
    const before = rig.ram().subarray(0, 0x1000);
    expect(enable(rig, 0, layout)).toBe(1);
    for (const token of [1, 2]) request(rig, driver, token);
    rig.mmio.serve();
    expect([driver.take(), driver.take()]).toEqual([1, 2]);
    expect(rig.ram().subarray(0, 0x1000)).toEqual(before);
  });

  it('(11.11) without RING_RESET the register reads 0 and ignores writes', () => {
    const rig = new Rig();
    rig.start(VERSION_1);
    rig.set(R.queueSel, 0);
    rig.set(R.queueReset, 1);
    expect(rig.get(R.queueReset)).toBe(0);
    expect(rig.get(R.queueReady)).toBe(1);
  });

  it('(11.12) on a queue that is not ready it completes at once', () => {
    const rig = new Rig();
    rig.features(VERSION_1 | RING_RESET);
    rig.program(0, layoutOf(0));
    rig.set(R.queueReset, 1);
    expect(rig.get(R.queueReset)).toBe(0);
    rig.set(R.queueReady, 1);
    expect(rig.get(R.queueReady)).toBe(0);
    expect(rig.device.log.join()).not.toContain('queueStopped');
  });
});

describe('interrupts', () => {
  it('mmio.dev.reg.interrupt-status-until-ack: set from the event to its acknowledgement', () => {
    const rig = new Rig();
    const driver = rig.driverQueue(layoutOf(0));
    rig.start();
    request(rig, driver, 1);
    rig.mmio.serve();
    expect([rig.get(R.interruptStatus), rig.get(R.interruptStatus)]).toEqual([1, 1]);
    // Another event before the acknowledgement keeps it.
    request(rig, driver, 2);
    rig.mmio.serve();
    expect(rig.get(R.interruptStatus)).toBe(1);
    rig.set(R.interruptAck, 1);
    expect(rig.get(R.interruptStatus)).toBe(0);
  });

  it('mmio.dev.reg.interrupt-status-no-extra: only the bits of events', () => {
    const rig = new Rig();
    rig.start();
    expect(rig.get(R.interruptStatus)).toBe(0);
    rig.device.port?.interrupt(0);
    expect(rig.get(R.interruptStatus)).toBe(1);
    rig.set(R.interruptAck, 1);
    rig.device.port?.configChanged();
    expect(rig.get(R.interruptStatus)).toBe(2);
  });

  it('fact.mmio.irq-level: stays asserted until both events are acknowledged', () => {
    const rig = new Rig();
    rig.start();
    const bell = rig.control.interruptBell(0);
    rig.device.port?.interrupt(0);
    rig.device.port?.configChanged();
    let rung = bell.value();
    rig.set(R.interruptAck, 1);
    expect(rig.get(R.interruptStatus)).toBe(2);
    // The driver that sleeps on the bell now is woken by the event that is left.
    expect(bell.value()).not.toBe(rung);
    rung = bell.value();
    rig.set(R.interruptAck, 0xffff_fffe);
    expect(rig.get(R.interruptStatus)).toBe(0);
    expect(bell.value()).toBe(rung);
  });

  it('rings the bell of the device after the status bit is there', () => {
    const rig = new Rig();
    rig.start();
    const bell = rig.control.interruptBell(0);
    const rung = bell.value();
    rig.device.port?.interrupt(1);
    expect(bell.value()).toBe(rung + 1);
    // Once more for each event, so that no sleeper is missed.
    rig.device.port?.interrupt(1);
    expect(bell.value()).toBe(rung + 2);
  });

  it('follows what the ring says about suppression', () => {
    const rig = new Rig();
    const driver = rig.driverQueue(layoutOf(0), true);
    rig.start(VERSION_1 | EVENT_IDX);
    driver.suppressNotification();
    request(rig, driver, 1);
    rig.mmio.serve();
    expect(rig.get(R.interruptStatus)).toBe(0);
    driver.take();
    expect(driver.armNotification()).toBe(true);
    request(rig, driver, 2);
    rig.mmio.serve();
    expect(rig.get(R.interruptStatus)).toBe(1);
  });
});
