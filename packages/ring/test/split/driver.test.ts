/** What the driver's side writes, judged byte by byte against the clauses on drivers. */

import { DescriptorFlag, guestPhysical } from '@viommu/common';
import { BufferList, type QueueFeatures, SplitDeviceQueue, SplitDriverQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { DeviceRingWriter } from '../kit/device-ring-writer.ts';
import { must } from '../kit/must.ts';
import { Random } from '../kit/random.ts';
import { SplitPlace } from '../kit/split-place.ts';
import { tryAdd } from '../kit/try-add.ts';
import { type WalkedChain, walk } from '../kit/walk.ts';
import { WatchedMemory } from '../kit/watched-memory.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

interface Run {
  readonly size?: number;
  readonly features?: Partial<QueueFeatures>;
  readonly buffersPerChain?: number;
}

/** A driver's queue with a device that uses chains in order. */
function setUp({ size = 8, features = {}, buffersPerChain = 4 }: Run = {}) {
  const arena = new Arena();
  const place = new SplitPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const tables = arena.allocate(size * buffersPerChain * 16, 16);
  const queue = new SplitDriverQueue({
    memory,
    layout: place.layout,
    features: { indirect: false, eventIndex: true, ...features },
    indirect: { address: arena.address(tables), buffersPerChain },
  });
  const device = new DeviceRingWriter(arena.view, place);
  return { arena, place, memory, queue, device, tables };
}

/** Everything that a driver made available in a long run of chains of any length, as it stood in memory. */
function record(run: Run): { readonly chains: WalkedChain[]; readonly lengths: number[] } {
  const { arena, place, queue, device } = setUp(run);
  const { size } = place;
  const random = new Random(size);
  const chains: WalkedChain[] = [];
  const lengths: number[] = [];
  const at = arena.address(arena.allocate(64));
  let heads: number[] = [];
  for (let round = 0; round < 400; round += 1) {
    const list = new BufferList(size + 2);
    const count = 1 + random.below(size + 1);
    const readable = random.below(count + 1);
    for (let index = 0; index < count; index += 1)
      if (index < readable) list.addReadable(at, random.below(64));
      else list.addWritable(at, random.below(64));
    const slot = (device.nextIndex + heads.length) % size;
    if (tryAdd(queue, list, round)) {
      const head = place.availableEntry(slot);
      heads.push(head);
      chains.push(walk(arena, place, head));
      lengths.push(count);
      queue.publish();
    } else if (heads.length > 0) {
      device.use(heads);
      heads = [];
      while (queue.take() >= 0);
      expect(queue.fault).toBeUndefined();
    }
  }
  expect(chains.length).toBeGreaterThan(100);
  return { chains, lengths };
}

const RUNS: Run[] = [
  { size: 4 },
  { size: 8 },
  { size: 4, features: { indirect: true } },
  { size: 8, features: { indirect: true } },
  { size: 2, features: { indirect: true } },
];

describe('chains', () => {
  it('split.drv.framing.writable-last: no readable buffer follows a writable one', () => {
    for (const run of RUNS)
      for (const { buffers } of record(run).chains) {
        const flags = buffers.map((entry) => entry.flags & WRITE);
        expect(flags).toEqual(flags.toSorted((a, b) => a - b));
      }
  });

  it('split.drv.framing.writable-last: a list takes no readable buffer behind a writable one', () => {
    const at = new Arena().address(0);
    expect(() => new BufferList(2).addWritable(at, 1).addReadable(at, 1)).toThrow(/come before/);
  });

  it('describe the buffers of now, whichever field differs from the last time', () => {
    const { place, queue, device } = setUp({ size: 1 });
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
      const flags = writable ? WRITE : 0;
      expect(place.descriptor(0)).toEqual({ addr: address, len: length, flags, next: 0 });
      device.use([0]);
      expect(queue.take()).toBe(0);
    }
  });

  it('split.drv.framing.few-descriptors: a buffer takes one descriptor', () => {
    for (const run of RUNS) {
      const { chains, lengths } = record(run);
      expect(chains.map(({ buffers }) => buffers.length)).toEqual(lengths);
    }
  });

  it('split.drv.desc.chain-total-length: no index comes twice, and no list is longer than 4 GiB', () => {
    for (const run of RUNS)
      for (const { ring } of record(run).chains) {
        const indices = ring.map(({ index }) => index);
        expect(new Set(indices).size).toBe(indices.length);
      }
    const at = new Arena().address(0);
    const half = 0x8000_0000;
    const list = () => new BufferList(4).addReadable(at, half).addWritable(at, half - 1);
    expect(list().addWritable(at, 1).count).toBe(3);
    expect(() => list().addWritable(at, 2)).toThrow(/4 GiB/);
    expect(() => list().addWritable(at, half)).toThrow(/4 GiB/);
    // Emptied, a list may be filled again.
    expect(list().clear().addReadable(at, half).count).toBe(1);
  });

  it('a buffer is of 0 to 2^32 - 1 bytes', () => {
    const at = new Arena().address(0);
    for (const length of [0, 2 ** 32 - 1])
      expect(new BufferList(1).addReadable(at, length).lengthBytes(0)).toBe(length);
    for (const length of [-1, 1.5, 2 ** 32, Number.NaN])
      expect(() => new BufferList(1).addReadable(at, length)).toThrow(/length/);
  });

  it('split.drv.indirect.needs-feature: no table without the feature', () => {
    for (const size of [4, 8])
      for (const { ring } of record({ size }).chains)
        expect(ring.every(({ entry }) => (entry.flags & INDIRECT) === 0)).toBe(true);
    // With it there are some.
    const { chains } = record({ features: { indirect: true } });
    expect(chains.some(({ table }) => table.length > 1)).toBe(true);
    expect(chains.some(({ table }) => table.length === 0)).toBe(true);
  });

  it('split.drv.indirect.no-nesting: no entry of a table is a table', () => {
    for (const run of RUNS)
      for (const { table } of record(run).chains)
        expect(table.every(({ entry }) => (entry.flags & INDIRECT) === 0)).toBe(true);
  });

  it('split.drv.indirect.not-with-next: a table ends its chain', () => {
    for (const run of RUNS)
      for (const { ring, table } of record(run).chains)
        for (const { entry } of [...ring, ...table])
          expect(entry.flags & (INDIRECT | NEXT)).not.toBe(INDIRECT | NEXT);
  });

  it('split.drv.indirect.chain-max-queue-size: no chain has more buffers than the queue has descriptors', () => {
    for (const size of [1, 2, 4, 8]) {
      const { chains, lengths } = record({
        size,
        features: { indirect: true },
        buffersPerChain: 16,
      });
      expect(Math.max(...lengths)).toBe(size);
      expect(Math.max(...chains.map(({ buffers }) => buffers.length))).toBe(size);
    }
  });

  it('split.drv.desc.in-order-next: with IN_ORDER a chain goes through the table in its order', () => {
    for (const size of [4, 8])
      for (const { ring } of record({ size, features: { inOrder: true } }).chains)
        for (const { index, entry } of ring.slice(0, -1))
          expect(entry.next).toBe((index + 1) % size);
  });

  it('split.drv.indirect.in-order-sequential: with IN_ORDER entry i of a table goes on at i + 1', () => {
    const features = { indirect: true, inOrder: true };
    for (const { table, tableEntries } of record({ features }).chains) {
      expect(table.map(({ index }) => index)).toEqual([...Array(tableEntries).keys()]);
      for (const { index, entry } of table.slice(0, -1)) expect(entry.next).toBe(index + 1);
    }
  });
});

