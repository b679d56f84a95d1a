/**
 * Lists that a hostile guest can write into a packed ring, and what the device's side makes of them.
 *
 * The numbers of the cases are explained in `../split/hostile-chain.test.ts`. Here are. Tables
 * are in `hostile-table.test.ts`; slots, wrap counters and resets (R-04, R-05, R-11 to
 * R-13) in `hostile-slot.test.ts`; R-15 in `hostile-device.test.ts`; for the slots that a
 * device uses, in `hostile-used.test.ts`. For both formats at once R-14 is in `../sleep-race.test.ts`, R-17 in
 * `../read-once.test.ts` and R-20 in `../state.test.ts`.
 *
 * Every `packed.*` clause has a test here or in one of these files, and `packed.dev.desc.no-read-writable` in
 * `../read-once.test.ts`. Two are judged at this level as far as they go: `packed.drv.desc.notify-offset-wrap` by the
 * position that goes into a notification, which the transport sends; `packed.drv.sg.list-within-device-limit` and its
 * twin for tables against the queue size, since no device that we drive states a limit of its own.
 */

import { DescriptorFlag } from '@viommu/common';
import { Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { HERE } from '../kit/attack.ts';
import {
  attackPacked,
  attackWithSlots,
  expectBroken,
  packedReadable,
} from '../kit/packed-attack.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

describe('lists that do not end', () => {
  it.each([1, 2, 3, 8, 255, 32_768])('R-02 every slot of a ring of %i leads on', (size) => {
    const attacked = attackPacked({ size, sizeBytes: 0x10_0000 });
    attacked.guest.place(...Array.from({ length: size }, () => packedReadable(NEXT)));
    expectBroken(attacked, /longer than the queue/);
  });

  it('R-02 a list of empty buffers that leads on for ever', () => {
    const attacked = attackPacked();
    attacked.guest.place(...Array.from({ length: 8 }, () => ({ flags: NEXT })));
    expectBroken(attacked, /longer than the queue/);
  });

  it('R-02 from any slot on, in either lap', () => {
    for (let start = 0; start < 12; start += 1) {
      const attacked = attackPacked({ size: 5 });
      const { guest, queue, chain } = attacked;
      for (let turn = 0; turn < start; turn += 1) {
        guest.place({});
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        queue.push(chain, 0);
        queue.publish();
      }
      guest.place(...Array.from({ length: 5 }, () => packedReadable(NEXT)));
      expectBroken(attacked, /longer than the queue/);
    }
  });

  it('R-02 a list that takes more slots than the device has left', () => {
    const attacked = attackPacked({ size: 4 });
    const { guest, queue, chain } = attacked;
    guest.offer(1, [
      { address: HERE, length: 4 },
      { address: HERE, length: 4 },
    ]);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    guest.place(packedReadable(NEXT), packedReadable(NEXT), packedReadable());
    expectBroken(attacked, /more descriptors than the ring has/);
  });

  it('R-02 a list of as many slots as there are, and a slot more with the device', () => {
    for (const more of [false, true]) {
      const attacked = attackPacked({ size: 4 });
      const { guest, queue, chain } = attacked;
      if (more) {
        guest.place({});
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
      }
      const slots = [NEXT, NEXT, NEXT, 0].map((flags) => packedReadable(flags));
      guest.place(...slots);
      if (more) expectBroken(attacked, /more descriptors than the ring has/);
      else expect(queue.pop(chain)).toBe(Popped.CHAIN);
    }
  });

  it.each([0, 8, 0x7fff, 0xffff])('R-02 an id of %i is no index: it is handed back', (id) => {
    const { queue, chain, place } = attackWithSlots([{ ...packedReadable(), id }]);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    queue.push(chain, 0);
    queue.publish();
    expect(place.slot(0)).toMatchObject({ id, len: 0, flags: 0x8080 });
  });

  it('R-02 the state bits of further slots of a list say nothing: the first speaks for all', () => {
    for (const state of [0x0000, 0x0080, 0x8000, 0x8080]) {
      const { guest, queue, chain } = attackPacked();
      guest.slot(1, packedReadable(state));
      guest.slot(0, packedReadable(NEXT | 0x80));
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.slots, chain.readableBytes]).toEqual([2, 8]);
    }
  });
});

