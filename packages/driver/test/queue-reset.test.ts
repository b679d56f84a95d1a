/** The reset of a single queue, as a driver does it: section "Virtqueue Reset". */

import {
  FaultFlag,
  FaultReason,
  IommuError,
  MapRequest,
  ProbeRequest,
  Status,
  VirtioFeature,
} from '@viommu/common';
import {
  type Domain,
  IommuDriver,
  NO_STATUS,
  Protection,
  allocPaging,
  attach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { ALL_FEATURES, without } from './helper/scripted-device.ts';
import { MAP, PROBE, type Setup, UNMAP, codeOf, ofType, prepare, setUp } from './helper/setup.ts';

const READ_WRITE = Protection.READ | Protection.WRITE;

/** A domain with an endpoint in it. */
function attached({ driver }: Setup): Domain {
  const endpoint = driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  return domain;
}

/** A driver on a device that does whatever it is asked. */
function setUpWilling(...options: Parameters<typeof setUp>): Setup {
  const setup = setUp(...options);
  setup.device.script = willing;
  return setup;
}

const willing = (): { status: number } => ({ status: Status.OK });

/** Adds MAPs of these pages; what becomes of them is written down as `page status`. */
function addPages({ driver }: Setup, pages: readonly number[], ends: string[]): void {
  for (const page of pages)
    driver.requests.addMap(
      { requestDone: (_, status) => ends.push(`${page} ${status}`) },
      1,
      page,
      page,
      page,
      3,
    );
}

/** The first pages of the MAPs that the device saw. */
function seenPages({ device }: Setup): number[] {
  return ofType(device, MAP).map(({ view }) => Number(MapRequest.read(view).virtStart >> 12n));
}

describe('the reset of the request queue', () => {
  it('basic.drv.queue-reset.reenable-like-init: resets, then sets the queue up anew', () => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device } = setup;
    const before = device.layouts[0];
    device.calls.length = 0;
    driver.resetRequestQueue();
    expect(device.calls).toEqual(['reset 0', 'enable 0']);
    expect(device.layouts[0]).toMatchObject({ size: 16 });
    expect(device.layouts[0]?.descriptorArea).not.toBe(before?.descriptorArea);
    const ends: string[] = [];
    addPages(setup, [1], ends);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(ends).toEqual(['1 0']);
    expect(driver.state).toBe('live');
  });

  it('keeps what the device was not shown, in its order and in its slots', () => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device } = setup;
    const ends: string[] = [];
    // So that the slots do not begin at 0.
    addPages(setup, [1, 2, 3], ends);
    driver.requests.syncReq();
    const later = Array.from({ length: 16 }, (_, index) => 10 + index);
    addPages(setup, later, ends);
    expect(driver.requests.unsent).toBe(16);
    const notifications = device.notifications;
    driver.resetRequestQueue();
    expect(ends).toHaveLength(3);
    expect(driver.requests.inFlight).toBe(16);
    expect(device.notifications).toBe(notifications);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(seenPages(setup)).toEqual([1, 2, 3, ...later]);
    expect(ends).toEqual([1, 2, 3, ...later].map((page) => `${page} 0`));
  });

  it('tells the answers that were there, and ends without status what was not answered', async () => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device } = setup;
    device.script = (_, index) => {
      if (index === 1) return { status: Status.NOMEM };
      return index >= 2 ? { hold: true } : { status: Status.OK };
    };
    const ends: string[] = [];
    addPages(setup, [1, 2, 3, 4], ends);
    const synced = driver.requests.syncReqAsync();
    addPages(setup, [5], ends);
    // Answered, and nobody has looked yet.
    device.serve();
    driver.resetRequestQueue();
    expect(ends).toEqual(['1 0', '2 8', `3 ${NO_STATUS}`, `4 ${NO_STATUS}`]);
    expect(driver.requests.inFlight).toBe(1);
    // Whoever waited for them goes on.
    expect(await synced).toBeUndefined();
    device.script = willing;
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(ends.slice(4)).toEqual(['5 0']);
    expect(seenPages(setup)).toEqual([1, 2, 3, 4, 5]);
  });

  it('a MAP or an UNMAP whose fate nobody knows is a failure of its domain', async () => {
    const setup = setUp();
    const { driver, device } = setup;
    const domain = attached(setup);
    mapPages(domain, 0x10, 0x10, 4, READ_WRITE);
    iotlbSyncMap(domain, 0x10, 4);
    device.script = () => ({ hold: true });
    mapPages(domain, 0x20, 0x20, 4, READ_WRITE);
    unmapPages(domain, 0x10, 4);
    const synced = driver.requests.syncReqAsync();
    mapPages(domain, 0x30, 0x30, 4, READ_WRITE);
    device.serve();
    driver.resetRequestQueue();
    await synced;
    expect(domain.failedMaps).toEqual([{ startPage: 0x20, lastPage: 0x23, error: 'EIO' }]);
    expect(domain.stuckRanges).toEqual([{ startPage: 0x10, lastPage: 0x13 }]);
    device.script = () => undefined;
    expect(codeOf(() => iotlbSyncMap(domain, 0x20, 4))).toBe('EIO');
    expect(codeOf(() => iotlbSyncMap(domain, 0x30, 4))).toBeUndefined();
    // What may be mapped or not is not mapped after an UNMAP.
    expect(unmapPages(domain, 0x20, 4)).toBe(4);
    iotlbSync(domain);
    expect(device.statuses.at(-1)).toBe(Status.OK);
    expect(ofType(device, UNMAP)).toHaveLength(2);
  });

  it.each([4, 32])('goes on with another size: %i', (size) => {
    const setup = setUpWilling({ queueSizes: [64, 8] }, { requestQueueSize: 16 });
    const { driver, device, pages } = setup;
    const ends: string[] = [];
    addPages(setup, [1, 2, 3], ends);
    driver.requests.syncReq();
    const taken = pages.taken.size;
    driver.resetRequestQueue(size);
    expect(device.layouts[0]?.size).toBe(size);
    expect(pages.taken.size).toBe(taken);
    const more = Array.from({ length: size }, (_, index) => 10 + index);
    addPages(setup, more, ends);
    expect(device.seen).toHaveLength(3);
    // One more than there is room for.
    addPages(setup, [99], ends);
    expect(device.seen).toHaveLength(3 + size);
    const properties = driver.requests.sendProbeSync(
      ProbeRequest.encode({ type: PROBE, endpoint: 8 }),
    );
    expect(properties).toHaveLength(64);
    expect(ends).toEqual([1, 2, 3, ...more, 99].map((page) => `${page} 0`));
  });

  it('takes at most what the device has, and a power of two', () => {
    const setup = setUpWilling({ queueSizes: [64, 8] });
    for (const [wanted, size] of [
      [1000, 64],
      [33, 32],
      [1, 1],
    ] as const) {
      setup.driver.resetRequestQueue(wanted);
      expect(setup.device.layouts[0]?.size).toBe(size);
    }
    setup.driver.resetRequestQueue(64);
    const ends: string[] = [];
    addPages(setup, [1], ends);
    setup.driver.requests.syncReq();
    expect(ends).toEqual(['1 0']);
  });

  it('changes nothing while requests wait for a queue of the size it has', () => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device, pages } = setup;
    const ends: string[] = [];
    addPages(setup, [1], ends);
    const taken = pages.taken.size;
    device.calls.length = 0;
    expect(codeOf(() => driver.resetRequestQueue(8))).toBe('EBUSY');
    expect(device.calls).toEqual([]);
    expect(pages.taken.size).toBe(taken);
    driver.requests.syncReq();
    driver.resetRequestQueue(8);
    expect(ends).toEqual(['1 0']);
  });

  it('needs the feature, and a device that is not lost', () => {
    const plain = setUp({ offered: without(ALL_FEATURES, VirtioFeature.RING_RESET) });
    expect(codeOf(() => plain.driver.resetRequestQueue())).toBe('ENOSYS');
    expect(codeOf(() => plain.driver.resetEventQueue())).toBe('ENOSYS');
    const { driver, device } = setUp();
    driver.requests.giveUp('a test says so');
    device.calls.length = 0;
    expect(codeOf(() => driver.resetRequestQueue())).toBe('EIO');
    expect(codeOf(() => driver.resetEventQueue())).toBe('EIO');
    driver.remove();
    expect(codeOf(() => driver.resetRequestQueue())).toBe('EIO');
    expect(device.calls).not.toContain('reset 0');
  });

  it.each([
    [
      'does not finish',
      'ETIMEDOUT',
      (device: Setup['device']) => (device.resetFailure = 'ETIMEDOUT'),
    ],
    ['refuses the new one', 'EIO', (device: Setup['device']) => (device.refusedQueue = 0)],
  ])('a device that %s is given up, and everything in flight fails once', (_, code, bend) => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device } = setup;
    const ends: string[] = [];
    addPages(setup, [1, 2], ends);
    bend(device);
    expect(codeOf(() => driver.resetRequestQueue())).toBe(code);
    expect(ends).toEqual([`1 ${NO_STATUS}`, `2 ${NO_STATUS}`]);
    expect(driver.state).toBe('broken');
    expect(driver.requests.syncReq()).toBe('EIO');
    expect(ends).toHaveLength(2);
  });

  it('without memory for another one changes nothing', () => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device, pages } = setup;
    const allocate = pages.allocate.bind(pages);
    const taken = pages.taken.size;
    // One after the other: the ring, and what lies in it.
    for (const allowed of [0, 1]) {
      let left = allowed;
      pages.allocate = (bytes, alignment) => {
        if (left === 0) throw new IommuError('ENOMEM', 'There is none.');
        left -= 1;
        return allocate(bytes, alignment);
      };
      expect(codeOf(() => driver.resetRequestQueue(8))).toBe('ENOMEM');
      left = allowed;
      expect(codeOf(() => driver.resetEventQueue())).toBe('ENOMEM');
    }
    pages.allocate = allocate;
    expect(device.calls).not.toContain('reset 0');
    expect(device.calls).not.toContain('reset 1');
    expect(pages.taken.size).toBe(taken);
    const ends: string[] = [];
    addPages(setup, [1], ends);
    driver.requests.syncReq();
    expect(ends).toEqual(['1 0']);
  });

  it('has nothing to fear of a ring that the device damaged: what it cannot tell has failed', async () => {
    const setup = setUpWilling({ queueSizes: [16, 8] });
    const { driver, device } = setup;
    const ends: string[] = [];
    device.script = (_, index) => (index === 0 ? { status: Status.OK } : { hold: true });
    addPages(setup, [1, 2], ends);
    const synced = driver.requests.syncReqAsync();
    device.serve();
    device.requestQueue.push({ id: 77 } as never, 4); // No chain that the device has.
    device.requestQueue.publish();
    driver.resetRequestQueue();
    expect(ends).toEqual(['1 0', `2 ${NO_STATUS}`]);
    expect(await synced).toBeUndefined();
    device.script = willing;
    addPages(setup, [3], ends);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(ends.slice(2)).toEqual(['3 0']);
    expect(driver.log.counters.queueBroken).toBe(0);
  });

  it('leaves the driver as it was: awake it wants no interrupts, asleep it does', async () => {
    const { device, driverOptions } = prepare({ queueSizes: [16, 8] });
    device.script = willing;
    const { idle: _, ...options } = driverOptions;
    const driver = IommuDriver.probe(options);
    const bell = device.interruptBell;
    for (const size of [undefined, 8]) {
      driver.resetRequestQueue(size);
      driver.requests.addMap(undefined, 1, 1, 1, 1, 3);
      const before = bell.value();
      const synced = driver.requests.syncReqAsync();
      expect(device.interruptStatus).toBe(0);
      device.serve();
      expect(bell.value()).toBe(before + 1);
      expect(await synced).toBeUndefined();
      // Nobody sleeps: the answer is found by whoever looks.
      driver.resetRequestQueue(size);
      driver.requests.addMap(undefined, 1, 1, 1, 1, 3);
      const again = driver.requests.syncReqAsync();
      driver.resetRequestQueue(size);
      await again;
      driver.resetRequestQueue(size);
      const quiet = bell.value();
      driver.requests.addMap(undefined, 1, 1, 1, 1, 3);
      device.onNotify = () => device.serve();
      expect(driver.requests.syncReq()).toBeUndefined();
      device.onNotify = () => undefined;
      expect(bell.value()).toBe(quiet);
    }
  });

  it('again and again takes no more memory', () => {
    const setup = setUp();
    const { driver, pages } = setup;
    const taken = pages.taken.size;
    for (let round = 0; round < 5; round += 1) {
      driver.resetRequestQueue(round % 2 === 0 ? 8 : 16);
      driver.resetEventQueue(round % 2 === 0 ? 4 : 8);
    }
    expect(pages.taken.size).toBe(taken);
    driver.remove();
    expect(pages.taken.size).toBe(0);
  });
});

