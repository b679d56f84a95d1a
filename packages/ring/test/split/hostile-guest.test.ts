/**
 * What a hostile guest can write into its half of a split ring, and what the device's side makes of it.
 *
 * The cases of malice have numbers, the same for both formats and both sides:
 *
 *   R-01 packed: an indirect descriptor with NEXT     R-11 a torn 16-bit index
 *   R-02 cycles, over-long chains, wild indices       R-12 a wrap inside a chain
 *   R-03 address + length past 2^64, past memory      R-13 use after reset
 *   R-04 available index jumping or going back        R-14 a wake-up when the other side stops polling
 *   R-05 a bad head must not block the queue          R-15 forged, stale, mid-chain, repeated used ids, lengths
 *   R-06 nested and self-referring indirect tables    R-16 the driver trusts nothing that it wrote
 *   R-07 indirect lengths: 0, odd, too many, 65,536   R-17 a descriptor rewritten between check and use
 *   R-08 an unaligned indirect table (legal)          R-18 descriptors, then an indirect one (legal if split)
 *   R-09 chain total of 4 GiB                         R-19 indirect while the feature is off
 *   R-10 a buffer up to the last byte (legal)         R-20 saved state with impossible indices
 *
 * R-01 has its split twin here; R-14 is in `sleep.test.ts`, R-15 and R-16 in `hostile-device.test.ts`, R-17 in
 * `read-once.test.ts`, R-18 in `framing.test.ts`, R-20 belongs to saving and restoring.
 */

import { DescriptorFlag } from '@viommu/common';
import { Chain, Popped, SplitDeviceQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena, type ArenaOptions } from '../kit/arena.ts';
import { type AnyDescriptor, GuestRingWriter } from '../kit/guest-ring-writer.ts';
import { must } from '../kit/must.ts';
import { SplitPlace } from '../kit/split-place.ts';
import { WatchedMemory } from '../kit/watched-memory.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

interface Attack extends ArenaOptions {
  readonly size?: number;
  readonly indirect?: boolean;
}

/** A device's queue, and a guest that may write what it likes. */
function attack({ size = 8, indirect = true, ...arenaOptions }: Attack = {}) {
  const arena = new Arena(arenaOptions);
  const place = new SplitPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const queue = new SplitDeviceQueue({
    memory,
    layout: place.layout,
    features: { indirect, eventIndex: true },
  });
  const guest = new GuestRingWriter(arena.view, place);
  return { arena, place, memory, queue, guest, chain: new Chain(memory, size) };
}

type Attacked = ReturnType<typeof attack>;

/** The queue is broken with this sentence, says so again and again, and leaves the used ring alone. */
function expectBroken({ queue, chain, memory, place, guest }: Attacked, fault: RegExp): void {
  const used = place.usedIndex();
  expect(queue.pop(chain)).toBe(Popped.BROKEN);
  expect(queue.fault).toMatch(fault);
  const sentence = queue.fault;
  // Neither time nor a repaired ring nor a further fault changes that.
  for (const index of [guest.nextIndex, guest.nextIndex + 1, guest.nextIndex + 1000]) {
    guest.index(index & 0xffff);
    guest.descriptor(0, {});
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    queue.suppressNotification();
    expect(queue.fault).toBe(sentence);
  }
  expect(queue.publish()).toBe(false);
  expect(place.usedIndex()).toBe(used);
  // The walk was bounded: 4 reads for each of at most `size` + 1 descriptors, and a few more.
  expect(memory.count).toBeLessThan(4 * (place.size + 1) + 24);
}

/** An attack with one chain of these descriptors, by index; the first named is the head. */
function attackWith(descriptors: Record<number, AnyDescriptor>, head: number, options?: Attack) {
  const attacked = attack(options);
  for (const [index, descriptor] of Object.entries(descriptors))
    attacked.guest.descriptor(Number(index), descriptor);
  attacked.guest.offer(head);
  return attacked;
}

const HERE = 0x4000_8000n;
const readable = (next?: number): AnyDescriptor => ({
  address: HERE,
  length: 4,
  flags: next === undefined ? 0 : NEXT,
  next: next ?? 0,
});

