/**
 * Used slots that a hostile device can write into a packed ring, and everything else there that the driver wrote. The
 * numbers of the cases are explained in `../split/hostile-chain.test.ts`.
 */

import { DescriptorFlag } from '@viommu/common';
import { type BufferList, PackedDriverQueue, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { must } from '../kit/must.ts';
import { PackedDeviceWriter } from '../kit/packed-device-writer.ts';
import { attackPackedDriver, send } from '../kit/packed-driver-attack.ts';
import { Random } from '../kit/random.ts';

const { WRITE } = DescriptorFlag;

describe('wrap bits', () => {
  it('R-15 of the other lap are no answer', () => {
    for (let start = 0; start < 10; start += 1) {
      const attacked = attackPackedDriver({ size: 5 });
      const { arena, queue, device } = attacked;
      const single = arena.buffers([], [4]);
      for (let turn = 0; turn <= start; turn += 1) {
        expect(queue.add(single, turn)).toBe(true);
        queue.publish();
        if (turn === start) break;
        device.use(turn % 5, 4, 1);
        expect(queue.take()).toBe(turn);
      }
      const { slot, used, available } = device.next;
      for (const state of [used ^ 0x8080, available, available ^ 0x8080]) {
        device.slot(slot, { id: start % 5, length: 4, flags: state });
        expect([queue.ready(), queue.take()]).toEqual([false, Taken.EMPTY]);
      }
      device.use(start % 5, 4, 1);
      expect(queue.take()).toBe(start);
    }
  });

  it('R-15 that jump ahead: a slot that looks used before its turn waits for it', () => {
    const attacked = attackPackedDriver();
    const { queue, device } = attacked;
    send(attacked, 1, 2, 3);
    device.slot(2, { id: 1, length: 4, flags: 0x8080 | WRITE });
    device.slot(4, { id: 2, length: 4, flags: 0x8080 | WRITE });
    expect([queue.ready(), queue.take()]).toEqual([false, Taken.EMPTY]);
    device.use(0, 4, 2);
    expect([queue.take(), queue.take(), queue.take(), queue.take()]).toEqual([1, 2, 3, -1]);
  });

  it('R-11 are read with one 16-bit load', () => {
    const attacked = attackPackedDriver();
    const { queue, memory, place } = attacked;
    send(attacked, 1);
    memory.trace = [];
    queue.take();
    queue.ready();
    const flags = { kind: 'read', position: place.flagsAt(0), length: 2, ordered: true };
    expect(memory.trace).toEqual([flags, flags]);
  });

  it('R-13 of a device that begins anew behind the back of the driver', () => {
    const attacked = attackPackedDriver();
    const { arena, place, queue, device } = attacked;
    send(attacked, 1, 2, 3);
    for (const id of [0, 1]) device.use(id, 4, 2);
    expect([queue.take(), queue.take()]).toEqual([1, 2]);
    // It begins at slot 0, where the driver does not look now.
    new PackedDeviceWriter(arena.view, place).use(2, 4, 2);
    expect([queue.take(), queue.inFlight, queue.fault]).toEqual([-1, 1, undefined]);
  });

  it('R-13 a new driver queue begins at slot 0, whatever the old one left', () => {
    const { arena, place, queue, device, pair } = attackPackedDriver();
    queue.add(pair, 1);
    queue.publish();
    device.use(0, 4, 2);
    device.use(0, 4, 2);
    const fresh = new PackedDriverQueue({
      memory: arena.memory,
      layout: place.layout,
      features: { indirect: false, eventIndex: true },
    });
    expect(fresh.take()).toBe(Taken.EMPTY);
    expect(fresh.add(pair, 2)).toBe(true);
    fresh.publish();
    expect(fresh.take()).toBe(Taken.EMPTY);
    new PackedDeviceWriter(arena.view, place).use(0, 4, 2);
    expect([fresh.take(), fresh.takenBytes]).toEqual([2, 4]);
  });
});

describe.each([false, true])('what the driver wrote, with tables: %s', (indirect) => {
  const features = { indirect };

  it('R-16 is never read back: of the ring it reads the next used descriptor, and no address', () => {
    const attacked = attackPackedDriver({ features });
    const { memory, place, queue, device, pair } = attacked;
    const slots = indirect ? 1 : 2;
    let sent = 0;
    memory.trace = [];
    for (let round = 0; round < 20; round += 1) {
      for (let turn = 0; turn < 3; turn += 1) queue.add(pair, turn);
      queue.publish();
      queue.armNotification();
      for (let turn = 0; turn < 3; turn += 1) {
        device.use(sent % 8, 4, slots);
        sent += 1;
      }
      while (queue.take() >= 0);
      queue.suppressNotification();
      queue.ready();
    }
    expect(queue.fault).toBeUndefined();
    const reads = memory.trace.filter(({ kind }) => kind === 'read');
    expect(reads.length).toBeGreaterThan(100);
    const wrong = reads.filter(
      ({ position }) => position >= place.driverEvent && position < place.deviceEvent,
    );
    const within = reads.filter(({ position }) => position < place.driverEvent);
    // Length, id and flags.
    expect(within.every(({ position }) => position % 16 >= 8)).toBe(true);
    expect([wrong, reads.filter(({ position }) => position >= place.end)]).toEqual([[], []]);
  });

  it('R-16 may be overwritten: tokens, lengths and free slots stay right', () => {
    const attacked = attackPackedDriver({ features });
    const { arena, place, tables, queue, device, memory } = attacked;
    const random = new Random(16);
    const inFlight: { token: number; id: number; slots: number }[] = [];
    const lists = [1, 2, 3, 4].map((count) => arena.buffers([], Array<number>(count).fill(1)));
    // A device that remembers the id that was written last.
    let id = 0;
    memory.after = ({ kind, position }) => {
      const within = position >= place.ring && position < place.driverEvent;
      if (kind === 'write' && within && position % 16 === 12)
        id = arena.view.getUint16(position, true);
    };
    let tokens = 0;
    for (let round = 0; round < 2000; round += 1) {
      const list: BufferList = random.pick(lists);
      const slots = indirect ? 1 : list.count;
      const room = inFlight.reduce((sum, other) => sum - other.slots, place.size);
      const added = queue.add(list, tokens);
      must(added === slots <= room, `${room} slots for ${slots}`);
      if (added) {
        must(!inFlight.some((other) => other.id === id), `id ${id} comes twice`);
        inFlight.push({ token: tokens, id, slots });
        tokens += 1;
        queue.publish();
      }
      arena.bytes.set(random.bytes(place.driverEvent - place.ring), place.ring);
      arena.bytes.set(random.bytes(64), tables);
      const [back] = inFlight.splice(random.below(inFlight.length), 1);
      must(back !== undefined, 'a list is in flight');
      if (added && random.once(3)) {
        inFlight.push(back);
        continue;
      }
      device.use(back.id, round, back.slots, WRITE);
      expect([queue.take(), queue.takenBytes]).toEqual([back.token, round]);
      expect(queue.inFlight).toBe(inFlight.length);
    }
    expect(tokens).toBeGreaterThan(500);
    expect(queue.fault).toBeUndefined();
  });
});
