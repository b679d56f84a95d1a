/**
 * Who is notified of what: the event suppression structures in both directions.
 *
 * Each test drives one side and plays the other by writing its half of the ring.
 */

import { Chain, PackedDeviceQueue, PackedDriverQueue, Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { must } from '../kit/must.ts';
import { PackedDeviceWriter } from '../kit/packed-device-writer.ts';
import { PackedGuestWriter } from '../kit/packed-guest-writer.ts';
import { Lap, PackedPlace } from '../kit/packed-place.ts';
import { WatchedMemory } from '../kit/watched-memory.ts';

/** One side of a queue, and a way of making the other side's notifications of it due. */
interface Side {
  readonly arena: Arena;
  readonly place: PackedPlace;
  readonly memory: WatchedMemory;
  readonly queue: PackedDeviceQueue | PackedDriverQueue;
  /** The next slot that this side publishes. */
  readonly at: Lap;
  /** What the other side says of notifications. */
  readonly says: (desc: number, flags: number) => void;
  /** What this side says. */
  readonly said: () => { desc: number; flags: number };
  /** Publishes lists of these lengths at once; true if the other side is to be notified. Leaves nothing in flight. */
  readonly publish: (lengths: readonly number[]) => boolean;
  /** Makes one list ready for this side. */
  readonly give: () => void;
  /** Takes what {@link give} gave, as far as it is there. */
  readonly take: () => number;
}

interface SideOptions {
  readonly size?: number;
  readonly eventIndex?: boolean;
}

/** The device's side, which uses lists of a guest. */
function deviceSide({ size = 5, eventIndex = true }: SideOptions = {}): Side {
  const arena = new Arena();
  const place = new PackedPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const features = { indirect: false, eventIndex };
  const queue = new PackedDeviceQueue({ memory, layout: place.layout, features });
  const guest = new PackedGuestWriter(arena.view, place);
  const chain = new Chain(memory, size);
  const at = new Lap(size);
  const give = (length = 1): void => {
    guest.offer(0, Array(length).fill({ address: 0n, length: 0 }));
  };
  const take = (): number => {
    let count = 0;
    for (; queue.pop(chain) === Popped.CHAIN; count += 1) queue.push(chain, 0);
    return count;
  };
  return {
    arena,
    place,
    memory,
    queue,
    at,
    says: (desc, flags) => guest.event(desc, flags),
    said: () => place.deviceSays(),
    publish: (lengths) => {
      for (const length of lengths) {
        give(length);
        at.advance(length);
      }
      must(take() === lengths.length, `the device finds ${queue.fault}`);
      return queue.publish();
    },
    give,
    take,
  };
}

/** The driver's side, whose lists a device uses. */
function driverSide({ size = 5, eventIndex = true }: SideOptions = {}): Side {
  const arena = new Arena();
  const place = new PackedPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const features = { indirect: false, eventIndex };
  const queue = new PackedDriverQueue({ memory, layout: place.layout, features });
  const device = new PackedDeviceWriter(arena.view, place);
  const at = new Lap(size);
  const take = (): number => {
    let count = 0;
    while (queue.take() >= 0) count += 1;
    return count;
  };
  const add = (length: number): void => {
    must(queue.add(arena.buffers([], Array(length).fill(0)), 0), 'no room');
    at.advance(length);
  };
  const use = (length: number): void => {
    const last = device.next.ahead(length - 1);
    device.use(place.slot(last.slot).id, 0, length);
  };
  return {
    arena,
    place,
    memory,
    queue,
    at,
    says: (desc, flags) => device.event(desc, flags),
    said: () => place.driverSays(),
    publish: (lengths) => {
      for (const length of lengths) add(length);
      const notify = queue.publish();
      for (const length of lengths) use(length);
      must(take() === lengths.length, `the driver finds ${queue.fault}`);
      return notify;
    },
    give: () => {
      add(1);
      queue.publish();
      use(1);
    },
    take,
  };
}

const SIDES = [
  ['used-buffer notifications of a device', deviceSide],
  ['available-buffer notifications of a driver', driverSide],
] as const;

/** Batches of up to `slots` slots. */
function* batches(slots: number): Generator<readonly number[]> {
  for (let first = 1; first <= slots; first += 1) {
    yield [first];
    for (const rest of batches(slots - first)) yield [first, ...rest];
  }
}

describe.each(SIDES)('%s', (_, create) => {
  it.each([
    ['enabled', 0, true],
    ['disabled', 1, false],
    ['of the reserved mode, as if enabled (10.8)', 3, true],
  ])('are sent as the other side says: %s', (__, mode, expected) => {
    for (const eventIndex of [false, true]) {
      const { says, publish } = create({ eventIndex });
      for (const lengths of batches(5)) {
        // Neither the descriptor nor the reserved bits have a meaning then.
        for (const desc of [0, 0x8000, 3, 0xffff]) {
          for (const reserved of [0, 4, 0x8000, 0xfffc]) {
            says(desc, mode | reserved);
            must(publish(lengths) === expected, `${lengths.join()}: ${desc}, ${mode | reserved}`);
          }
        }
      }
      expect(publish([])).toBe(false);
    }
  });

  it('go by the mode of one descriptor only with the feature; without, they are sent (10.9)', () => {
    const { publish, says } = create({ eventIndex: false });
    for (const lengths of batches(4))
      for (const desc of [0, 1, 4, 0x8000, 0x8001, 0xffff]) {
        says(desc, 2);
        must(publish(lengths), `${lengths.join()}: ${desc}`);
      }
    expect(publish([])).toBe(false);
  });

  it.each([1, 2, 3, 5, 7])(
    'are sent exactly if the descriptor that was named is among the published ones (11.23), size %i',
    (size) => {
      const { at, says, publish } = create({ size });
      let sent = 0;
      let spared = 0;
      for (const lengths of batches(size)) {
        const count = lengths.reduce((sum, length) => sum + length, 0);
        // Named slots: those of this lap and the next, ahead and behind. Behind is as far ahead as can be.
        for (let distance = 0; distance < 2 * size; distance += 1) {
          const named = at.ahead(0);
          for (let step = 0; step < distance; step += 1) named.advance(1);
          says(named.word, 2);
          const found = publish(lengths);
          const wanted = distance < count;
          must(found === wanted, `${lengths.join()}, ${distance} on: ${found}`);
          if (found) sent += 1;
          else spared += 1;
        }
      }
      expect([sent > 0, spared > 0]).toEqual([true, true]);
    },
  );

  it('are sent once for a batch, and not again until the other side asks', () => {
    const { at, says, publish } = create();
    for (let round = 0; round < 50; round += 1) {
      says(at.word, 2);
      const sent = [[2, 1], [1], [1, 1, 2], [2]].map((lengths) => publish(lengths));
      expect(sent).toEqual([true, false, false, false]);
      // Two laps on, the same word names the slot again.
      expect(publish([1])).toBe(true);
    }
  });

  it('go by the four bytes of the standard', () => {
    const { arena, place, at, publish } = create({ size: 4 });
    const event = create === deviceSide ? place.driverEvent : place.deviceEvent;
    const say = (...bytes: readonly number[]): void => arena.bytes.set(bytes, event);
    say(0, 0, 0, 0);
    expect([publish([1]), publish([1])]).toEqual([true, true]);
    say(0, 0, 1, 0);
    expect([publish([1]), at.word]).toEqual([false, 0x8003]);
    // Slot 3 of the lap with wrap counter 1, which is the next.
    say(3, 0x80, 2, 0);
    expect([publish([1]), publish([1, 1, 1])]).toEqual([true, false]);
    expect(at.word).toBe(3);
    // Now it is slot 3 of the lap with wrap counter 0.
    expect([publish([1]), publish([3])]).toEqual([false, false]);
    expect([publish([1]), publish([1])]).toEqual([true, false]);
  });

  it('R-15 a descriptor named beyond the ring is no more than a wrong wish', () => {
    for (const size of [1, 3, 5]) {
      const { says, publish, queue } = create({ size });
      for (let slot = size; slot < 0x8000; slot += 117)
        for (const wrap of [0, 0x8000]) {
          says(slot | wrap, 2);
          must(typeof publish([1]) === 'boolean', 'an answer');
        }
      says(0, 0);
      expect([publish([1]), queue.fault]).toEqual([true, undefined]);
    }
  });
});

describe.each(SIDES)('what it says itself: %s', (_, create) => {
  it('at first, that it wants every notification', () => {
    expect(create().said()).toEqual({ desc: 0, flags: 0 });
  });

  it(`${create === deviceSide ? 'packed.dev.supply.suppress-notify: ' : ''}that it wants none, or any, without the feature`, () => {
    const { queue, said, publish } = create({ eventIndex: false });
    for (let turn = 0; turn < 20; turn += 1) {
      queue.suppressNotification();
      expect(said()).toEqual({ desc: 0, flags: 1 });
      // Its work goes on all the same.
      publish([1, 2]);
      queue.suppressNotification();
      expect(said()).toEqual({ desc: 0, flags: 1 });
      expect(queue.armNotification()).toBe(true);
      expect(said()).toEqual({ desc: 0, flags: 0 });
    }
  });

  it(`${create === deviceSide ? 'packed.dev.supply.suppress-notify: ' : ''}that it wants none, or that of the next slot`, () => {
    for (const size of [1, 3, 4]) {
      const { queue, at, said, publish } = create({ size });
      for (let turn = 0; turn < 6 * size; turn += 1) {
        expect(queue.armNotification()).toBe(true);
        expect(said()).toEqual({ desc: at.word, flags: 2 });
        queue.suppressNotification();
        expect(said().flags).toBe(1);
        publish([1 + (turn % size)]);
      }
    }
  });

  it('nothing that it has said already, when it needs no notification', () => {
    const { memory, queue, publish } = create();
    for (let turn = 0; turn < 3; turn += 1) {
      queue.armNotification();
      queue.suppressNotification();
      publish([1]);
      memory.trace = [];
      queue.suppressNotification();
      expect(memory.trace).toEqual([]);
    }
  });

  it('the descriptor before the mode, so that the other side sees none without the other', () => {
    const { memory, place, queue, publish } = create();
    const event = create === deviceSide ? place.deviceEvent : place.driverEvent;
    queue.suppressNotification();
    publish([2]);
    memory.trace = [];
    queue.armNotification();
    const writes = memory.trace.filter(({ kind }) => kind === 'write');
    expect(writes).toEqual([
      { kind: 'write', position: event, length: 2, ordered: true },
      { kind: 'write', position: event + 2, length: 2, ordered: true },
    ]);
    // And the last look comes after both.
    expect(memory.trace.at(-1)?.kind).toBe('read');
  });

  it(`${create === deviceSide ? 'packed.dev.supply.immediate-access' : 'packed.drv.receive.disable-while-draining'}: what comes while it wants no notification is seen`, () => {
    for (const eventIndex of [false, true]) {
      const { queue, give, take } = create({ eventIndex });
      queue.suppressNotification();
      give();
      expect(queue.ready()).toBe(true);
      expect([take(), take()]).toEqual([1, 0]);
      // The other side sees the suppression and stays silent.
      give();
      expect(queue.armNotification()).toBe(false);
      expect(take()).toBe(1);
      expect(queue.armNotification()).toBe(true);
    }
  });

  it(`${create === driverSide ? 'packed.drv.desc.repeat-notify: ' : ''}a notification with nothing new does no harm`, () => {
    const { arena, queue, publish, take } = create();
    publish([2, 1]);
    const before = arena.bytes.slice();
    const position = 'position' in queue ? queue.position : 0;
    for (let turn = 0; turn < 1000; turn += 1)
      must(!queue.ready() && take() === 0 && !queue.publish(), 'there is nothing');
    expect(arena.bytes).toEqual(before);
    if ('position' in queue) expect(queue.position).toBe(position);
    expect([publish([1]), queue.fault]).toEqual([true, undefined]);
  });
});