describe('chains that do not end', () => {
  it('R-02 a descriptor that is its own next', () => {
    expectBroken(attackWith({ 3: readable(3) }, 3), /longer than the queue/);
  });

  it('R-02 a cycle of two, and a tail that runs into a cycle', () => {
    expectBroken(attackWith({ 0: readable(1), 1: readable(0) }, 0), /longer than the queue/);
    const tail = { 5: readable(6), 6: readable(7), 7: readable(6) };
    expectBroken(attackWith(tail, 5), /longer than the queue/);
  });

  it('R-02 a cycle of empty buffers', () => {
    const empty = (next: number) => ({ length: 0, flags: NEXT, next });
    expectBroken(attackWith({ 0: empty(1), 1: empty(0) }, 0), /longer than the queue/);
  });

  it('R-02 a cycle in an indirect table', () => {
    const attacked = attack();
    attacked.guest.tableDescriptor(0x8000, 0, readable(1));
    attacked.guest.tableDescriptor(0x8000, 1, readable(0));
    attacked.guest.indirect(0, HERE, 2);
    attacked.guest.offer(0);
    expectBroken(attacked, /longer than the queue/);
  });

  it('R-02 a cycle over all 32768 descriptors', () => {
    const size = 32_768;
    const attacked = attack({ size, sizeBytes: 0x10_0000 });
    for (let index = 0; index < size; index += 1)
      attacked.guest.descriptor(index, readable((index + 1) % size));
    attacked.guest.offer(9);
    expectBroken(attacked, /longer than the queue/);
  });

  it('R-02 more buffers than descriptors, some direct and some in a table', () => {
    const attacked = attack();
    const buffers = Array.from({ length: 6 }, () => ({ address: HERE, length: 1 }));
    attacked.guest.chain(buffers.slice(0, 3), [0, 1, 2], 3);
    attacked.guest.table(0x9000, buffers);
    attacked.guest.indirect(3, 0x4000_9000n, 6);
    attacked.guest.offer(0);
    expectBroken(attacked, /longer than the queue/);
  });
});

describe('indices that lead nowhere', () => {
  it.each([8, 9, 255, 0x7fff, 0x8000, 0xffff])('R-02 head %i in a ring of 8', (head) => {
    expectBroken(attackWith({}, head), /head lies outside/);
  });

  it.each([8, 0x8000, 0xffff])('R-02 next %i in a ring of 8', (next) => {
    expectBroken(attackWith({ 0: readable(1), 1: readable(next) }, 0), /next index outside/);
  });

  it.each([2, 7, 0xffff])('R-02 next %i in a table of 2', (next) => {
    const attacked = attack();
    attacked.guest.tableDescriptor(0x8000, 0, readable(next));
    attacked.guest.indirect(0, HERE, 2);
    attacked.guest.offer(0);
    expectBroken(attacked, /next index outside/);
  });

  it('R-02 a next index without the NEXT flag has no meaning', () => {
    const { queue, chain } = attackWith({ 0: { address: HERE, length: 4, next: 0xffff } }, 0);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect(chain.readableBytes).toBe(4);
  });
});

