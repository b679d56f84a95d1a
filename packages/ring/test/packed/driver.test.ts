/** What the driver's side writes, judged byte by byte against the clauses on drivers. */

import { DescriptorFlag, guestPhysical } from '@viommu/common';
import { BufferList, PackedDeviceQueue, PackedDriverQueue, type QueueFeatures } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { must } from '../kit/must.ts';
import { PackedDeviceWriter } from '../kit/packed-device-writer.ts';
import { Lap, PackedPlace } from '../kit/packed-place.ts';
import { type WalkedList, walkList } from '../kit/packed-walk.ts';
import { Random } from '../kit/random.ts';
import { tryAdd } from '../kit/try-add.ts';
import { WatchedMemory } from '../kit/watched-memory.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

interface Run {
  readonly size?: number;
  readonly features?: Partial<QueueFeatures>;
  readonly buffersPerChain?: number;
}

/** A driver's queue, and a device for it to be written by the test. */
function setUp({ size = 8, features = {}, buffersPerChain = 4 }: Run = {}) {
  const arena = new Arena();
  const place = new PackedPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const tables = arena.allocate(size * buffersPerChain * 16, 16);
  const queue = new PackedDriverQueue({
    memory,
    layout: place.layout,
    features: { indirect: false, eventIndex: true, ...features },
    indirect: { address: arena.address(tables), buffersPerChain },
  });
  const device = new PackedDeviceWriter(arena.view, place);
  /** Where the driver writes next. */
  const next = new Lap(size);
  return { arena, place, memory, queue, device, next };
}

interface Seen extends WalkedList {
  /** The list as it was handed over, and its token. */
  readonly list: BufferList;
  readonly token: number;
}

/** A long run of lists of any length, used in any order; `see` is called for each as it becomes available. */
function run(side: ReturnType<typeof setUp>, see: (list: Seen, inFlight: readonly Seen[]) => void) {
  const { arena, place, queue, device, next } = side;
  const { size } = place;
  const random = new Random(size);
  const at = arena.allocate(256);
  const inFlight: Seen[] = [];
  let lists = 0;
  for (let token = 0; token < 1200; token += 1) {
    const list = new BufferList(size + 2);
    const count = 1 + random.below(size + 1);
    const readable = random.below(count + 1);
    for (let index = 0; index < count; index += 1) {
      const address = arena.address(at + random.below(128));
      if (index < readable) list.addReadable(address, random.below(64));
      else list.addWritable(address, random.below(64));
    }
    if (tryAdd(queue, list, token)) {
      queue.publish();
      const seen = { ...walkList(arena, place, next), list, token };
      next.advance(seen.slots.length);
      must(queue.position === next.word, `position ${queue.position} and not ${next.word}`);
      inFlight.push(seen);
      lists += 1;
      see(seen, inFlight);
    }
    if (inFlight.length === 0 || random.once(3)) continue;
    const [back] = inFlight.splice(random.below(inFlight.length), 1);
    must(back !== undefined, 'a list is in flight');
    device.use(back.id, 0, back.slots.length);
    must(queue.take() === back.token, `the driver finds ${queue.fault}`);
  }
  expect(lists).toBeGreaterThan(200);
}

const RUNS: Run[] = [
  { size: 1 },
  { size: 3 },
  { size: 8 },
  { size: 3, features: { indirect: true }, buffersPerChain: 16 },
  { size: 8, features: { indirect: true } },
];

/** All lists of all runs. */
function* everyList(runs: readonly Run[] = RUNS): Generator<Seen> {
  for (const options of runs) {
    const lists: Seen[] = [];
    run(setUp(options), (list) => lists.push(list));
    yield* lists;
  }
}

