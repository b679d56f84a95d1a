/** Both sides together, in one thread. */

import { guestPhysical, hasFeature } from '@viommu/common';
import { BufferList, PackedDriverQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { FakeDevice } from './kit/fake-device.ts';
import { EVENT_IDX, PACKED, RING_RESET, VERSION_1 } from './kit/register.ts';
import { RAM_BASE, Rig, answer, layoutOf, request } from './kit/rig.ts';

describe('driver and device', () => {
  it('negotiate, exchange requests and reset, again and again', () => {
    const rig = new Rig();
    const transport = rig.transport();
    for (let round = 0; round < 3; round += 1) {
      const features = transport.negotiate({
        wanted: EVENT_IDX | (1n << 63n),
        required: VERSION_1,
      });
      expect(features).toBe(VERSION_1 | EVENT_IDX);
      expect(transport.readConfig64(0)).toBe(0xffff_ffff_ffff_f000n);
      const layout = layoutOf(0, { set: round });
      const driver = rig.driverQueue(layout, hasFeature(features, 29));
      transport.enableQueue(0, layout);
      transport.driverOk();
      for (const token of [1, 2, 3]) request(rig, driver, token);
      transport.notify(0, 0);
      expect(rig.mmio.serve()).toBe(true);
      expect(transport.acknowledgeInterrupts()).toBe(1);
      expect([driver.take(), driver.take(), driver.take(), driver.take()]).toEqual([1, 2, 3, -1]);
      expect(answer(rig, 3)).toBe(0x1114);
      expect(transport.status()).toBe(0x0f);
      transport.reset();
      expect(transport.status()).toBe(0);
    }
  });

  it('mmio.drv.irq.used-bit-all-queues: one bit stands for all queues', () => {
    const rig = new Rig();
    const transport = rig.transport();
    transport.negotiate({ wanted: 0n, required: 0n });
    const queues = [0, 1].map((index) => {
      const queue = rig.driverQueue(layoutOf(index));
      transport.enableQueue(index, layoutOf(index));
      return queue;
    });
    transport.driverOk();
    for (const [index, queue] of queues.entries()) request(rig, queue, 5 + index);
    rig.mmio.serve();
    expect(transport.acknowledgeInterrupts()).toBe(1);
    expect(queues.map((queue) => queue.take())).toEqual([5, 6]);
  });

  it('mmio.drv.reg.queue-reset-reenable: one queue, while the other works', () => {
    const rig = new Rig();
    const transport = rig.transport();
    transport.negotiate({ wanted: RING_RESET, required: RING_RESET });
    const other = rig.driverQueue(layoutOf(1));
    transport.enableQueue(0, layoutOf(0));
    transport.enableQueue(1, layoutOf(1));
    transport.driverOk();
    transport.resetQueue(0);
    const layout = layoutOf(0, { size: 16, set: 1 });
    const driver = rig.driverQueue(layout);
    transport.enableQueue(0, layout);
    request(rig, driver, 1);
    request(rig, other, 2);
    rig.mmio.serve();
    expect([driver.take(), other.take()]).toEqual([1, 2]);
  });

  it('a driver learns of a layout that the device refuses', () => {
    const rig = new Rig();
    const transport = rig.transport();
    transport.negotiate({ wanted: 0n, required: 0n });
    const outside = { ...layoutOf(0), descriptorArea: guestPhysical(0x1000n) };
    expect(() => transport.enableQueue(0, outside)).toThrow('refuses the layout');
    expect(transport.status()).toBe(0x4b);
    expect(() => transport.driverOk()).toThrow('does not start');
  });

  it('packed queues work too, of a size that no split queue has', () => {
    const device = new FakeDevice();
    device.offeredFeatures |= PACKED;
    const rig = new Rig({ device });
    const transport = rig.transport();
    expect(transport.negotiate({ wanted: PACKED, required: PACKED })).toBe(VERSION_1 | PACKED);
    const layout = layoutOf(0, { size: 5 });
    const driver = new PackedDriverQueue({
      memory: rig.memory,
      layout,
      features: { indirect: false, eventIndex: false, packed: true },
    });
    transport.enableQueue(0, layout);
    transport.driverOk();
    driver.add(new BufferList(1).addReadable(guestPhysical(RAM_BASE + 0x20000n), 2), 4);
    driver.publish();
    rig.mmio.serve();
    expect(driver.take()).toBe(4);
  });
});
