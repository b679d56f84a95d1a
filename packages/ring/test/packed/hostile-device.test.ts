/**
 * What a hostile device can write into a packed ring, and what the driver's side makes of it. The numbers of the cases
 * are explained in `../split/hostile-chain.test.ts`.
 */

import { DescriptorFlag } from '@viommu/common';
import { BufferList, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { must } from '../kit/must.ts';
import { attackPackedDriver, expectDriverBroken, send } from '../kit/packed-driver-attack.ts';

const { WRITE } = DescriptorFlag;

describe('used ids', () => {
  it.each([8, 9, 0x7fff, 0x8000, 0xfffe, 0xffff])('R-15 forged: %i in a ring of 8', (id) => {
    const attacked = attackPackedDriver();
    send(attacked, 5);
    attacked.device.use(id, 4, 2);
    expectDriverBroken(attacked, /outside the ring/);
  });

  it('R-15 an id that is free', () => {
    const attacked = attackPackedDriver();
    send(attacked, 1);
    attacked.device.use(1, 4, 2);
    expectDriverBroken(attacked, /not in flight/);
  });

  it('R-15 repeated at once', () => {
    const attacked = attackPackedDriver();
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use(0, 4, 2);
    device.use(0, 4, 2);
    expect(queue.take()).toBe(1);
    expectDriverBroken(attacked, /not in flight/);
  });

  it('R-15 stale: of a request that is back since long', () => {
    const attacked = attackPackedDriver();
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use(0, 4, 2);
    expect(queue.take()).toBe(1);
    send(attacked, 3);
    device.use(1, 4, 2);
    expect(queue.take()).toBe(2);
    device.use(0, 4, 2);
    expectDriverBroken(attacked, /not in flight/);
  });

  it('R-15 of a list that was added and not published, whatever ids were used before', () => {
    for (let before = 0; before < 16; before += 1) {
      const attacked = attackPackedDriver();
      const { queue, device, pair } = attacked;
      for (let turn = 0; turn < before; turn += 1) {
        send(attacked, turn);
        device.use(turn % 8, 4, 2);
        expect(queue.take()).toBe(turn);
      }
      send(attacked, 1);
      for (const token of [2, 3]) queue.add(pair, token);
      device.use((before + 1 + (before % 2)) % 8, 4, 2);
      expectDriverBroken(attacked, /not available yet/);
    }
  });

  it('R-15 of a list that was added and not published, with one list kept for 65,534 others', () => {
    const attacked = attackPackedDriver();
    const { queue, device, pair } = attacked;
    send(attacked, 77);
    // Ids go round: 1, 2, …, 7, 1, 2, … while 0 stays away.
    for (let token = 0; token < 65_534; token += 1) {
      queue.add(pair, token);
      queue.publish();
      device.use(1 + (token % 7), 4, 2);
      must(queue.take() === token, `the driver finds ${queue.fault}`);
    }
    for (const token of [1, 2]) expect(queue.add(pair, token)).toBe(true);
    // The second of these two has the number of the list that is kept, modulo 2^16.
    device.use(1 + (65_535 % 7), 4, 2);
    expectDriverBroken(attacked, /not available yet/);
  });

  it('with nothing published, whatever the ring says is not an answer', () => {
    const attacked = attackPackedDriver();
    const { queue, device, pair } = attacked;
    device.use(0, 4, 2);
    expect([queue.ready(), queue.take(), queue.armNotification()]).toEqual([false, -1, true]);
    queue.add(pair, 1);
    expect([queue.ready(), queue.take()]).toEqual([false, -1]);
    queue.publish();
    expect([queue.take(), queue.fault]).toEqual([-1, undefined]);
  });

  it('any order is legal, and so is keeping a list while others go round', () => {
    const attacked = attackPackedDriver();
    const { queue, device } = attacked;
    send(attacked, 10, 11, 12, 13);
    for (const id of [3, 1, 2]) device.use(id, 4, 2);
    expect([queue.take(), queue.take(), queue.take(), queue.take()]).toEqual([13, 11, 12, -1]);
    // The ids that were not used yet come first.
    send(attacked, 14, 15, 16);
    for (const id of [6, 4, 5]) device.use(id, 4, 2);
    expect([queue.take(), queue.take(), queue.take()]).toEqual([16, 14, 15]);
    device.use(0, 4, 2);
    expect([queue.take(), queue.inFlight, queue.fault]).toEqual([10, 0, undefined]);
  });

  it('descriptors before a bad one are delivered', () => {
    const attacked = attackPackedDriver();
    const { queue, device } = attacked;
    send(attacked, 1, 2, 3);
    for (const id of [2, 0, 9]) device.use(id, 4, 2);
    expect([queue.take(), queue.take()]).toEqual([3, 1]);
    expectDriverBroken(attacked, /outside the ring/);
    expect(queue.inFlight).toBe(1);
  });
});

describe('batches of a device that promised to use lists in order', () => {
  const features = { inOrder: true };

  it('stand for every list up to the one they name, the others fully written (9.4)', () => {
    for (const [length, flags, bytes] of [
      [1, WRITE, 1],
      [9, 0, 0],
    ] as const) {
      const attacked = attackPackedDriver({ features });
      const { queue, device } = attacked;
      send(attacked, 1, 2, 3);
      device.use(2, length, 6, flags);
      const taken = [1, 2, 3].map(() => [queue.take(), queue.takenBytes]);
      expect(taken).toEqual([
        [1, 4],
        [2, 4],
        [3, bytes],
      ]);
      expect(queue.take()).toBe(Taken.EMPTY);
      // The next one stands behind all of them.
      send(attacked, 4);
      device.use(3, 4, 2);
      expect(queue.take()).toBe(4);
    }
  });

  it('are taken whole before the driver sleeps', () => {
    const attacked = attackPackedDriver({ features });
    const { queue, device } = attacked;
    send(attacked, 1, 2);
    device.use(1, 4, 4);
    expect(queue.take()).toBe(1);
    expect([queue.ready(), queue.armNotification()]).toEqual([true, false]);
    expect(queue.take()).toBe(2);
    expect([queue.ready(), queue.armNotification()]).toEqual([false, true]);
  });

  it('R-15 are refused where they name what is no list in flight', () => {
    for (const [id, fault] of [
      [3, /not in flight/],
      [8, /outside the ring/],
      [0xffff, /outside the ring/],
    ] as const) {
      const attacked = attackPackedDriver({ features });
      send(attacked, 1, 2, 3);
      attacked.device.use(id, 1, 6);
      expectDriverBroken(attacked, fault);
    }
  });

  it('R-15 are refused where they name a list that was taken back, or is not available yet', () => {
    for (const id of [0, 2]) {
      const attacked = attackPackedDriver({ features });
      const { queue, device, pair } = attacked;
      send(attacked, 1, 2);
      device.use(0, 4, 2);
      expect(queue.take()).toBe(1);
      queue.add(pair, 3);
      device.use(id, 4, 2);
      expectDriverBroken(attacked, id === 0 ? /not in flight/ : /not available yet/);
    }
  });
});

describe('used lengths', () => {
  it.each([1, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])(
    'R-15 %i for 4 writable bytes is handed on as the device gave it; without WRITE it is 0 (1.13)',
    (length) => {
      for (const flags of [WRITE, 0]) {
        const attacked = attackPackedDriver();
        const { queue, device } = attacked;
        send(attacked, 1);
        device.use(0, length, 2, flags);
        expect(queue.take()).toBe(1);
        expect(queue.takenBytes).toBe(flags === 0 ? 0 : length);
        expect(queue.fault).toBeUndefined();
      }
    },
  );

  it('other flags of a used descriptor, NEXT among them, and its address say nothing', () => {
    for (let bit = 0; bit < 16; bit += 1) {
      if ((1 << bit) & (0x8080 | WRITE)) continue;
      const attacked = attackPackedDriver();
      const { queue, device, place } = attacked;
      send(attacked, 1, 2);
      device.slot(0, {
        address: 2n ** 64n - 1n,
        length: 4,
        id: 1,
        flags: 0x8080 | WRITE | (1 << bit),
      });
      expect([queue.take(), queue.takenBytes]).toEqual([2, 4]);
      device.slot(2, { length: 4, id: 0, flags: 0x8080 | WRITE });
      expect([queue.take(), queue.fault, place.size]).toEqual([1, undefined, 8]);
    }
  });
});

describe('a broken queue', () => {
  it('lets the driver add and publish, without an exception and without an end to the fault', () => {
    const attacked = attackPackedDriver();
    const { queue, device, pair } = attacked;
    send(attacked, 1);
    device.use(99, 4, 2);
    expectDriverBroken(attacked, /outside/);
    const list = new BufferList(1).addWritable(attacked.arena.address(0x9000), 4);
    while (queue.add(list, 3)) queue.publish();
    expect(queue.add(pair, 4)).toBe(false);
    expect(queue.take()).toBe(Taken.BROKEN);
    expect(queue.inFlight).toBeLessThanOrEqual(8);
  });
});
