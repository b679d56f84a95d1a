/**
 * Who is notified of what: the suppression of notifications in both directions, by flags and by event index.
 *
 * Each test drives one side and plays the other by writing its half of the ring.
 */

import { Chain, Popped, SplitDeviceQueue, SplitDriverQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { DeviceRingWriter } from '../kit/device-ring-writer.ts';
import { GuestRingWriter } from '../kit/guest-ring-writer.ts';
import { must } from '../kit/must.ts';
import { SplitPlace } from '../kit/split-place.ts';

const SIZE = 8;

/** The device's side, played against by a guest that makes empty chains available and uses no suppression itself. */
function deviceSide(eventIndex: boolean) {
  const arena = new Arena();
  const place = new SplitPlace(arena, SIZE);
  const { memory } = arena;
  const features = { indirect: false, eventIndex };
  const queue = new SplitDeviceQueue({ memory, layout: place.layout, features });
  const guest = new GuestRingWriter(arena.view, place);
  const chain = new Chain(memory, SIZE);
  guest.descriptor(0, {});
  /** Makes chains available and takes and uses them; true if the guest is to be notified. */
  const complete = (count: number): boolean => {
    for (let turn = 0; turn < count; turn += 1) guest.offer(0);
    for (let turn = 0; turn < count; turn += 1) {
      must(queue.pop(chain) === Popped.CHAIN, `the device finds ${queue.fault}`);
      queue.push(chain, 0);
    }
    return queue.publish();
  };
  return { place, queue, guest, chain, complete };
}

/** The driver's side, played against by a device that uses chains in order and uses no suppression itself. */
function driverSide(eventIndex: boolean) {
  const arena = new Arena();
  const place = new SplitPlace(arena, SIZE);
  const { memory } = arena;
  const features = { indirect: false, eventIndex };
  const queue = new SplitDriverQueue({ memory, layout: place.layout, features });
  const device = new DeviceRingWriter(arena.view, place);
  const list = arena.buffers([], [4]);
  /** Makes chains available and gets them back; true if the device is to be notified. */
  const send = (count: number): boolean => {
    for (let turn = 0; turn < count; turn += 1) must(queue.add(list, turn), 'no room');
    const notify = queue.publish();
    const first = (place.availableIndex() - count) & 0xffff;
    for (let turn = 0; turn < count; turn += 1)
      device.use([place.availableEntry((first + turn) % SIZE)]);
    for (let turn = 0; turn < count; turn += 1)
      must(queue.take() === turn, `the driver finds ${queue.fault}`);
    return notify;
  };
  return { place, queue, device, send };
}

/** True if one of the entries `from` .. `from + count - 1`, modulo 2^16, is `event`. */
function hits(from: number, count: number, event: number): boolean {
  for (let index = 0; index < count; index += 1)
    if (((from + index) & 0xffff) === event) return true;
  return false;
}

/** Event indices worth a test when entries `from` .. `from + count - 1` are filled. */
function eventsAround(from: number, count: number): number[] {
  const near = Array.from({ length: count + 6 }, (_, turn) => from - 3 + turn);
  return [...near, from + 100, from + 0x7fff, from + 0x8000, from - 100].map(
    (event) => event & 0xffff,
  );
}

describe('used-buffer notifications by flags', () => {
  it('split.dev.used-notify.flags-zero-notify: 0 asks for one, after one chain and after several', () => {
    const { guest, complete } = deviceSide(false);
    guest.flags(0);
    for (let count = 1; count <= SIZE; count += 1) expect(complete(count)).toBe(true);
  });

  it('split.dev.used-notify.flags-one-silent: 1 asks for silence', () => {
    const { guest, complete } = deviceSide(false);
    guest.flags(1);
    for (let count = 1; count <= SIZE; count += 1) expect(complete(count)).toBe(false);
    guest.flags(0);
    expect(complete(1)).toBe(true);
  });

  it('split.dev.used-notify.ignore-used-event: the word behind the entries has no influence', () => {
    const { guest, complete } = deviceSide(false);
    for (const event of [0, 1, 5, 0x7fff, 0xffff]) {
      guest.usedEvent(event);
      guest.flags(0);
      expect(complete(1)).toBe(true);
      guest.flags(1);
      expect(complete(1)).toBe(false);
    }
  });

  it('nothing used, nothing to notify', () => {
    for (const eventIndex of [false, true]) {
      const { guest, queue } = deviceSide(eventIndex);
      guest.usedEvent(0xffff);
      expect(queue.publish()).toBe(false);
    }
  });
});

describe('used-buffer notifications by event index', () => {
  it('split.dev.used-notify.event-hit-notify: exactly if the named entry is filled (11.23), also at the index wrap', () => {
    const { guest, complete } = deviceSide(true);
    let hit = 0;
    for (const start of [0, 0x7ff0, 0xffc0]) {
      while (guest.nextIndex < start) complete(1);
      for (let turn = 0; turn < 400; turn += 1) {
        const count = 1 + (turn % SIZE);
        const from = guest.nextIndex;
        const events = eventsAround(from, count);
        const event = events[turn % events.length] ?? 0;
        guest.usedEvent(event);
        const expected = hits(from, count, event);
        if (expected) hit += 1;
        expect(`${from} + ${count}, event ${event}: ${complete(count)}`).toBe(
          `${from} + ${count}, event ${event}: ${expected}`,
        );
      }
    }
    expect(hit).toBeGreaterThan(200);
  });

  it('split.dev.used-notify.event-miss-silent: an entry far ahead or just passed is not named', () => {
    const { guest, complete } = deviceSide(true);
    complete(3);
    guest.usedEvent(103);
    for (let turn = 0; turn < 20; turn += 1) expect(complete(1)).toBe(false);
    guest.usedEvent(guest.nextIndex - 1);
    for (let turn = 0; turn < 20; turn += 1) expect(complete(1)).toBe(false);
  });

  it('split.dev.used-notify.ignore-flags-with-event-idx: the flags word has no influence', () => {
    const { guest, complete } = deviceSide(true);
    for (const flags of [0, 1]) {
      guest.flags(flags);
      guest.usedEvent(guest.nextIndex);
      expect(complete(1)).toBe(true);
      expect(complete(1)).toBe(false);
    }
  });
});

describe('available-buffer notifications by flags', () => {
  it('split.drv.avail-notify.flags-zero-notify: 0 asks for one, after one chain and after several', () => {
    const { device, send } = driverSide(false);
    device.flags(0);
    for (let count = 1; count <= SIZE; count += 1) expect(send(count)).toBe(true);
  });

  it('split.drv.avail-notify.flags-one-silent: 1 asks for silence', () => {
    const { device, send } = driverSide(false);
    device.flags(1);
    for (let count = 1; count <= SIZE; count += 1) expect(send(count)).toBe(false);
    device.flags(0);
    expect(send(1)).toBe(true);
  });

  it('split.drv.avail-notify.ignore-avail-event: the word behind the elements has no influence', () => {
    const { device, send } = driverSide(false);
    for (const event of [0, 1, 5, 0x7fff, 0xffff]) {
      device.availableEvent(event);
      device.flags(0);
      expect(send(1)).toBe(true);
      device.flags(1);
      expect(send(1)).toBe(false);
    }
  });

  it('nothing added, nothing to notify', () => {
    for (const eventIndex of [false, true]) {
      const { device, queue } = driverSide(eventIndex);
      device.availableEvent(0xffff);
      expect(queue.publish()).toBe(false);
    }
  });
});

describe('available-buffer notifications by event index', () => {
  it('split.drv.avail-notify.event-hit-notify: exactly if the named entry is filled (11.23), also at the index wrap', () => {
    const { device, send } = driverSide(true);
    let hit = 0;
    for (const start of [0, 0x7ff0, 0xffc0]) {
      while (device.nextIndex < start) send(1);
      for (let turn = 0; turn < 400; turn += 1) {
        const count = 1 + (turn % SIZE);
        const from = device.nextIndex;
        const events = eventsAround(from, count);
        const event = events[turn % events.length] ?? 0;
        device.availableEvent(event);
        const expected = hits(from, count, event);
        if (expected) hit += 1;
        expect(`${from} + ${count}, event ${event}: ${send(count)}`).toBe(
          `${from} + ${count}, event ${event}: ${expected}`,
        );
      }
    }
    expect(hit).toBeGreaterThan(200);
  });

  it('split.drv.avail-notify.event-miss-silent: an entry far ahead or just passed is not named', () => {
    const { device, send } = driverSide(true);
    send(3);
    device.availableEvent(103);
    for (let turn = 0; turn < 20; turn += 1) expect(send(1)).toBe(false);
    device.availableEvent(device.nextIndex - 1);
    for (let turn = 0; turn < 20; turn += 1) expect(send(1)).toBe(false);
  });

  it('split.drv.avail-notify.ignore-flags-with-event-idx: the flags word has no influence', () => {
    const { device, send } = driverSide(true);
    for (const flags of [0, 1]) {
      device.flags(flags);
      device.availableEvent(device.nextIndex);
      expect(send(1)).toBe(true);
      expect(send(1)).toBe(false);
    }
  });
});

describe('what the device says of notifications', () => {
  it.each(['split.dev.avail-notify.flags-range', 'split.dev.avail-notify.flags-suppress'])(
    '%s: its flags are 0 or 1, and 1 while it needs none',
    () => {
      const { place, queue, complete } = deviceSide(false);
      expect(place.usedFlags()).toBe(0);
      for (let turn = 0; turn < 20; turn += 1) {
        queue.suppressNotification();
        expect(place.usedFlags()).toBe(1);
        // Chains are taken all the same.
        complete(1 + (turn % SIZE));
        queue.suppressNotification();
        expect(place.usedFlags()).toBe(1);
        expect(queue.armNotification()).toBe(true);
        expect(place.usedFlags()).toBe(0);
        expect(place.availableEvent()).toBe(0);
      }
    },
  );

  it('split.dev.avail-notify.flags-zero-with-event-idx: its flags stay 0 with an event index', () => {
    const { place, queue, complete } = deviceSide(true);
    for (let turn = 0; turn < 20; turn += 1) {
      queue.suppressNotification();
      complete(1 + (turn % SIZE));
      expect(place.usedFlags()).toBe(0);
      queue.armNotification();
      expect(place.usedFlags()).toBe(0);
    }
  });

  it('split.dev.avail-notify.avail-event: its event index names the entry that is filled next', () => {
    const { place, queue, guest, chain, complete } = deviceSide(true);
    while (guest.nextIndex !== 0xfff0) complete(8);
    for (let turn = 0; turn < 40; turn += 1) {
      expect(queue.armNotification()).toBe(true);
      expect(place.availableEvent()).toBe(guest.nextIndex);
      complete(1);
    }
    // With a chain there, that one; and no leave to sleep.
    guest.offer(0);
    expect(queue.armNotification()).toBe(false);
    expect(place.availableEvent()).toBe((guest.nextIndex - 1) & 0xffff);
    queue.pop(chain);
    queue.suppressNotification();
    // Suppressed, it names an entry that is filled last of all.
    expect(place.availableEvent()).toBe((guest.nextIndex - 1) & 0xffff);
  });

  it('split.dev.avail-notify.spurious-handled: a notification without a chain does no harm', () => {
    const { place, queue, guest, chain, complete } = deviceSide(true);
    complete(3);
    for (let turn = 0; turn < 100; turn += 1) {
      expect(queue.ready()).toBe(false);
      expect(queue.pop(chain)).toBe(Popped.EMPTY);
      expect(queue.publish()).toBe(false);
    }
    expect(place.usedIndex()).toBe(3);
    complete(1);
    expect([place.usedIndex(), guest.nextIndex]).toEqual([4, 4]);
  });

  it.each(['split.dev.supply.immediate-access', 'split.dev.supply.suppress-notify'])(
    '%s: a chain is taken without a notification',
    () => {
      for (const eventIndex of [false, true]) {
        const { queue, guest, chain } = deviceSide(eventIndex);
        queue.suppressNotification();
        guest.offer(0);
        expect(queue.ready()).toBe(true);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
      }
    },
  );
});

describe('what the driver says of notifications', () => {
  it.each(['split.drv.used-notify.flags-range', 'split.drv.used-notify.flags-suppress'])(
    '%s: its flags are 0 or 1, and 1 while it needs none',
    () => {
      const { place, queue, send } = driverSide(false);
      expect(place.availableFlags()).toBe(0);
      for (let turn = 0; turn < 20; turn += 1) {
        queue.suppressNotification();
        expect(place.availableFlags()).toBe(1);
        send(1 + (turn % SIZE));
        queue.suppressNotification();
        expect(place.availableFlags()).toBe(1);
        expect(queue.armNotification()).toBe(true);
        expect(place.availableFlags()).toBe(0);
        expect(place.usedEvent()).toBe(0);
      }
    },
  );

  it('split.drv.used-notify.flags-zero-with-event-idx: its flags stay 0 with an event index', () => {
    const { place, queue, send } = driverSide(true);
    for (let turn = 0; turn < 20; turn += 1) {
      queue.suppressNotification();
      send(1 + (turn % SIZE));
      expect(place.availableFlags()).toBe(0);
      queue.armNotification();
      expect(place.availableFlags()).toBe(0);
    }
  });

  it('split.drv.used-notify.used-event: its event index names the element that is filled next', () => {
    const { place, queue, device, send } = driverSide(true);
    while (device.nextIndex !== 0xfff0) send(8);
    for (let turn = 0; turn < 40; turn += 1) {
      expect(queue.armNotification()).toBe(true);
      expect(place.usedEvent()).toBe(device.nextIndex);
      send(1);
    }
    queue.suppressNotification();
    expect(place.usedEvent()).toBe((device.nextIndex - 1) & 0xffff);
  });

  it('split.drv.used-notify.spurious-handled: a notification without a used chain does no harm', () => {
    const { queue, send } = driverSide(true);
    send(3);
    for (let turn = 0; turn < 100; turn += 1) {
      expect(queue.ready()).toBe(false);
      expect(queue.take()).toBe(-1);
    }
    send(1);
    expect([queue.inFlight, queue.fault]).toEqual([0, undefined]);
  });

  it('split.drv.receive.disable-while-draining: what comes between the last look and arming is seen', () => {
    for (const eventIndex of [false, true]) {
      const arena = new Arena();
      const place = new SplitPlace(arena, SIZE);
      const features = { indirect: false, eventIndex };
      const queue = new SplitDriverQueue({ memory: arena.memory, layout: place.layout, features });
      const device = new DeviceRingWriter(arena.view, place);
      const list = arena.buffers([], [4]);
      for (const token of [1, 2]) queue.add(list, token);
      queue.publish();
      queue.suppressNotification();
      device.use([0]);
      expect([queue.take(), queue.take()]).toEqual([1, -1]);
      // The device sees the suppression and stays silent.
      device.use([1]);
      expect(queue.armNotification()).toBe(false);
      expect(queue.take()).toBe(2);
      expect(queue.armNotification()).toBe(true);
    }
  });
});
