/**
 * Saving and restoring: a queue that is made anew from what was saved goes on as if nothing had happened.
 *
 * One and the same script runs twice, once undisturbed and once with sides that are saved and restored at random
 * moments. Every answer, every decision to notify and every byte of memory has to be the same.
 */

import { IommuError } from '@viommu/common';
import { BufferList, Chain, Popped, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { FORMATS, PACKED, SPLIT } from './kit/format.ts';
import { must } from './kit/must.ts';
import { Random } from './kit/random.ts';
import { Station, type StationOptions, asText } from './kit/station.ts';
import { WatchedMemory } from './kit/watched-memory.ts';

const SLOTS = 64;
const SLOT_BYTES = 32;
const STEPS = 1500;

interface Run {
  readonly log: readonly string[];
  readonly memory: Uint8Array;
  readonly restored: number;
  readonly busy: number;
}

/** Runs the script of `seed`; `restoring` decides where a side is made anew. */
function run(options: StationOptions, seed: number, warmUp: number, restoring?: Random): Run {
  const station = new Station(options);
  const { arena, driver } = station;
  const random = new Random(seed);
  const slots = arena.allocate(SLOTS * SLOT_BYTES);
  // Some lists stay as they are, so that the driver knows them again; the others change each time.
  const lists = Array.from({ length: SLOTS }, () => new BufferList(6));
  const freeSlots = [...Array(SLOTS).keys()];
  const held: Chain[] = [];
  const log: string[] = [];
  let pushed = 0;
  let armed = true;
  let busy = 0;
  let restored = 0;

  const fill = (list: BufferList, slot: number): void => {
    list.clear();
    let at = slots + slot * SLOT_BYTES;
    const readable = 1 + random.below(3);
    const buffers = 1 + random.below(Math.min(5, driver.size));
    for (let buffer = 0; buffer < buffers; buffer += 1) {
      const bytes = 1 + random.below(4);
      if (buffer < readable) list.addReadable(arena.address(at), bytes);
      else list.addWritable(arena.address(at), bytes);
      at += bytes;
    }
  };
  const add = (): void => {
    const slot = freeSlots.shift();
    if (slot === undefined) return;
    const list = lists[slot] ?? new BufferList(6);
    if (list.count === 0 || slot % 2 === 0) fill(list, slot);
    const added = station.driver.add(list, slot);
    log.push(`add ${slot} ${added}`);
    if (!added) freeSlots.push(slot);
  };
  const pop = (): void => {
    const chain = new Chain(arena.memory, station.device.size);
    const popped = station.device.pop(chain);
    must(popped !== Popped.BROKEN, `the device finds ${station.device.fault}`);
    if (popped !== Popped.CHAIN) return;
    log.push(`pop ${chain.id} ${chain.readableBytes} ${chain.writableBytes}`);
    held.push(chain);
  };
  const push = (): void => {
    const at = options.inOrder === true ? 0 : random.below(Math.max(held.length, 1));
    const [chain] = held.splice(at, 1);
    if (chain === undefined) return;
    station.device.push(chain, chain.writableBytes);
    pushed += 1;
  };
  const publishUsed = (): void => {
    log.push(`used ${station.device.publish()}`);
    pushed = 0;
  };
  const take = (): void => {
    const token = station.driver.take();
    must(token !== Taken.BROKEN, `the driver finds ${station.driver.fault}`);
    if (token === Taken.EMPTY) return;
    log.push(`take ${token} ${station.driver.takenBytes} ${station.driver.inFlight}`);
    freeSlots.push(token);
  };
  const actions = [
    add,
    add,
    add,
    pop,
    pop,
    push,
    push,
    take,
    take,
    () => log.push(`publish ${station.driver.publish()} ${station.driver.position}`),
    publishUsed,
    () => {
      log.push(`arm ${station.driver.armNotification()} ${station.device.armNotification()}`);
      armed = true;
    },
    () => {
      // A restored side does not know that it wants no notification, and says so once more.
      if (armed) station.driver.suppressNotification();
      if (armed) station.device.suppressNotification();
      armed = false;
    },
  ];
  const disturb = (source: Random): void => {
    if (source.once(8)) {
      const state = station.driver.save();
      station.restoreDriver();
      must(same(station.driver.save(), state), 'a restored driver saves another state');
      restored += 1;
    }
    if (!source.once(8)) return;
    if (held.length > 0 || pushed > 0) {
      must(saving(station) === 'EBUSY', 'a busy device is saved');
      busy += 1;
      return;
    }
    const state = station.device.save();
    station.restoreDevice();
    must(same(station.device.save(), state), 'a restored device saves another state');
    restored += 1;
  };

  const list = arena.buffers([], [1]);
  const first = new Chain(arena.memory, driver.size);
  for (let turn = 0; turn < warmUp; turn += 1) {
    driver.add(list, 0);
    driver.publish();
    station.device.pop(first);
    station.device.push(first, 1);
    station.device.publish();
    driver.take();
  }
  for (let step = 0; step < STEPS; step += 1) {
    random.pick(actions)();
    if (restoring !== undefined) disturb(restoring);
  }
  // Everything that is still on its way arrives, once.
  station.driver.publish();
  for (let turn = 0; turn < 3 * SLOTS; turn += 1) {
    pop();
    push();
    publishUsed();
    take();
  }
  must(station.driver.inFlight === 0 && freeSlots.length === SLOTS, 'chains are lost');
  return { log, memory: arena.copy(0, arena.bytes.length), restored, busy };
}

/** What saving the device's side fails with. */
function saving({ device }: Station): string {
  try {
    device.save();
    return 'nothing';
  } catch (error) {
    return error instanceof IommuError ? error.code : String(error);
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

const ORDERS = [
  { order: 'any', inOrder: false, batchUsed: false },
  { order: 'the same', inOrder: true, batchUsed: false },
  { order: 'the same, in batches', inOrder: true, batchUsed: true },
];

describe.each(FORMATS)('$name: a queue saved and restored at any time', (format) => {
  const cases = format.sizes.flatMap((size) =>
    [0, 4].flatMap((buffersPerTable) =>
      ORDERS.map((order) => ({ size, buffersPerTable, ...order, warmUp: size === 8 ? 65_500 : 0 })),
    ),
  );

  it.each(cases)(
    'goes on where it was: size $size, tables of $buffersPerTable, used in $order order',
    ({ warmUp, ...options }) => {
      const seed = options.size * 8 + options.buffersPerTable;
      const undisturbed = run({ format, ...options }, seed, warmUp);
      const disturbed = run({ format, ...options }, seed, warmUp, new Random(seed + 1));
      expect(disturbed.log.join('\n')).toBe(undisturbed.log.join('\n'));
      expect(disturbed.memory.every((byte, at) => byte === undisturbed.memory[at])).toBe(true);
      expect(undisturbed.log.length).toBeGreaterThan(STEPS / 4);
      expect(disturbed.restored).toBeGreaterThan(150);
      expect(disturbed.busy).toBeGreaterThan(10);
    },
  );
});

describe.each(FORMATS)('$name: a saved driver', (format) => {
  /** Two chains published and one held back, each of two buffers. */
  const busyStation = (options: Partial<StationOptions> = {}): Station => {
    const station = new Station({ format, size: 8, ...options });
    const list = station.arena.buffers([Uint8Array.of(1)], [4]);
    for (const token of [10, 11]) station.driver.add(list, token);
    station.driver.publish();
    station.driver.add(list, 12);
    return station;
  };

  it('comes back without a look at shared memory, and without a write to it', () => {
    for (const buffersPerTable of [0, 4]) {
      const station = busyStation({ buffersPerTable });
      const state = station.driver.save();
      const memory = new WatchedMemory(station.arena);
      const driver = station.createDriver(state, { memory });
      expect(memory.count).toBe(0);
      expect(driver.save()).toEqual(state);
    }
  });

  it('says which chains are in flight, which are held back and which descriptors are free', () => {
    const split = {
      ids: [
        [0, 1],
        [2, 3],
        [4, 5],
      ],
      free: [6, 7],
      position: 3,
      heldFlags: 0,
    };
    const packed = {
      ids: [[0], [1], [2]],
      free: [3, 4, 5, 6, 7],
      position: 6 | 0x8000,
      heldFlags: 1, // NEXT
    };
    const { ids, ...rest } = format === SPLIT ? split : packed;
    expect(busyStation().driver.save()).toEqual({
      version: 1,
      size: 8,
      features: { indirect: false, eventIndex: true, inOrder: false, packed: format === PACKED },
      buffersPerTable: 0,
      chains: [10, 11, 12].map((token, index) => ({
        token,
        writableBytes: 4,
        ids: ids[index],
        slots: 2,
      })),
      unpublished: 1,
      broken: false,
      ...rest,
    });
  });

  it('describes anew what it had described before', () => {
    const size = 2;
    for (const buffersPerTable of [0, 4]) {
      const station = new Station({ format, size, buffersPerTable });
      const { arena } = station;
      const list = arena.buffers([Uint8Array.of(1)], [4]);
      const chain = new Chain(arena.memory, size);
      const once = (token: number): string => {
        station.driver.add(list, token);
        station.driver.publish();
        const popped = station.device.pop(chain);
        station.device.push(chain, 4);
        station.device.publish();
        return `${popped} ${chain.readableBytes} ${chain.writableBytes} ${station.driver.take()}`;
      };
      for (let token = 0; token < 4; token += 1) expect(once(token)).toBe(`1 1 4 ${token}`);
      station.restoreDriver();
      // Somebody wiped what no chain uses: all descriptors of a split ring, and the tables.
      if (format === SPLIT) arena.bytes.fill(0, station.ring, station.ring + 16 * size);
      arena.bytes.fill(0, station.tables, station.end);
      for (let token = 4; token < 8; token += 1) expect(once(token)).toBe(`1 1 4 ${token}`);
    }
  });

  it('is not misled by descriptors that changed meanwhile', () => {
    const station = busyStation();
    const state = station.driver.save();
    const driver = station.createDriver(state);
    const chain = new Chain(station.arena.memory, 8);
    for (const bytes of [1, 2]) {
      expect(station.device.pop(chain)).toBe(Popped.CHAIN);
      station.device.push(chain, bytes);
    }
    station.device.publish();
    // The device destroys what it may not touch: of a split ring the descriptors.
    if (format === SPLIT) station.arena.bytes.fill(0xff, station.ring, station.ring + 16 * 8);
    expect([driver.take(), driver.takenBytes]).toEqual([10, 1]);
    expect([driver.take(), driver.takenBytes]).toEqual([11, 2]);
    expect([driver.take(), driver.inFlight]).toEqual([-1, 1]);
    expect(driver.save().free).toHaveLength(format === SPLIT ? 6 : 7);
  });

  it('keeps the unpublished from the device until it publishes', () => {
    const station = busyStation();
    station.restoreDriver();
    const chain = new Chain(station.arena.memory, 8);
    const popped = () => station.device.pop(chain);
    expect([popped(), popped(), popped()]).toEqual([Popped.CHAIN, Popped.CHAIN, Popped.EMPTY]);
    station.driver.publish();
    expect([popped(), chain.readableBytes, chain.writableBytes]).toEqual([Popped.CHAIN, 1, 4]);
  });

  it('takes the rest of a batch', () => {
    const station = busyStation({ inOrder: true, batchUsed: true });
    station.driver.publish();
    const chain = new Chain(station.arena.memory, 8);
    for (const bytes of [4, 4, 3]) {
      station.device.pop(chain);
      station.device.push(chain, bytes);
    }
    station.device.publish();
    for (const answer of ['10 4', '11 4', '12 3', '-1 3']) {
      const token = station.driver.take();
      expect(`${token} ${station.driver.takenBytes}`).toBe(answer);
      station.restoreDriver();
      if (token === 11) break;
    }
    expect([station.driver.take(), station.driver.takenBytes]).toEqual([12, 3]);
  });

  it('that met a broken ring, and a device that did, stay broken', () => {
    const station = busyStation();
    const { bytes, memory, view } = station.arena;
    const chain = new Chain(memory, 8);
    // Indices that are far ahead; or flags that say used and then available, with an id and a table that are none.
    bytes.fill(format === SPLIT ? 0x55 : 0xff, station.ring, station.end);
    expect(station.driver.take()).toBe(Taken.BROKEN);
    if (format === PACKED)
      for (let at = station.ring; at < station.end; at += 2) view.setUint16(at, 0x7fff, true);
    expect(station.device.pop(chain)).toBe(Popped.BROKEN);
    station.restoreDevice();
    const { fault } = station.device;
    expect(fault).toMatch(/before the queue was saved/);
    expect(station.device.pop(chain)).toBe(Popped.BROKEN);
    // What is in the ring now is no new reason.
    expect([station.device.ready(), station.device.fault]).toEqual([true, fault]);
    station.restoreDriver();
    expect([station.driver.take(), station.driver.ready()]).toEqual([Taken.BROKEN, true]);
  });

  it('a device with a chain in its hands cannot be saved, nor one that holds back what it used', () => {
    const station = busyStation();
    const chain = new Chain(station.arena.memory, 8);
    const busy = expect.objectContaining({ code: 'EBUSY' });
    station.device.pop(chain);
    expect(() => station.device.save()).toThrow(busy);
    station.device.push(chain, 0);
    expect(() => station.device.save()).toThrow(busy);
    station.device.publish();
    expect(asText(station.device.save())).toEqual({
      version: 1,
      size: 8,
      features: { indirect: false, eventIndex: true, inOrder: false, packed: format === PACKED },
      position: format === SPLIT ? 1 : 2 | 0x8000,
      broken: false,
    });
  });
});
