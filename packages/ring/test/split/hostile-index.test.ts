/**
 * Available indices and heads that a hostile guest can write, wraps and resets, and what the device's side makes of
 * them. The numbers of the cases are explained in `hostile-chain.test.ts`.
 */

import { Chain, Popped, SplitDeviceQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { HERE, attack, attackWith, expectBroken } from '../kit/attack.ts';
import { GuestRingWriter } from '../kit/guest-ring-writer.ts';
import { must } from '../kit/must.ts';
import { SplitPlace } from '../kit/split-place.ts';

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