describe('buffers that are not memory', () => {
  const wild: [bigint, number][] = [
    [2n ** 64n - 4n, 8],
    [2n ** 64n - 1n, 1],
    [2n ** 64n - 1n, 0xffff_ffff],
    [0x4000_fffcn, 5],
    [0x4001_0000n, 1],
    [0x4000_0000n, 0x1_0001],
    [0x4000_0000n, 0xffff_ffff],
    [0x3fff_ffffn, 1],
    [0x3fff_ffffn, 2],
    [0n, 1],
    [0x1_4000_8000n, 4],
    [0x8000_0000_4000_8000n, 4],
  ];

  it.each(wild)(
    'R-03 (10.6) address %d with %i bytes: given back with nothing written',
    (address, length) => {
      for (const writable of [false, true]) {
        const attacked = attack();
        const { queue, chain, guest, place, memory } = attacked;
        const good = { address: HERE, length: 4 };
        guest.chain([good, { address, length, writable }], [0, 1]);
        guest.chain([good], [2]);
        guest.offer(0, 2);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect(chain.reachable).toBe(false);
        expect(chain.contiguous(1)).toBe(-1);
        expect(chain.readableBytes).toBe(writable ? 4 : 4 + length);
        expect(chain.writableBytes).toBe(writable ? length : 0);
        queue.push(chain, 0);
        // The queue goes on, and the next chain is not blamed.
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.reachable, chain.readableBytes]).toEqual([true, 4]);
        queue.push(chain, 0);
        queue.publish();
        expect([place.usedElement(0), place.usedElement(1)]).toEqual([
          { id: 0, len: 0 },
          { id: 2, len: 0 },
        ]);
        expect(memory.count).toBeLessThan(40);
      }
    },
  );

  it.each(wild.filter(([, length]) => length < 0xffff_0000))(
    'R-03 an indirect table at address %d',
    (address, length) => {
      const attacked = attackWith(
        { 0: { address, length: Math.ceil(length / 16) * 16, flags: INDIRECT } },
        0,
      );
      expectBroken(attacked, /table outside memory/);
    },
  );

  it('R-03 a buffer that wraps past 2^64 into memory at the end of the address space', () => {
    const base = 2n ** 64n - 0x1_0000n;
    for (const [offset, length, reachable] of [
      [0xfffcn, 4, true],
      [0xfffcn, 5, false],
      [0xffffn, 0xffff_ffff, false],
    ] as const) {
      const { queue, chain, guest } = attack({ base });
      guest.offer(guest.chain([{ address: base + offset, length }], [0]));
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect(chain.reachable).toBe(reachable);
    }
  });

  it('R-10 a buffer and a table may end at the last byte of memory', () => {
    const { arena, queue, chain, guest } = attack();
    const end = 0x1_0000;
    guest.tableDescriptor(end - 32, 0, { ...readable(1), address: arena.address(end - 36) });
    guest.tableDescriptor(end - 32, 1, {
      address: arena.address(end - 1),
      length: 1,
      flags: WRITE,
    });
    guest.indirect(4, arena.address(end - 32), 2);
    guest.chain([{ address: arena.address(end - 32), length: 32 }], [0]);
    guest.offer(4, 0);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.reachable, chain.readableBytes, chain.writableBytes]).toEqual([true, 4, 1]);
    expect(chain.write(0, Uint8Array.of(0x77), 0, 1)).toBe(1);
    expect(arena.bytes[end - 1]).toBe(0x77);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    const last = new Uint8Array(32);
    expect(chain.read(0, last, 0, 32)).toBe(32);
    expect(last).toEqual(arena.copy(end - 32, 32));
    expect(arena.guardsIntact()).toBe(true);
  });

  it('R-09 (10.7) a chain of 4 GiB, and of more, is counted exactly', () => {
    const mebibytes = 64;
    const length = mebibytes << 20;
    for (const count of [64, 65]) {
      const { queue, chain, guest } = attack({ size: 128, sizeBytes: length });
      const buffers = Array.from({ length: count }, () => ({ address: 0x4000_0000n, length }));
      buffers.push({ address: 0x4000_9000n, length: 4 });
      guest.offer(guest.chain(buffers, [...buffers.keys()]));
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.reachable, chain.readableBytes]).toEqual([true, count * length + 4]);
      const tail = new Uint8Array(8);
      expect(chain.read(count * length, tail, 0, 8)).toBe(4);
    }
  });

  it('R-09 lengths that are each as large as can be', () => {
    const { queue, chain, guest } = attack();
    const wide = { address: 0x4000_0000n, length: 0xffff_ffff };
    guest.offer(
      guest.chain(
        Array.from({ length: 8 }, () => wide),
        [...Array(8).keys()],
      ),
    );
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.reachable, chain.readableBytes]).toEqual([false, 8 * 0xffff_ffff]);
  });
});

