/**
 * Wrap bits, slots and resets that a hostile guest can write into a packed ring, and what the device's side makes of
 * them. The numbers of the cases are explained in `../split/hostile-chain.test.ts`.
 */

import { DescriptorFlag } from '@viommu/common';
import { Chain, PackedDeviceQueue, Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { HERE } from '../kit/attack.ts';
import {
  type PackedAttacked,
  attackPacked,
  attackWithSlots,
  expectBroken,
  packedReadable,
} from '../kit/packed-attack.ts';
import { must } from '../kit/must.ts';
import { PackedGuestWriter } from '../kit/packed-guest-writer.ts';
import { PackedPlace } from '../kit/packed-place.ts';

const { NEXT, INDIRECT } = DescriptorFlag;

/** Serves so many empty requests, one by one. */
function serve({ guest, queue, chain }: PackedAttacked, count: number): void {
  for (let turn = 0; turn < count; turn += 1) {
    guest.place({ id: turn });
    must(queue.pop(chain) === Popped.CHAIN, `the device finds ${queue.fault}`);
    queue.push(chain, 0);
    queue.publish();
  }
}

describe('wrap bits', () => {
  it('R-04 of the other lap are not available, in any slot, before and after a lap', () => {
    for (let start = 0; start < 10; start += 1) {
      const attacked = attackPacked({ size: 5 });
      const { guest, queue, chain, place } = attacked;
      serve(attacked, start);
      const { available, used } = guest.next;
      const other = available ^ 0x8080;
      for (const state of [other, used, used ^ 0x8080]) {
        for (let slot = 0; slot < 5; slot += 1) guest.slot(slot, { id: 1, flags: state });
        expect([queue.ready(), queue.pop(chain)]).toEqual([false, Popped.EMPTY]);
      }
      expect(queue.fault).toBeUndefined();
      // The queue is none the worse for it.
      for (let slot = 0; slot < 5; slot += 1) guest.slot(slot, {});
      guest.place({ id: 0x77 });
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      queue.push(chain, 0);
      queue.publish();
      expect(place.slot(start % 5)).toMatchObject({ id: 0x77, flags: used });
    }
  });

  it('R-04 that jump a lap ahead make no slot available twice', () => {
    for (const size of [1, 3, 4]) {
      const attacked = attackPacked({ size });
      const { guest, queue, chain } = attacked;
      for (let turn = 0; turn < size; turn += 1) {
        guest.place(packedReadable());
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
      }
      // The device has all of it. Now the guest says that the slots are there again, for the next lap.
      guest.place(packedReadable());
      expect(queue.ready()).toBe(true);
      expectBroken(attacked, /more descriptors than the ring has/);
    }
  });

  it('R-04 that jump while the device has half of the ring: what is free may be used, and no more', () => {
    const attacked = attackPacked({ size: 4 });
    const { guest, queue } = attacked;
    const chains = [0, 1, 2, 3].map((id) => {
      guest.place({ id });
      const chain = new Chain(attacked.memory, 4);
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      return chain;
    });
    for (const chain of chains.slice(0, 2)) queue.push(chain, 0);
    queue.publish();
    for (const id of [4, 5]) {
      guest.place({ id });
      expect(queue.pop(attacked.chain)).toBe(Popped.CHAIN);
    }
    guest.place({ id: 6 });
    expectBroken(attacked, /more descriptors than the ring has/);
  });

  it('R-04 of a slot far ahead are nothing while the next slot is not there', () => {
    const attacked = attackPacked();
    const { guest, queue, chain } = attacked;
    for (let slot = 1; slot < 8; slot += 1) guest.slot(slot, { id: slot, flags: 0x80 });
    expect([queue.ready(), queue.pop(chain)]).toEqual([false, Popped.EMPTY]);
    guest.slot(0, { id: 0, flags: 0x80 });
    const ids = Array.from({ length: 8 }, () => [queue.pop(chain), chain.id]);
    expect(ids).toEqual(Array.from({ length: 8 }, (_, id) => [Popped.CHAIN, id]));
    expect(queue.pop(chain)).toBe(Popped.EMPTY);
  });

  it('R-11 are read with one 16-bit load, so that they cannot be torn', () => {
    const { queue, chain, memory, place } = attackPacked();
    memory.trace = [];
    queue.pop(chain);
    queue.ready();
    const flags = { kind: 'read', position: place.flagsAt(0), length: 2, ordered: true };
    expect(memory.trace).toEqual([flags, flags]);
  });

  it('R-11 written byte by byte are no worse than any other flags', () => {
    for (let start = 0; start < 6; start += 1)
      for (const flags of [0, NEXT, INDIRECT, NEXT | INDIRECT])
        for (const lowFirst of [true, false]) {
          const attacked = attackPacked({ size: 3 });
          const { arena, guest, queue, chain, place } = attacked;
          serve(attacked, start);
          const at = place.flagsAt(guest.next.slot);
          const before = arena.view.getUint16(at, true);
          const after = guest.next.available | flags;
          const torn = lowFirst
            ? (after & 0x00ff) | (before & 0xff00)
            : (before & 0x00ff) | (after & 0xff00);
          guest.flags(guest.next.slot, torn);
          const popped = queue.pop(chain);
          // As if the guest had written just that at once.
          const available = (torn & 0x8080) === guest.next.available;
          const legal = (torn & INDIRECT) === 0;
          if (!available) expect([popped, queue.fault]).toEqual([Popped.EMPTY, undefined]);
          else expect(popped).toBe(legal ? Popped.CHAIN : Popped.BROKEN);
          if (popped === Popped.CHAIN) expect(chain.slots).toBe((torn & NEXT) === 0 ? 1 : 2);
        }
  });
});

describe('a bad list', () => {
  it('R-05 comes after good ones, which are served', () => {
    const { guest, queue, chain, place } = attackPacked();
    guest.place({ id: 1 });
    guest.place({ id: 2 });
    guest.place({ id: 3, flags: INDIRECT });
    guest.place({ id: 4 });
    for (let turn = 0; turn < 2; turn += 1) {
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      queue.push(chain, 0);
    }
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    queue.publish();
    expect([0, 1, 2].map((slot) => place.slot(slot).flags & 0x8080)).toEqual([
      0x8080, 0x8080, 0x0080,
    ]);
  });

  it('R-05 is reported at once and at every look, so that nobody waits for the queue', () => {
    const { queue, chain } = attackWithSlots([{ flags: INDIRECT }]);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
  });
});

describe('wraps and resets', () => {
  it.each([3, 5, 7])('R-12 a list over the end of a ring of %i, in every lap', (size) => {
    for (let lap = 0; lap < 4; lap += 1)
      for (let ahead = 1; ahead < size; ahead += 1) {
        const attacked = attackPacked({ size });
        const { arena, guest, queue, chain, place } = attacked;
        serve(attacked, lap * size + size - ahead);
        const { used } = guest.next;
        const first = guest.offer(0x55, [
          ...Array.from({ length: size - 1 }, (_, turn) => ({
            address: arena.address(0x1000 + 16 * turn),
            length: turn + 1,
          })),
          { address: arena.address(0x2000), length: 4, writable: true },
        ]);
        expect(first).toBe(size - ahead);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        const { id, slots, readableBytes, writableBytes } = chain;
        expect([id, slots, readableBytes, writableBytes]).toEqual([
          0x55,
          size,
          (size * (size - 1)) / 2,
          4,
        ]);
        queue.push(chain, 4);
        queue.publish();
        expect(place.slot(first)).toMatchObject({ id: 0x55, len: 4, flags: used | 2 });
        // Where the next one is, after a whole lap.
        guest.place({ id: 0x66 });
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.id, guest.next.slot]).toEqual([0x66, (first + 1) % size]);
      }
  });

  it('R-13 a ring that begins anew behind the back of the device', () => {
    // Where the device stands, the new ring has nothing for it, or a slot of the wrong lap.
    for (const served of [3, 5, 8]) {
      const attacked = attackPacked({ size: 5 });
      const { arena, place, queue, chain } = attacked;
      serve(attacked, served);
      arena.bytes.fill(0, place.ring, place.end);
      const again = new PackedGuestWriter(arena.view, place);
      for (let turn = 0; turn < served % 5; turn += 1) again.place({ id: turn });
      expect(queue.pop(chain)).toBe(Popped.EMPTY);
      expect(queue.fault).toBeUndefined();
    }
  });

  it('basic.dev.queue-reset.state-default [R-13] a new queue begins at slot 0 and knows nothing of old lists', () => {
    const attacked = attackPacked({ size: 5 });
    const { arena, queue, chain, guest, place, memory } = attacked;
    serve(attacked, 7);
    guest.place(packedReadable());
    // One list is still with the device, and the queue is broken.
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    guest.place({ flags: INDIRECT });
    expect(queue.pop(chain)).toBe(Popped.BROKEN);

    arena.bytes.fill(0, place.ring, place.end);
    const { layout } = place;
    const features = { indirect: true, eventIndex: true };
    const fresh = new PackedDeviceQueue({ memory, layout, features });
    const again = new PackedGuestWriter(arena.view, place);
    expect([fresh.fault, fresh.pop(chain)]).toEqual([undefined, Popped.EMPTY]);
    again.offer(4, [{ address: HERE, length: 4 }]);
    expect(fresh.pop(chain)).toBe(Popped.CHAIN);
    fresh.push(chain, 0);
    fresh.publish();
    expect(place.slot(0)).toMatchObject({ id: 4, len: 0, flags: 0x8080 });
    expect(place.slot(1)).toEqual({ addr: 0n, len: 0, id: 0, flags: 0 });
  });

  it('basic.dev.queue-reset.reenable-new-config [R-13] a new place and size hold, and the old ring stays as it is', () => {
    const { arena, chain, place, memory, guest, queue } = attackPacked();
    guest.place(packedReadable());
    queue.pop(chain);
    const before = arena.copy(place.ring, place.end - place.ring);
    const other = new PackedPlace(arena, 11);
    const features = { indirect: true, eventIndex: true };
    const fresh = new PackedDeviceQueue({ memory, layout: other.layout, features });
    const again = new PackedGuestWriter(arena.view, other);
    const big = new Chain(memory, 11);
    again.offer(1, Array(11).fill({ address: HERE, length: 1 }));
    expect(fresh.pop(big)).toBe(Popped.CHAIN);
    expect(big.readableBytes).toBe(11);
    fresh.push(big, 0);
    fresh.publish();
    expect(other.slot(0).flags).toBe(0x8080);
    expect(arena.copy(place.ring, before.length)).toEqual(before);
  });
});
