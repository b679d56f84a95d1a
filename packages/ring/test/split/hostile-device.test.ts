/**
 * What a hostile device can write into a split ring, and what the driver's side makes of it. The numbers of the cases
 * are explained in `hostile-chain.test.ts`.
 */

import { BufferList, type QueueFeatures, SplitDriverQueue, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { DeviceRingWriter } from '../kit/device-ring-writer.ts';
import { must } from '../kit/must.ts';
import { Random } from '../kit/random.ts';
import { SplitPlace } from '../kit/split-place.ts';
import { WatchedMemory } from '../kit/watched-memory.ts';

const BUFFERS_PER_TABLE = 4;

interface Attack {
  readonly size?: number;
  readonly features?: QueueFeatures;
}

/** A driver's queue, and a device that may write what it likes. */
function attack({ size = 8, features = { indirect: false, eventIndex: true } }: Attack = {}) {
  const arena = new Arena();
  const place = new SplitPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const tables = arena.allocate(size * BUFFERS_PER_TABLE * 16, 16);
  const queue = new SplitDriverQueue({
    memory,
    layout: place.layout,
    features,
    indirect: { address: arena.address(tables), buffersPerChain: BUFFERS_PER_TABLE },
  });
  const device = new DeviceRingWriter(arena.view, place);
  /** A request of two buffers: two descriptors, or a table of two. */
  const pair = arena.buffers([Uint8Array.of(1, 2, 3)], [4]);
  return { arena, place, memory, tables, queue, device, pair };
}

type Attacked = ReturnType<typeof attack>;

/** Adds and publishes requests under these tokens. */
function send({ queue, pair }: Attacked, ...tokens: readonly number[]): void {
  for (const token of tokens) expect(queue.add(pair, token)).toBe(true);
  queue.publish();
}

/** The queue is broken with this sentence, and says so again and again. */
function expectBroken({ queue, device, memory }: Attacked, fault: RegExp): void {
  const inFlight = queue.inFlight;
  const before = memory.count;
  expect(queue.take()).toBe(Taken.BROKEN);
  expect(memory.count - before).toBeLessThan(8);
  expect(queue.fault).toMatch(fault);
  const sentence = queue.fault;
  for (const index of [0, 1, 1000]) {
    device.index(index);
    expect(queue.take()).toBe(Taken.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    queue.suppressNotification();
    expect(queue.fault).toBe(sentence);
  }
  expect(queue.inFlight).toBe(inFlight);
}

describe('used ids', () => {
  it.each([8, 9, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff])(
    'R-15 forged: %i in a ring of 8',
    (id) => {
      const attacked = attack();
      send(attacked, 5);
      attacked.device.use([id]);
      expectBroken(attacked, /outside the descriptor table/);
    },
  );

  it.each([1, 3, 5, 7])('R-15 mid-chain: %i where chains begin at even descriptors', (id) => {
    const attacked = attack();
    send(attacked, 1, 2, 3, 4);
    attacked.device.use([id]);
    expectBroken(attacked, /no head in flight/);
  });

  it('R-15 a descriptor that is free', () => {
    const attacked = attack();
    send(attacked, 1);
    attacked.device.use([2]);
    expectBroken(attacked, /no head in flight/);
  });

  it('R-15 repeated at once', () => {
    const attacked = attack();
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use([0, 0]);
    expect(queue.take()).toBe(1);
    expectBroken(attacked, /no head in flight/);
  });

  it('R-15 stale: of a request that is back since long', () => {
    const attacked = attack();
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use([0]);
    expect(queue.take()).toBe(1);
    send(attacked, 3);
    device.use([2]);
    expect(queue.take()).toBe(2);
    device.use([0]);
    expectBroken(attacked, /no head in flight/);
  });

  it('R-15 of a chain that was added and not published', () => {
    const attacked = attack();
    const { queue, device, pair } = attacked;
    send(attacked, 1);
    queue.add(pair, 2);
    device.use([2]);
    expectBroken(attacked, /not available yet/);
  });

  it('R-15 of a chain that was added and not published, at the index wrap and with one chain kept', () => {
    const attacked = attack();
    const { queue, device, pair, place } = attacked;
    send(attacked, 77);
    for (let token = 0; token < 65_534; token += 1) {
      queue.add(pair, token);
      queue.publish();
      device.use([2 + 2 * (token % 3)]);
      must(queue.take() === token, `the driver finds ${queue.fault}`);
    }
    for (const token of [1, 2]) expect(queue.add(pair, token)).toBe(true);
    // The second of these two has the same index as the chain that is kept.
    device.use([place.availableEntry(0)]);
    expectBroken(attacked, /not available yet/);
  });

  it('any order is legal, and so is keeping a chain while others go round', () => {
    const attacked = attack();
    const { queue, device } = attacked;
    send(attacked, 10, 11, 12, 13);
    device.use([6, 2, 4]);
    expect([queue.take(), queue.take(), queue.take(), queue.take()]).toEqual([13, 11, 12, -1]);
    send(attacked, 14, 15, 16);
    device.use([6, 2, 4]);
    expect([queue.take(), queue.take(), queue.take()]).toEqual([14, 15, 16]);
    device.use([0]);
    expect(queue.take()).toBe(10);
    expect([queue.inFlight, queue.fault]).toEqual([0, undefined]);
  });

  it('elements before a bad one are delivered', () => {
    const attacked = attack();
    const { queue, device } = attacked;
    send(attacked, 1, 2, 3);
    device.use([4, 0, 9]);
    expect([queue.take(), queue.take()]).toEqual([3, 1]);
    expectBroken(attacked, /outside the descriptor table/);
    expect(queue.inFlight).toBe(1);
  });
});

describe('batches of a device that promised to use chains in order', () => {
  const features = { indirect: false, eventIndex: true, inOrder: true };

  it('stand for every chain up to the one they name, the others fully written (9.4)', () => {
    const attacked = attack({ features });
    const { queue, device } = attacked;
    send(attacked, 1, 2, 3);
    device.element(0, 4, 1);
    device.index(3);
    const taken = [1, 2, 3].map(() => [queue.take(), queue.takenBytes]);
    expect(taken).toEqual([
      [1, 4],
      [2, 4],
      [3, 1],
    ]);
    expect(queue.take()).toBe(Taken.EMPTY);
  });

  it('R-15 are refused where they name a chain behind the used index', () => {
    const attacked = attack({ features });
    send(attacked, 1, 2, 3);
    attacked.device.element(0, 4, 1);
    attacked.device.index(1);
    expectBroken(attacked, /ends behind the used index/);
  });

  it('R-15 are refused where they name what is no chain in flight', () => {
    for (const [id, fault] of [
      [1, /no head in flight/],
      [6, /no head in flight/],
      [8, /outside the descriptor table/],
    ] as const) {
      const attacked = attack({ features });
      send(attacked, 1, 2, 3);
      attacked.device.element(0, id, 1);
      attacked.device.index(3);
      expectBroken(attacked, fault);
    }
  });

  it('R-15 are refused where they name a chain that was taken back', () => {
    const attacked = attack({ features });
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use([0]);
    expect(queue.take()).toBe(1);
    device.use([0]);
    expectBroken(attacked, /no head in flight/);
  });
});

describe('used lengths', () => {
  it.each([0, 1, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])(
    'R-15 %i for 4 writable bytes is handed on as the device gave it',
    (length) => {
      const attacked = attack();
      const { queue, device } = attacked;
      send(attacked, 1);
      device.use([0], length);
      expect(queue.take()).toBe(1);
      expect(queue.takenBytes).toBe(length);
      expect(queue.fault).toBeUndefined();
    },
  );
});

describe('the used index', () => {
  it.each([1, 2, 8, 255, 0x8000, 0xffff])('R-15 %i with nothing in flight', (index) => {
    const attacked = attack();
    attacked.device.index(index);
    expectBroken(attacked, /more chains than were available/);
  });

  it.each([3, 4, 8, 9, 0x7fff, 0xffff])('R-15 jumps to %i with 2 chains in flight', (index) => {
    const attacked = attack();
    send(attacked, 1, 2);
    attacked.device.index(index);
    expectBroken(attacked, /more chains than were available/);
  });

  it('R-15 counts chains that were added and not published', () => {
    const attacked = attack();
    const { queue, device, pair } = attacked;
    send(attacked, 1);
    queue.add(pair, 2);
    device.use([0, 2]);
    expectBroken(attacked, /more chains than were available/);
  });

  it('R-15 goes back by one', () => {
    const attacked = attack();
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use([0, 2]);
    expect([queue.take(), queue.take()]).toEqual([1, 2]);
    device.index(1);
    expectBroken(attacked, /more chains than were available/);
  });

  it('R-11 is one 16-bit load', () => {
    const { queue, memory, place } = attack();
    memory.trace = [];
    queue.take();
    queue.ready();
    const index = { kind: 'read', position: place.used + 2, length: 2, ordered: true };
    expect(memory.trace).toEqual([index, index]);
  });

  it('R-13 begins anew behind the back of the driver', () => {
    const attacked = attack();
    const { queue, device } = attacked;
    send(attacked, 1, 2, 3);
    device.use([0, 2]);
    expect([queue.take(), queue.take()]).toEqual([1, 2]);
    device.nextIndex = 0;
    device.use([0]);
    expectBroken(attacked, /more chains than were available/);
  });

  it('R-13 a new driver queue begins at 0, whatever the old one left', () => {
    const { arena, place, queue, device, pair } = attack();
    queue.add(pair, 1);
    queue.publish();
    device.use([0, 0, 0]);
    const fresh = new SplitDriverQueue({
      memory: arena.memory,
      layout: place.layout,
      features: { indirect: false, eventIndex: true },
    });
    expect(fresh.take()).toBe(Taken.EMPTY);
    expect(fresh.add(pair, 2)).toBe(true);
    fresh.publish();
    new DeviceRingWriter(arena.view, place).use([0], 4);
    expect([fresh.take(), fresh.takenBytes]).toEqual([2, 4]);
  });
});

describe.each([false, true])('what the driver wrote, with tables: %s', (indirect) => {
  const features = { indirect, eventIndex: true };

  it('R-16 is never read back', () => {
    const attacked = attack({ features });
    const { memory, place, tables, queue, device, pair } = attacked;
    memory.trace = [];
    for (let round = 0; round < 20; round += 1) {
      for (let token = 0; token < 4; token += 1) queue.add(pair, token);
      queue.publish();
      queue.armNotification();
      const slots = [0, 1, 2, 3].map((chain) => (4 * round + chain) % place.size);
      device.use(slots.map((slot) => place.availableEntry(slot)));
      while (queue.take() >= 0);
      queue.suppressNotification();
      queue.ready();
    }
    expect(queue.fault).toBeUndefined();
    const reads = memory.trace.filter(({ kind }) => kind === 'read');
    expect(reads.length).toBeGreaterThan(100);
    const own = reads.filter(
      ({ position }) => position < place.used || (position >= tables && position < 0x1_0000),
    );
    expect(own).toEqual([]);
  });

  it('R-16 may be overwritten: tokens, lengths and free descriptors stay right', () => {
    const attacked = attack({ features });
    const { arena, place, tables, queue, device, memory } = attacked;
    const random = new Random(16);
    // A device that remembers what it has destroyed.
    const entries = new Map<number, number>();
    memory.after = ({ kind, position }) => {
      if (kind === 'write') entries.set(position, arena.view.getUint16(position, true));
    };
    const inFlight: { token: number; head: number }[] = [];
    const lists = [1, 2, 3, 4].map((count) => arena.buffers([], Array<number>(count).fill(1)));
    let tokens = 0;
    for (let round = 0; round < 2000; round += 1) {
      const list = random.pick(lists);
      const slot = place.availableIndex() % place.size;
      if (queue.add(list, tokens)) {
        const head = entries.get(place.available + 4 + 2 * slot) ?? 0;
        expect(inFlight.some((other) => other.head === head)).toBe(false);
        inFlight.push({ token: tokens, head });
        tokens += 1;
        queue.publish();
      }
      const index = place.availableIndex();
      arena.bytes.set(random.bytes(place.used - place.table), place.table);
      arena.bytes.set(random.bytes(64), tables);
      arena.view.setUint16(place.available + 2, index, true);
      if (inFlight.length > 2 || !random.once(3)) {
        const [back] = inFlight.splice(random.below(inFlight.length), 1);
        if (back === undefined) continue;
        device.use([back.head], round);
        expect([queue.take(), queue.takenBytes]).toEqual([back.token, round]);
      }
      expect(queue.inFlight).toBe(inFlight.length);
    }
    expect(tokens).toBeGreaterThan(500);
    expect(queue.fault).toBeUndefined();
  });
});

describe('a broken queue', () => {
  it('lets the driver add and publish, without an exception and without an end to the fault', () => {
    const attacked = attack();
    const { queue, device, pair } = attacked;
    send(attacked, 1);
    device.use([99]);
    expectBroken(attacked, /outside/);
    const list = new BufferList(1).addWritable(attacked.arena.address(0x9000), 4);
    while (queue.add(list, 3)) queue.publish();
    expect(queue.add(pair, 4)).toBe(false);
    expect(queue.take()).toBe(Taken.BROKEN);
    expect(queue.inFlight).toBeLessThanOrEqual(8);
  });
});