describe('the available index', () => {
  it.each([9, 10, 255, 0x7fff, 0x8000, 0xfffe, 0xffff])(
    'R-04 (10.1) jumps to %i in a ring of 8',
    (index) => {
      const attacked = attack();
      attacked.guest.index(index);
      expectBroken(attacked, /ahead by more than the queue size/);
    },
  );

  it('R-04 may be ahead by the whole queue, and not by one more', () => {
    const { queue, chain, guest } = attack();
    guest.chain([{ address: HERE, length: 4 }], [0]);
    guest.offer(0, 0, 0, 0, 0, 0, 0, 0);
    for (let turn = 0; turn < 8; turn += 1) expect(queue.pop(chain)).toBe(Popped.CHAIN);
    // Nothing of that was given back.
    guest.offer(0);
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
  });

  it('R-04 goes back by one', () => {
    const attacked = attack();
    const { queue, chain, guest } = attacked;
    guest.chain([{ address: HERE, length: 4 }], [0]);
    guest.offer(0, 0);
    for (let turn = 0; turn < 2; turn += 1) {
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      queue.push(chain, 0);
    }
    queue.publish();
    guest.index(1);
    expectBroken(attacked, /ahead by more than the queue size/);
  });

  it('R-04 jumps while entries of the last look are still unread', () => {
    const { queue, chain, guest } = attack();
    guest.chain([{ address: HERE, length: 4 }], [0]);
    guest.offer(0, 0);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    guest.index(0x4000);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
  });

  it('R-11 is one 16-bit load, so that it cannot be torn', () => {
    const { queue, chain, memory, place } = attack();
    memory.trace = [];
    queue.pop(chain);
    queue.ready();
    const index = { kind: 'read', position: place.available + 2, length: 2, ordered: true };
    expect(memory.trace).toEqual([index, index]);
  });

  it('R-11 written byte by byte is no worse than any other index', () => {
    for (const size of [2, 512, 32_768]) {
      for (const before of [0x00ff, 0x01ff, 0x7fff, 0xffff]) {
        const after = (before + 1) & 0xffff;
        for (const torn of [
          (after & 0xff) | (before & 0xff00),
          (before & 0xff) | (after & 0xff00),
        ]) {
          const { arena, queue, chain, guest, place } = attack({ size, sizeBytes: 0x10_0000 });
          const empty = guest.chain([{ address: arena.address(0), length: 0 }], [0]);
          while (guest.nextIndex !== before) {
            guest.offer(empty);
            must(queue.pop(chain) === Popped.CHAIN, 'the ring works up to here');
            queue.push(chain, 0);
          }
          guest.index(torn);
          let popped: number;
          let chains = 0;
          while ((popped = queue.pop(chain)) === Popped.CHAIN) chains += 1;
          // As much as the index says, all of it inside the ring, or a broken queue.
          const ahead = (torn - before) & 0xffff;
          expect([popped, chains]).toEqual(
            ahead > size ? [Popped.BROKEN, 0] : [Popped.EMPTY, ahead],
          );
          expect(place.usedIndex()).toBe(0);
        }
      }
    }
  });
});

describe('a bad head', () => {
  it('R-05 comes after good ones, which are served', () => {
    const { queue, chain, guest, place } = attack();
    guest.chain([{ address: HERE, length: 4 }], [0]);
    guest.offer(0, 0, 99, 0);
    for (let turn = 0; turn < 2; turn += 1) {
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      queue.push(chain, 0);
    }
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    queue.publish();
    expect(place.usedIndex()).toBe(2);
  });

  it('R-05 is reported at once and at every look, so that nobody waits for the queue', () => {
    const { queue, chain } = attackWith({}, 99);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
  });
});

