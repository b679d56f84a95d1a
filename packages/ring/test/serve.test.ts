/**
 * A burst of chains in one call. Chain by chain, `serve` must do what `pop` and `push` do, which is compared here over
 * rings of all kinds; every ring of the malicious cases is served as well, on a copy (`kit/serve-twin.ts`).
 */

import { DescriptorFlag } from '@viommu/common';
import {
  Chain,
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueOptions,
  PackedDeviceQueue,
  SplitDeviceQueue,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { HERE, attack } from './kit/attack.ts';
import { FORMATS, type Format } from './kit/format.ts';
import { GuestRingWriter } from './kit/guest-ring-writer.ts';
import { attackPacked } from './kit/packed-attack.ts';
import { PackedGuestWriter } from './kit/packed-guest-writer.ts';
import { PackedPlace } from './kit/packed-place.ts';
import { createPair, type PairOptions } from './kit/pair.ts';
import { Random } from './kit/random.ts';
import { serveTwice } from './kit/serve-twin.ts';
import { SplitPlace } from './kit/split-place.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

/** Keeps what it is given, and says that it wrote so many bytes. */
class Recorder implements ChainHandler {
  /** Positions and bytes. */
  readonly pairs: number[][] = [];
  readonly chains: [number, number, boolean][] = [];
  readonly #written: number;

  constructor(written = 4) {
    this.#written = written;
  }

  handlePair(...pair: [number, number, number, number]): number {
    this.pairs.push(pair);
    return this.#written;
  }

  handleChain({ readableBytes, writableBytes, reachable }: Chain): number {
    this.chains.push([readableBytes, writableBytes, reachable]);
    return this.#written;
  }
}

/** A pair of sides, and so many requests of 20 and 4 bytes under way. */
function requested(count: number, options: PairOptions) {
  const pair = createPair({ size: 32, ...options });
  const { arena, driver } = pair;
  for (let token = 0; token < count; token += 1)
    driver.add(arena.buffers([new Uint8Array(20)], [4]), token);
  driver.publish();
  return pair;
}

function take({ driver }: { driver: { take(): number; takenBytes: number } }): number[][] {
  const taken: number[][] = [];
  for (let token = driver.take(); token >= 0; token = driver.take())
    taken.push([token, driver.takenBytes]);
  return taken;
}

describe.each(FORMATS)('$name: a burst', (format) => {
  it('is handled in order, in one call', () => {
    const pair = requested(5, { format });
    const { device, chain } = pair;
    const handler = new Recorder();
    expect(device.serve(handler, chain, 64)).toBe(5);
    expect(handler.pairs.map(([, readable, , writable]) => [readable, writable])).toEqual(
      Array.from({ length: 5 }, () => [20, 4]),
    );
    // Each lies behind the one before in the arena.
    const positions = handler.pairs.map(([position]) => position);
    expect(positions).toEqual(positions.toSorted((a = 0, b = 0) => a - b));
    expect(take(pair)).toEqual([]);
    device.publish();
    expect(take(pair)).toEqual([0, 1, 2, 3, 4].map((token) => [token, 4]));
    expect(device.serve(handler, chain, 64)).toBe(0);
  });

  it('has as many chains as the caller wants, and no more', () => {
    const { device, chain } = requested(10, { format });
    const handler = new Recorder();
    const counts = [0, 4, 1, 64, 64].map((most) => device.serve(handler, chain, most));
    expect(counts).toEqual([0, 4, 1, 5, 0]);
    expect(handler.pairs).toHaveLength(10);
  });

  it('needs no chain for one readable and one writable buffer, and hands anything else over as one', () => {
    const { arena, driver, device, chain } = createPair({ format, size: 32 });
    const byte = new Uint8Array(1);
    const framings: [number[], number[]][] = [
      [[1], [1]],
      [[1], []],
      [[], [1]],
      [[1, 1], [1]],
      [[1], [1, 1]],
      [[1], [1]],
      [[0], [1]],
      [[1], [0]],
    ];
    for (const [token, [readable, writable]] of framings.entries()) {
      const buffers = readable.map((length) => byte.subarray(0, length));
      driver.add(arena.buffers(buffers, writable), token);
    }
    driver.publish();
    const handler = new Recorder(0);
    expect(device.serve(handler, chain, 64)).toBe(8);
    expect(handler.pairs).toHaveLength(2);
    expect(handler.chains).toEqual([
      [1, 0, true],
      [0, 1, true],
      [2, 1, true],
      [1, 2, true],
      [0, 1, true],
      [1, 0, true],
    ]);
  });

  it('goes on behind chains that the device has in its hands, and they come back when they do', () => {
    const pair = requested(6, { format });
    const { device, chain } = pair;
    const slow = new Chain(pair.arena.memory, 32);
    device.pop(slow);
    expect(device.serve(new Recorder(1), chain, 3)).toBe(3);
    device.push(slow, 2);
    expect(device.serve(new Recorder(3), chain, 3)).toBe(2);
    device.publish();
    expect(take(pair)).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [0, 2],
      [4, 3],
      [5, 3],
    ]);
  });

  it('is one used entry where the device makes one for a batch', () => {
    const pair = requested(7, { format, inOrder: true, batchUsed: true });
    const { device, chain } = pair;
    for (const most of [3, 64]) {
      device.serve(new Recorder(), chain, most);
      device.publish();
    }
    expect(take(pair)).toEqual([0, 1, 2, 3, 4, 5, 6].map((token) => [token, 4]));
  });
});