describe('lists', () => {
  it('describe each buffer as it was handed over, in slots or in a table', () => {
    for (const { list, buffers } of everyList())
      expect(buffers.map(({ addr, len, flags }) => [addr, len, flags & WRITE])).toEqual(
        Array.from({ length: list.count }, (_, index) => [
          list.address(index),
          list.lengthBytes(index),
          index < list.readableCount ? 0 : WRITE,
        ]),
      );
  });

  it('packed.drv.sg.writable-last: no readable buffer follows a writable one', () => {
    for (const { buffers } of everyList()) {
      const flags = buffers.map((entry) => entry.flags & WRITE);
      expect(flags).toEqual(flags.toSorted((a, b) => a - b));
    }
  });

  it.each(['packed.drv.sg.list-within-queue-size', 'packed.drv.sg.list-within-device-limit'])(
    '%s: a list takes a slot for each buffer, and no more than there are',
    () => {
      for (const size of [1, 2, 3, 5, 8]) {
        const lists = [...everyList([{ size }])];
        expect(lists.map(({ slots }) => slots.length)).toEqual(lists.map(({ list }) => list.count));
        expect(Math.max(...lists.map(({ slots }) => slots.length))).toBe(size);
      }
    },
  );

  it('packed.drv.indirect.list-within-device-limit: a table has no more entries than the queue has slots', () => {
    const features = { indirect: true };
    for (const size of [2, 3, 5, 8]) {
      const lists = [...everyList([{ size, features, buffersPerChain: 16 }])];
      expect(Math.max(...lists.map(({ table }) => table.length))).toBe(size);
      expect(lists.every(({ slots }) => slots.length === 1)).toBe(true);
      expect(lists.map(({ buffers }) => buffers.length)).toEqual(
        lists.map(({ list }) => list.count),
      );
    }
  });

  it('packed.drv.indirect.needs-feature: no table without the feature', () => {
    for (const { slots } of everyList([{ size: 3 }, { size: 8 }]))
      expect(slots.every(({ entry }) => (entry.flags & INDIRECT) === 0)).toBe(true);
    // With it there are some, for lists of more than one buffer.
    const tables = [...everyList([{ features: { indirect: true } }])].map(
      ({ table }) => table.length,
    );
    expect(new Set(tables)).toEqual(new Set([0, 2, 3, 4]));
  });

  it('packed.drv.indirect.table-flags-write-only: entries of a table have no flag but WRITE', () => {
    for (const { table } of everyList())
      expect(table.every(({ flags, id }) => (flags & ~WRITE) === 0 && id === 0)).toBe(true);
  });

  it.each(['packed.drv.indirect.no-indirect-in-chain', 'fact.packed.no-mixing'])(
    '%s: a list is either slots or one table',
    () => {
      for (const { slots } of everyList()) {
        const tables = slots.filter(({ entry }) => (entry.flags & INDIRECT) !== 0);
        expect(tables.length === 0 || slots.length === 1).toBe(true);
        expect(tables.every(({ entry }) => (entry.flags & NEXT) === 0)).toBe(true);
      }
    },
  );

  it('fact.packed.id-last: the id in the last descriptor is one that no list in flight has', () => {
    for (const options of RUNS) {
      const ids = new Set<number>();
      run(setUp(options), ({ id }, inFlight) => {
        must(inFlight.filter((other) => other.id === id).length === 1, `id ${id} comes twice`);
        ids.add(id);
      });
      expect([...ids].toSorted((a, b) => a - b)).toEqual([...Array(options.size).keys()]);
    }
  });

  it('describe the buffers of now, whichever field differs from the last time', () => {
    const { place, queue, device, next } = setUp({ size: 1 });
    const buffers = [
      { address: 0x4000_0000n, length: 4, writable: false },
      { address: 0x4000_0010n, length: 4, writable: false },
      { address: 0x7_4000_0010n, length: 4, writable: false },
      { address: 0x7_4000_0010n, length: 5, writable: false },
      { address: 0x7_4000_0010n, length: 5, writable: true },
      { address: 0n, length: 0, writable: false },
    ];
    const list = new BufferList(1);
    for (const { address, length, writable } of [...buffers, ...buffers]) {
      list.clear();
      if (writable) list.addWritable(guestPhysical(address), length);
      else list.addReadable(guestPhysical(address), length);
      queue.add(list, 0);
      queue.publish();
      const flags = (writable ? WRITE : 0) | next.available;
      expect(place.slot(0)).toEqual({ addr: address, len: length, flags, id: 0 });
      next.advance(1);
      device.use(0, 4, 1);
      expect(queue.take()).toBe(0);
    }
  });
});