describe('indirect tables', () => {
  const TABLE = 0x8000;

  /** One table descriptor at index 0, with these entries at `TABLE`. */
  function table(entries: readonly AnyDescriptor[], descriptor: AnyDescriptor, options?: Attack) {
    const attacked = attack(options);
    for (const [index, entry] of entries.entries())
      attacked.guest.tableDescriptor(TABLE, index, entry);
    const { guest } = attacked;
    guest.descriptor(0, {
      address: HERE,
      length: 16 * entries.length,
      flags: INDIRECT,
      ...descriptor,
    });
    guest.offer(0);
    return attacked;
  }

  it('R-01 (10.5) split twin: a table descriptor with NEXT', () => {
    expectBroken(
      table([readable()], { flags: INDIRECT | NEXT }),
      /indirect descriptor with a next/,
    );
  });

  it('R-06 (10.5) a table inside a table', () => {
    const inner = { address: HERE + 0x100n, length: 16, flags: INDIRECT };
    expectBroken(table([inner], {}), /inside another/);
    expectBroken(table([readable(1), inner], {}), /inside another/);
  });

  it('R-06 a table that is its own entry', () => {
    expectBroken(table([{ address: HERE, length: 16, flags: INDIRECT }], {}), /inside another/);
  });

  it('R-06 the descriptor table of the ring as the table of one of its descriptors', () => {
    const attacked = attack();
    const { guest, place, arena } = attacked;
    guest.indirect(0, arena.address(place.table), 8);
    guest.offer(0);
    expectBroken(attacked, /inside another/);
  });

  it.each([0, 1, 8, 15, 17, 24, 0xffff_ffff])('R-07 (10.5) a table of %i bytes', (length) => {
    expectBroken(table([readable()], { length }), /whole number of descriptors/);
  });

  it('R-07 a table of more linked entries than the queue has descriptors', () => {
    const entries = Array.from({ length: 9 }, (_, index) =>
      readable(index < 8 ? index + 1 : undefined),
    );
    expectBroken(table(entries, {}), /longer than the queue/);
  });

  it.each([9, 65_536])('R-07 a table of %i entries, two of them linked, is legal', (count) => {
    const attacked = attack({ sizeBytes: 0x20_0000 });
    const { queue, chain, guest, memory } = attacked;
    const last = Math.min(count - 1, 0xffff);
    guest.tableDescriptor(TABLE, 0, readable(last));
    guest.tableDescriptor(TABLE, last, { address: HERE, length: 9, flags: WRITE });
    guest.indirect(0, HERE, count);
    guest.offer(0);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.readableBytes, chain.writableBytes]).toEqual([4, 9]);
    expect(memory.count).toBeLessThan(16);
  });

  it('R-07 a table of 65,536 entries, all linked', () => {
    const attacked = attack({ sizeBytes: 0x20_0000 });
    const { guest } = attacked;
    for (let index = 0; index < 65_536; index += 1)
      guest.tableDescriptor(TABLE, index, readable((index + 1) & 0xffff));
    guest.indirect(0, HERE, 65_536);
    guest.offer(0);
    expectBroken(attacked, /longer than the queue/);
  });

  it.each([1, 2, 3, 7, 15])('R-08 a table %i bytes off its alignment is legal', (shift) => {
    const { queue, chain, guest } = attack();
    guest.table(TABLE + shift, [
      { address: HERE + 0x1001n, length: 20 },
      { address: HERE + 0x2003n, length: 4, writable: true },
    ]);
    guest.indirect(5, HERE + BigInt(shift), 2);
    guest.offer(5);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.id, chain.readableBytes, chain.writableBytes]).toEqual([5, 20, 4]);
  });

  it('R-19 (10.5) a table while the feature is off', () => {
    expectBroken(table([readable()], {}, { indirect: false }), /without the feature/);
  });

  it('R-19 a table behind a descriptor while the feature is off', () => {
    const attacked = attack({ indirect: false });
    attacked.guest.chain([{ address: HERE, length: 4 }], [0], 1);
    attacked.guest.indirect(1, HERE, 1);
    attacked.guest.offer(0);
    expectBroken(attacked, /without the feature/);
  });
});

describe('order of buffers', () => {
  it('(10.4) a readable buffer behind a writable one, direct or in a table, empty or not', () => {
    for (const length of [0, 4]) {
      const buffers = [
        { address: HERE, length, writable: true },
        { address: HERE, length },
      ];
      const direct = attack();
      direct.guest.offer(direct.guest.chain(buffers, [0, 1]));
      expectBroken(direct, /behind a writable one/);
      const mixed = attack();
      mixed.guest.chain(buffers.slice(0, 1), [0], 1);
      mixed.guest.table(0x9000, buffers.slice(1));
      mixed.guest.indirect(1, 0x4000_9000n, 1);
      mixed.guest.offer(0);
      expectBroken(mixed, /behind a writable one/);
    }
  });
});