describe('damage within a burst', () => {
  const good = { address: HERE, length: 4 };
  const answer = { address: HERE, length: 4, writable: true };

  it('split: what came before it is given back, and the fault is there to be told then', () => {
    const { queue, guest, place, chain } = attack();
    guest.offer(guest.chain([good, answer], [0, 1]), guest.chain([good, answer], [2, 3]), 99, 0);
    const handler = new Recorder();
    expect(queue.serve(handler, chain, 64)).toBe(2);
    expect(queue.fault).toMatch(/head lies outside/);
    queue.publish();
    expect([place.usedIndex(), place.usedElement(1)]).toEqual([2, { id: 2, len: 4 }]);
    // Not even a repaired ring is served again.
    guest.entry(2, 0);
    expect(queue.serve(handler, chain, 64)).toBe(0);
    expect(handler.pairs).toHaveLength(2);
  });

  it('packed: what came before it is given back, and the fault is there to be told then', () => {
    const { queue, guest, place, chain } = attackPacked({ features: { indirect: false } });
    guest.offer(5, [good, answer]);
    guest.offer(6, [good, answer]);
    guest.place({ address: HERE, length: 16, flags: INDIRECT });
    const handler = new Recorder();
    expect(queue.serve(handler, chain, 64)).toBe(2);
    expect(queue.fault).toMatch(/table without the feature/);
    queue.publish();
    expect([place.slot(0).id, place.slot(2).id]).toEqual([5, 6]);
    expect([place.slot(0).flags & 0x8080, place.slot(2).flags & 0x8080]).toEqual([0x8080, 0x8080]);
    guest.slot(4, { ...good, flags: 0x80 });
    expect(queue.serve(handler, chain, 64)).toBe(0);
    expect(handler.pairs).toHaveLength(2);
  });

  it('R-04 packed: no pair is handled in slots that the device has not given back', () => {
    const { queue, guest, memory, chain } = attackPacked({ size: 4 });
    for (const id of [1, 2]) {
      guest.offer(id, [good, answer]);
      queue.pop(new Chain(memory, 4));
    }
    guest.offer(3, [good, answer]);
    const handler = new Recorder();
    expect(queue.serve(handler, chain, 64)).toBe(0);
    expect(queue.fault).toMatch(/more descriptors than the ring has/);
    expect([handler.pairs, handler.chains]).toEqual([[], []]);
  });

  it.each(FORMATS)(
    '$name: no burst is longer than the ring, however fast the guest is',
    (format) => {
      const { device, driver, arena, chain } = createPair({ format, size: 8 });
      const list = arena.buffers([], [4]);
      let handled = 0;
      const handler: ChainHandler = {
        handlePair: () => 0,
        handleChain() {
          handled += 1;
          driver.add(list, 0);
          driver.publish();
          return 0;
        },
      };
      driver.add(list, 0);
      driver.publish();
      device.serve(handler, chain, 1000);
      expect(handled).toBeLessThanOrEqual(8);
    },
  );
});

