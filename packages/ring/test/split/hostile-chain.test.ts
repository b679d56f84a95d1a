/**
 * Chains that a hostile guest can write into a split ring, and what the device's side makes of them.
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
 * Here are. The tables R-01 (its split twin), R-06 to are in
 * `hostile-table.test.ts`; in `hostile-index.test.ts`; R-14 in `../sleep-race.test.ts`;
 * in `hostile-device.test.ts`; R-17 in `../read-once.test.ts`; R-18 in `framing.test.ts`; R-20 in
 * `../hostile-state.test.ts`.
 */

import { DescriptorFlag } from '@viommu/common';
import { Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { HERE, HERE_AT, attack, attackWith, expectBroken, readable } from '../kit/attack.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

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
    attacked.guest.tableDescriptor(HERE_AT, 0, readable(1));
    attacked.guest.tableDescriptor(HERE_AT, 1, readable(0));
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
    attacked.guest.tableDescriptor(HERE_AT, 0, readable(next));
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