describe('the available ring', () => {
  it('split.drv.avail.idx-never-back: the index only moves forward, by what was added', () => {
    const { arena, place, memory, queue, device } = setUp();
    const list = arena.buffers([], [1]);
    let seen = 0;
    let steps = 0;
    memory.after = ({ kind, position }) => {
      if (kind !== 'write' || position !== place.available + 2) return;
      const step = (place.availableIndex() - seen) & 0xffff;
      must(step >= 1 && step <= place.size, `a step of ${step}`);
      seen = place.availableIndex();
      steps += 1;
    };
    const random = new Random(4);
    for (let done = 0; done < 0x1_0000 + 500;) {
      const count = 1 + random.below(place.size);
      for (let turn = 0; turn < count; turn += 1) queue.add(list, turn);
      queue.publish();
      for (let turn = 0; turn < count; turn += 1)
        device.use([place.availableEntry((done + turn) % place.size)]);
      while (queue.take() >= 0);
      done += count;
    }
    expect(steps).toBeGreaterThan(10_000);
    expect(queue.fault).toBeUndefined();
  });

  it('split.drv.supply.batching: several chains become available with one store of the index', () => {
    const { arena, place, memory, queue } = setUp();
    const list = arena.buffers([], [1]);
    memory.trace = [];
    for (let token = 0; token < 5; token += 1) queue.add(list, token);
    expect(place.availableIndex()).toBe(0);
    queue.publish();
    expect(place.availableIndex()).toBe(5);
    const stores = memory.trace.filter(({ kind, ordered }) => kind === 'write' && ordered);
    expect(stores.length).toBe(1);
  });

  it('split.drv.supply.ring-slot-simple: heads stand at the index modulo the size', () => {
    const { arena, place, queue, device } = setUp();
    const list = arena.buffers([Uint8Array.of(1)], [1]);
    for (let round = 0; round < 30; round += 1) {
      const index = place.availableIndex();
      queue.add(list, round);
      queue.publish();
      const head = place.availableEntry(index % place.size);
      expect(walk(arena, place, head).buffers.length).toBe(2);
      device.use([head]);
      expect(queue.take()).toBe(round);
    }
  });

  it('split.drv.supply.defer-idx: what was added and not published is not there for the device', () => {
    const { arena, place, queue } = setUp();
    const features = { indirect: false, eventIndex: true };
    const device = new SplitDeviceQueue({ memory: arena.memory, layout: place.layout, features });
    const list = arena.buffers([], [1]);
    for (let token = 0; token < 3; token += 1) queue.add(list, token);
    expect(device.ready()).toBe(false);
    queue.publish();
    expect(device.ready()).toBe(true);
  });

  it('split.drv.avail-notify.used-flags-initial-zero: the used ring begins with flags of 0', () => {
    const arena = new Arena();
    arena.bytes.fill(0xff);
    const place = new SplitPlace(arena, 8);
    const features = { indirect: false, eventIndex: false };
    const queue = new SplitDriverQueue({ memory: arena.memory, layout: place.layout, features });
    expect([place.usedFlags(), place.usedIndex(), queue.inFlight]).toEqual([0, 0, 0]);
  });
});