describe('rings of all kinds', () => {
  const ADDRESSES = [0x4000_8000n, 0x4000_8004n, 0x4000_fffcn, 0x4001_0000n, 0n, 2n ** 64n - 4n];
  const LENGTHS = [0, 4, 4, 4, 8, 16, 32, 48, 5, 0xffff_ffff];
  const TABLE_AT = 0x9000;
  const TABLE = 0x4000_9000n;

  /** Often what makes a pair; often something else. */
  function flags(random: Random): number {
    return random.pick([
      NEXT,
      NEXT,
      WRITE,
      WRITE,
      0,
      INDIRECT,
      random.below(8),
      random.word() & 0xffff,
    ]);
  }

  function descriptor(random: Random) {
    const kind = flags(random);
    const table = (kind & INDIRECT) !== 0 && !random.once(4);
    return {
      address: table ? TABLE : random.pick(random.once(2) ? ADDRESSES : ADDRESSES.slice(0, 2)),
      length: table ? 16 * random.below(5) : random.pick(LENGTHS),
      flags: kind,
    };
  }

  /** A ring that is written at random, and what makes a queue for it. */
  function split(random: Random, options: Omit<DeviceQueueOptions, 'memory' | 'layout'>) {
    const arena = new Arena();
    const place = new SplitPlace(arena, random.pick([1, 2, 4, 8]));
    const guest = new GuestRingWriter(arena.view, place);
    const next = (): number => (random.once(8) ? random.below(20) : random.below(place.size));
    for (let index = 0; index < place.size; index += 1)
      guest.descriptor(index, { ...descriptor(random), next: next() });
    for (let index = 0; index < 4; index += 1)
      guest.tableDescriptor(TABLE_AT, index, { ...descriptor(random), next: random.below(4) });
    guest.offer(next());
    if (random.once(8)) guest.index(random.below(12));
    const { layout } = place;
    const make = (memory: DeviceQueueOptions['memory']): DeviceQueue =>
      new SplitDeviceQueue({ memory, layout, ...options });
    return { arena, make };
  }

  function packed(random: Random, options: Omit<DeviceQueueOptions, 'memory' | 'layout'>) {
    const arena = new Arena();
    const place = new PackedPlace(arena, random.pick([1, 2, 3, 8]));
    const guest = new PackedGuestWriter(arena.view, place);
    for (let index = 0; index < place.size; index += 1) {
      const { flags: kind, ...rest } = descriptor(random);
      const state = random.once(8) ? 0 : 0x80;
      guest.slot(index, { ...rest, id: random.below(9), flags: (kind & 0x7f7f) | state });
    }
    for (let index = 0; index < 4; index += 1) guest.entry(TABLE_AT, index, descriptor(random));
    const { layout } = place;
    const make = (memory: DeviceQueueOptions['memory']): DeviceQueue =>
      new PackedDeviceQueue({ memory, layout, ...options });
    return { arena, make };
  }

  const KINDS: { name: string; ring: typeof split }[] = [
    { name: 'split', ring: split },
    { name: 'packed', ring: packed },
  ];

  it.each(KINDS)('$name: served as they are popped and pushed, access by access', ({ ring }) => {
    const random = new Random(64);
    const seen = new Map<string, number>();
    for (let round = 0; round < 4000; round += 1) {
      const features = {
        indirect: !random.once(4),
        eventIndex: random.once(2),
        inOrder: random.once(2),
      };
      const { arena, make } = ring(random, { features, batchUsed: random.once(2) });
      const { fault = 'served', served, chains } = serveTwice(arena, make);
      const outcome = served === 1 ? `reachable: ${chains[0]?.[2]}` : fault;
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    }
    // Every kind of chain, and of damage, was there often enough.
    expect(seen.size).toBeGreaterThanOrEqual(8);
    expect(Math.min(...seen.values())).toBeGreaterThan(5);
    expect(seen.get('reachable: true')).toBeGreaterThan(300);
  });

  it.each(FORMATS)(
    '$name: a pair in a table is more than a ring of one descriptor takes',
    (format: Format) => {
      const { arena, place } = ((): { arena: Arena; place: SplitPlace | PackedPlace } => {
        const own = new Arena();
        const flagsOf = (index: number): number => (index === 0 ? NEXT : WRITE);
        if (format.name === 'split') {
          const at = new SplitPlace(own, 1);
          const guest = new GuestRingWriter(own.view, at);
          for (const index of [0, 1])
            guest.tableDescriptor(TABLE_AT, index, {
              address: HERE,
              length: 4,
              flags: flagsOf(index),
              next: 1,
            });
          guest.indirect(0, TABLE, 2);
          guest.offer(0);
          return { arena: own, place: at };
        }
        const at = new PackedPlace(own, 1);
        const guest = new PackedGuestWriter(own.view, at);
        guest.offerTable(0, TABLE_AT, TABLE, [
          { address: HERE, length: 4 },
          { address: HERE, length: 4, writable: true },
        ]);
        return { arena: own, place: at };
      })();
      const features = { indirect: true, eventIndex: true };
      const make = (memory: DeviceQueueOptions['memory']): DeviceQueue =>
        format.createDevice({ memory, layout: place.layout, features });
      const { served, fault } = serveTwice(arena, make);
      expect([served, fault]).toEqual([0, 'a chain longer than the queue']);
    },
  );
});