describe('slots', () => {
  it('fact.packed.zero-start: a ring begins with zeroes, and its first lap with wrap counters of 1', () => {
    const arena = new Arena();
    arena.bytes.fill(0xff);
    const place = new PackedPlace(arena, 3);
    const options = { memory: arena.memory, layout: place.layout };
    const features = { indirect: false, eventIndex: true };
    const queue = new PackedDriverQueue({ ...options, features });
    expect(arena.copy(place.ring, place.end - place.ring).every((byte) => byte === 0)).toBe(true);
    expect([queue.position, queue.inFlight]).toEqual([0x8000, 0]);
    queue.add(arena.buffers([Uint8Array.of(1)], []), 0);
    queue.publish();
    expect(place.slot(0).flags).toBe(0x0080);
    const device = new PackedDeviceQueue({ ...options, features });
    device.armNotification();
    expect(place.deviceSays()).toEqual({ desc: 0x8000, flags: 2 });
  });

  it.each(['packed.drv.sg.space-before-first', 'packed.drv.sg.no-partial-progress'])(
    '%s: nothing of a list is there until there is room for all of it',
    () => {
      for (let size = 2; size <= 6; size += 1)
        for (let count = 2; count <= size; count += 1) {
          const { arena, place, memory, queue, device } = setUp({ size });
          const single = arena.buffers([], [4]);
          const list = arena.buffers([], Array(count).fill(1));
          for (let token = 0; token < size; token += 1) must(queue.add(single, token), 'no room');
          queue.publish();
          for (let back = 0; back < count; back += 1) {
            memory.trace = [];
            expect(queue.add(list, 99)).toBe(false);
            queue.publish();
            expect(memory.trace.filter(({ kind }) => kind === 'write')).toEqual([]);
            device.use(place.slot(back).id, 4, 1);
            expect(queue.take()).toBe(back);
          }
          expect(queue.add(list, 99)).toBe(true);
        }
    },
  );

  it('packed.drv.sg.first-last: the first slot of a list turns available after all its others', () => {
    const { arena, place, memory, queue, device, next } = setUp({ size: 7 });
    const random = new Random(9);
    /** The places of lists that are being added: those of each list in order. */
    let lists: Lap[][] = [];
    let looks = 0;
    const isAvailable = (at: Lap | undefined): boolean =>
      at !== undefined && (place.slot(at.slot).flags & 0x8080) === at.available;
    memory.after = ({ kind }) => {
      if (kind !== 'write') return;
      looks += 1;
      for (const [first, ...others] of lists)
        must(!isAvailable(first) || others.every(isAvailable), 'a list is available in part');
    };
    for (let round = 0; round < 300; round += 1) {
      lists = [];
      for (let turn = random.below(4); turn > 0; turn -= 1) {
        const count = 1 + random.below(3);
        lists.push(Array.from({ length: count }, (_, slot) => next.ahead(slot)));
        if (!queue.add(arena.buffers([], Array(count).fill(0)), turn)) lists.pop();
        else next.advance(count);
      }
      queue.publish();
      for (const list of lists) {
        const { id, slots } = walkList(arena, place, list[0] ?? next);
        must(slots.length === list.length, 'a list has its length');
        device.use(id, 0, slots.length);
        must(queue.take() >= 0, `the driver finds ${queue.fault}`);
      }
    }
    expect(looks).toBeGreaterThan(2000);
  });

  it('packed.drv.supply.batch-slots: several lists become available with one store', () => {
    const { arena, place, memory, queue } = setUp();
    const features = { indirect: false, eventIndex: true };
    const device = new PackedDeviceQueue({ memory: arena.memory, layout: place.layout, features });
    memory.trace = [];
    for (let token = 0; token < 4; token += 1) queue.add(arena.buffers([], [1, 1]), token);
    expect(device.ready()).toBe(false);
    queue.publish();
    expect(device.ready()).toBe(true);
    const stores = memory.trace.filter(({ kind, ordered }) => kind === 'write' && ordered);
    expect(stores.map(({ position }) => position)).toEqual([place.flagsAt(0)]);
  });

  it('packed.drv.desc.reuse-only-used: a full ring stays as it is until a list is used', () => {
    for (const indirect of [false, true]) {
      const { arena, place, memory, queue, device } = setUp({ size: 5, features: { indirect } });
      const list = arena.buffers([Uint8Array.of(1)], indirect ? [4] : []);
      for (let token = 0; token < 5; token += 1) expect(queue.add(list, token)).toBe(true);
      queue.publish();
      memory.trace = [];
      for (let turn = 0; turn < 5; turn += 1) {
        expect(queue.add(list, 9)).toBe(false);
        queue.publish();
        expect(queue.take()).toBe(-1);
      }
      expect(memory.trace.filter(({ kind }) => kind === 'write')).toEqual([]);
      device.use(place.slot(3).id, 4, 1);
      expect(queue.take()).toBe(3);
      const before = arena.copy(place.ring + 16, 64);
      expect(queue.add(list, 9)).toBe(true);
      // One slot was given back, the one where the used descriptor stood.
      expect(arena.copy(place.ring + 16, 64)).toEqual(before);
    }
  });

  it.each([false, true])(
    'packed.drv.desc.no-change-after-avail: lists that the device has stay as they are, tables: %s',
    (indirect) => {
      const side = setUp({ features: { indirect } });
      const { place, device } = side;
      let exposed: readonly Seen[] = [];
      let altered = 0;
      side.memory.after = ({ kind, position }) => {
        if (kind !== 'write') return;
        // The lists in flight may have changed places, as the device gave others back: their slots end where they did.
        const held = exposed.reduce((sum, { slots }) => sum + slots.length, 0);
        const slot = Math.floor((position - place.ring) / 16);
        const behind = (slot - device.next.slot + place.size) % place.size;
        if (slot < place.size && behind < held) altered += 1;
        for (const { table, tableAt } of exposed)
          if (position >= tableAt && position < tableAt + 16 * table.length) altered += 1;
      };
      run(side, (_, inFlight) => {
        exposed = inFlight;
      });
      expect(altered).toBe(0);
    },
  );

  it('packed.drv.desc.notify-offset-wrap: the position is the next free slot and its wrap counter (11.16)', () => {
    for (const size of [1, 3, 4, 7]) {
      const { arena, place, queue, device, next } = setUp({ size });
      for (let round = 0; round < 5 * size; round += 1) {
        const count = 1 + (round % size);
        expect(queue.position).toBe(next.word);
        queue.add(arena.buffers([], Array(count).fill(0)), 0);
        queue.publish();
        const { id } = walkList(arena, place, next);
        next.advance(count);
        expect([queue.position & 0x7fff, queue.position >>> 15]).toEqual([
          next.slot,
          next.wrap ? 1 : 0,
        ]);
        device.use(id, 0, count);
        expect(queue.take()).toBe(0);
      }
    }
  });
});