describe('notifications', () => {
  it('say where the next chain of the queue will be', () => {
    const setup = setUpWilling({ queueSizes: [16, 4] });
    const { driver, device } = setup;
    // All buffers of the event queue.
    expect(device.positions).toEqual([[1, 4]]);
    for (const count of [1, 2, 3]) {
      addPages(
        setup,
        Array.from({ length: count }, (_, page) => page),
        [],
      );
      driver.requests.syncReq();
    }
    driver.resetRequestQueue();
    addPages(setup, [1, 2], []);
    driver.requests.syncReq();
    device.inject(new Uint8Array(24));
    driver.serveEvents();
    driver.resetEventQueue(2);
    expect(device.positions.slice(1)).toEqual([
      [0, 1],
      [0, 3],
      [0, 6],
      [0, 2],
      [1, 2],
    ]);
  });
});

describe('the reset of the event queue', () => {
  const fault = (address: bigint): Parameters<Setup['device']['inject']>[0] => ({
    reason: FaultReason.MAPPING,
    flags: FaultFlag.WRITE | FaultFlag.ADDRESS,
    endpoint: 8,
    address,
  });

  it('tells what was reported before, once, and gives the device buffers anew', () => {
    const { driver, device, faults } = setUp({ queueSizes: [8, 4] });
    device.inject(fault(0x1000n));
    device.inject(fault(0x2000n));
    device.calls.length = 0;
    device.notifications = 0;
    driver.resetEventQueue();
    expect(device.calls).toEqual(['reset 1', 'enable 1', 'notify 1']);
    expect(faults.map(({ address }) => address)).toEqual([0x1000n, 0x2000n]);
    expect(driver.serveEvents()).toBe(0);
    for (let n = 0; n < 4; n += 1) expect(device.inject(fault(0x3000n))).toBe(true);
    expect(device.inject(fault(0x3000n))).toBe(false);
    expect(driver.serveEvents()).toBe(4);
    expect(faults).toHaveLength(6);
  });

  it('goes on with another size', () => {
    const { driver, device } = setUp({ queueSizes: [8, 16] }, { eventQueueSize: 4 });
    for (const [wanted, size] of [
      [8, 8],
      [100, 16],
      [3, 2],
    ] as const) {
      driver.resetEventQueue(wanted);
      let buffers = 0;
      while (device.inject(fault(0x1000n))) buffers += 1;
      expect(buffers).toBe(size);
    }
  });

  it('of a damaged ring makes reports possible again', () => {
    const { driver, device, faults } = setUp({ queueSizes: [8, 4] });
    device.eventQueue.push({ id: 77 } as never, 24); // No chain that the device has.
    device.eventQueue.publish();
    driver.serveEvents();
    device.inject(fault(0x1000n));
    expect(driver.serveEvents()).toBe(0);
    driver.resetEventQueue();
    device.inject(fault(0x2000n));
    expect(driver.serveEvents()).toBe(1);
    expect(faults.map(({ address }) => address)).toEqual([0x2000n]);
  });

  it('works and loses nothing also if a handler throws', () => {
    const setup = setUp({ queueSizes: [8, 4] });
    const { driver, device } = setup;
    const seen: (bigint | undefined)[] = [];
    attached(setup).faultHandler = ({ address }) => {
      seen.push(address);
      throw new RangeError('on purpose');
    };
    device.inject(fault(0x1000n));
    device.inject(fault(0x2000n));
    expect(() => driver.resetEventQueue()).toThrow('on purpose');
    expect(seen).toEqual([0x1000n, 0x2000n]);
    device.inject(fault(0x3000n));
    expect(() => driver.serveEvents()).toThrow('on purpose');
    expect(seen).toHaveLength(3);
  });
});