describe('flags without a meaning', () => {
  it('bits that no flag has are passed over', () => {
    for (let bit = 0; bit < 16; bit += 1) {
      const flag = 1 << bit;
      if ((flag & (NEXT | WRITE | INDIRECT | 0x8080)) !== 0) continue;
      const { queue, chain } = attackWithSlots([packedReadable(flag)]);
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.slots, chain.readableBytes]).toEqual([1, 4]);
    }
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
    [0x3fff_ffffn, 2],
    [0n, 1],
    [0x1_4000_8000n, 4],
    [0x8000_0000_4000_8000n, 4],
  ];

  it.each(wild)(
    'R-03 (10.6) address %d with %i bytes: given back with nothing written',
    (address, length) => {
      for (const writable of [false, true]) {
        const { queue, chain, guest, place, memory } = attackPacked();
        const good = { address: HERE, length: 4 };
        guest.offer(5, [good, { address, length, writable }]);
        guest.offer(6, [good]);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect(chain.reachable).toBe(false);
        expect(chain.contiguous(1)).toBe(-1);
        expect(chain.readableBytes).toBe(writable ? 4 : 4 + length);
        expect(chain.writableBytes).toBe(writable ? length : 0);
        queue.push(chain, 0);
        // The queue goes on, and the next list is not blamed.
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.reachable, chain.readableBytes]).toEqual([true, 4]);
        queue.push(chain, 0);
        queue.publish();
        expect(place.slot(0)).toMatchObject({ id: 5, len: 0, flags: 0x8080 });
        expect(place.slot(2)).toMatchObject({ id: 6, len: 0, flags: 0x8080 });
        expect(memory.count).toBeLessThan(40);
      }
    },
  );

  it.each(wild.filter(([, length]) => length < 0xffff_0000))(
    'R-03 an indirect table at address %d',
    (address, length) => {
      const table = { address, length: Math.ceil(length / 16) * 16, flags: INDIRECT };
      expectBroken(attackWithSlots([table]), /table outside memory/);
    },
  );

  it('R-03 a buffer that wraps past 2^64 into memory at the end of the address space', () => {
    const base = 2n ** 64n - 0x1_0000n;
    for (const [offset, length, reachable] of [
      [0xfffcn, 4, true],
      [0xfffcn, 5, false],
      [0xffffn, 0xffff_ffff, false],
    ] as const) {
      const { queue, chain, guest } = attackPacked({ base });
      guest.offer(1, [{ address: base + offset, length }]);
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect(chain.reachable).toBe(reachable);
    }
  });

  it('R-10 a buffer and a table may end at the last byte of memory', () => {
    const { arena, queue, chain, guest } = attackPacked();
    const end = 0x1_0000;
    guest.offerTable(4, end - 32, arena.address(end - 32), [
      { address: arena.address(end - 36), length: 4 },
      { address: arena.address(end - 1), length: 1, writable: true },
    ]);
    guest.offer(5, [{ address: arena.address(end - 32), length: 32 }]);
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

  it('R-09 (10.7) a list of 4 GiB, and of more, is counted exactly', () => {
    const length = 64 << 20;
    for (const count of [64, 65])
      for (const table of [false, true]) {
        const { arena, queue, chain, guest } = attackPacked({ size: 99, sizeBytes: length });
        const buffers = Array.from({ length: count }, () => ({ address: 0x4000_0000n, length }));
        buffers.push({ address: 0x4000_9000n, length: 4 });
        if (table) guest.offerTable(1, 0xa000, arena.address(0xa000), buffers);
        else guest.offer(1, buffers);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.reachable, chain.readableBytes]).toEqual([true, count * length + 4]);
        const tail = new Uint8Array(8);
        expect(chain.read(count * length, tail, 0, 8)).toBe(4);
      }
  });

  it('R-09 lengths that are each as large as can be', () => {
    const { queue, chain, guest } = attackPacked();
    guest.offer(1, Array(8).fill({ address: 0x4000_0000n, length: 0xffff_ffff }));
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
      const direct = attackPacked();
      direct.guest.offer(1, buffers);
      expectBroken(direct, /behind a writable one/);
      const table = attackPacked();
      table.guest.offerTable(1, 0x9000, 0x4000_9000n, buffers);
      expectBroken(table, /behind a writable one/);
    }
  });
});