describe('the order of accesses', () => {
  it.each([false, true])(
    'packed.drv.barrier.before-flags: the flags are stored after all that they announce, tables: %s',
    (indirect) => {
      const { arena, place, memory, queue, device, next } = setUp({ features: { indirect } });
      for (let round = 0; round < 30; round += 1) {
        memory.trace = [];
        const position = place.flagsAt(next.slot);
        queue.add(arena.buffers([Uint8Array.of(1)], [1]), round);
        queue.publish();
        const writes = memory.trace.filter(({ kind }) => kind === 'write');
        expect(writes.at(-1)).toEqual({ kind: 'write', position, length: 2, ordered: true });
        expect(writes.length).toBeGreaterThan(6);
        const { id, slots } = walkList(arena, place, next);
        next.advance(slots.length);
        device.use(id, 0, slots.length);
        queue.take();
      }
    },
  );

  it('packed.drv.barrier.before-suppress-check: the wish of the device is read after that', () => {
    const { arena, place, memory, queue } = setUp();
    memory.trace = [];
    queue.add(arena.buffers([], [1]), 0);
    queue.publish();
    expect(memory.trace.slice(-2)).toEqual([
      { kind: 'write', position: place.flagsAt(0), length: 2, ordered: true },
      { kind: 'read', position: place.deviceEvent + 2, length: 2, ordered: true },
    ]);
  });
});