describe('the order of accesses', () => {
  it.each([false, true])(
    'split.drv.barrier.before-idx: the index is stored after all that it announces, tables: %s',
    (indirect) => {
      const { arena, place, memory, queue, device } = setUp({ features: { indirect } });
      for (let round = 0; round < 30; round += 1) {
        memory.trace = [];
        queue.add(arena.buffers([Uint8Array.of(1)], [1]), round);
        queue.publish();
        const writes = memory.trace.filter(({ kind }) => kind === 'write');
        const index = { kind: 'write', position: place.available + 2, length: 2, ordered: true };
        expect(writes.at(-1)).toEqual(index);
        expect(writes.length).toBeGreaterThan(4);
        device.use([place.availableEntry(round % place.size)]);
        queue.take();
      }
    },
  );

  it.each([false, true])(
    'split.drv.barrier.before-suppress-check: the wish of the device is read after that, event index: %s',
    (eventIndex) => {
      const { arena, place, memory, queue } = setUp({ features: { eventIndex } });
      memory.trace = [];
      queue.add(arena.buffers([], [1]), 0);
      queue.publish();
      expect(memory.trace.slice(-2)).toEqual([
        { kind: 'write', position: place.available + 2, length: 2, ordered: true },
        {
          kind: 'read',
          position: eventIndex ? place.used + 4 + 8 * 8 : place.used,
          length: 2,
          ordered: true,
        },
      ]);
    },
  );
});

describe('chains that the device has', () => {
  it.each([false, true])(
    'basic.drv.cleanup.no-alter-exposed: their descriptors, tables and entries stay as they are, tables: %s',
    (indirect) => {
      const { arena, place, memory, queue, device } = setUp({ features: { indirect } });
      const random = new Random(5);
      /** Bytes that the device may look at, by the head they belong to. */
      const exposed = new Map<number, Set<number>>();
      let altered = 0;
      memory.after = ({ kind, position, length }) => {
        if (kind !== 'write') return;
        for (const bytes of exposed.values())
          for (let at = position; at < position + length; at += 1) if (bytes.has(at)) altered += 1;
      };
      for (let round = 0; round < 600; round += 1) {
        const list = new BufferList(3).addReadable(arena.address(0x8000 + random.below(999)), 4);
        for (let left = random.below(3); left > 0; left -= 1)
          list.addWritable(arena.address(0x9000 + random.below(999)), 4);
        const slot = place.availableIndex() % place.size;
        if (queue.add(list, round)) {
          const head = place.availableEntry(slot);
          const { ring, table } = walk(arena, place, head);
          const at =
            indirect && table.length > 0 ? Number((ring[0]?.entry.addr ?? 0n) - arena.base) : 0;
          const bytes = new Set<number>();
          for (const { index } of ring)
            for (let byte = 0; byte < 16; byte += 1) bytes.add(place.table + 16 * index + byte);
          for (const { index } of table)
            for (let byte = 0; byte < 16; byte += 1) bytes.add(at + 16 * index + byte);
          exposed.set(head, bytes);
          queue.publish();
        }
        if (random.once(2)) continue;
        const heads = [...exposed.keys()];
        if (heads.length === 0) continue;
        const head = random.pick(heads);
        exposed.delete(head);
        device.use([head]);
        must(queue.take() >= 0, `the driver finds ${queue.fault}`);
      }
      expect(altered).toBe(0);
      expect(place.availableIndex()).toBeGreaterThan(250);
    },
  );
});