describe('wraps and resets', () => {
  it('R-12 a chain whose descriptors run over the end of the table, at the index wrap', () => {
    const { arena, queue, chain, guest, place } = attack({ size: 4 });
    const empty = guest.chain([{ address: HERE, length: 0 }], [2]);
    while (guest.nextIndex !== 0xffff) {
      guest.offer(empty);
      must(queue.pop(chain) === Popped.CHAIN, 'the ring works up to here');
      queue.push(chain, 0);
      queue.publish();
    }
    const head = guest.chain(
      [
        { address: arena.address(0x1000), length: 2 },
        { address: arena.address(0x1100), length: 3 },
        { address: arena.address(0x1200), length: 4, writable: true },
      ],
      [3, 0, 1],
    );
    guest.offer(head, empty);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.id, chain.readableBytes, chain.writableBytes]).toEqual([3, 5, 4]);
    queue.push(chain, 4);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect(chain.id).toBe(2);
    queue.push(chain, 0);
    queue.publish();
    expect([place.usedElement(3), place.usedElement(0)]).toEqual([
      { id: 3, len: 4 },
      { id: 2, len: 0 },
    ]);
    expect(place.usedIndex()).toBe(1);
  });

  it('R-13 a ring that begins anew behind the back of the device', () => {
    const attacked = attack();
    const { arena, queue, chain, guest, place } = attacked;
    guest.chain([{ address: HERE, length: 4 }], [0]);
    guest.offer(0, 0, 0);
    for (let turn = 0; turn < 3; turn += 1) {
      queue.pop(chain);
      queue.push(chain, 0);
    }
    queue.publish();
    arena.bytes.fill(0, place.table, place.end);
    guest.nextIndex = 0;
    guest.offer(0);
    expectBroken(attacked, /ahead by more than the queue size/);
  });

  it('basic.dev.queue-reset.state-default [R-13] a new queue begins at 0 and knows nothing of old chains', () => {
    const { arena, queue, chain, guest, place, memory } = attack();
    guest.chain([{ address: HERE, length: 4 }], [0]);
    guest.offer(0, 0, 99);
    queue.pop(chain);
    queue.push(chain, 0);
    queue.publish();
    // One chain is still with the device, and the queue is broken.
    queue.pop(chain);
    expect(queue.pop(chain)).toBe(Popped.BROKEN);

    arena.bytes.fill(0, place.table, place.end);
    const { layout } = place;
    const features = { indirect: true, eventIndex: true };
    const fresh = new SplitDeviceQueue({ memory, layout, features });
    const again = new GuestRingWriter(arena.view, place);
    expect(fresh.fault).toBeUndefined();
    expect(fresh.pop(chain)).toBe(Popped.EMPTY);
    again.offer(again.chain([{ address: HERE, length: 4 }], [6]));
    expect(fresh.pop(chain)).toBe(Popped.CHAIN);
    fresh.push(chain, 0);
    fresh.publish();
    expect([place.usedIndex(), place.usedElement(0)]).toEqual([1, { id: 6, len: 0 }]);
    expect(place.usedElement(1)).toEqual({ id: 0, len: 0 });
  });

  it('basic.dev.queue-reset.reenable-new-config [R-13] a new place and size hold, and the old ring stays as it is', () => {
    const { arena, chain, place, memory, guest, queue } = attack();
    guest.offer(guest.chain([{ address: HERE, length: 4 }], [1]));
    queue.pop(chain);
    const before = arena.copy(place.table, place.end - place.table);
    const other = new SplitPlace(arena, 16);
    const features = { indirect: true, eventIndex: true };
    const fresh = new SplitDeviceQueue({ memory, layout: other.layout, features });
    const again = new GuestRingWriter(arena.view, other);
    const big = new Chain(memory, 16);
    const buffers = Array.from({ length: 16 }, () => ({ address: HERE, length: 1 }));
    again.offer(again.chain(buffers, [...Array(16).keys()]));
    expect(fresh.pop(big)).toBe(Popped.CHAIN);
    expect(big.readableBytes).toBe(16);
    fresh.push(big, 0);
    fresh.publish();
    expect(other.usedIndex()).toBe(1);
    expect(arena.copy(place.table, before.length)).toEqual(before);
  });
});
