/** What the device's side writes, judged byte by byte against the clauses on devices. */

import { DescriptorFlag } from '@viommu/common';
import { Chain, Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import type { AnyBuffer } from '../kit/guest-ring-writer.ts';
import { must } from '../kit/must.ts';
import { type PackedAttacked, attackPacked } from '../kit/packed-attack.ts';
import { Lap } from '../kit/packed-place.ts';
import { Random } from '../kit/random.ts';

const { NEXT, WRITE } = DescriptorFlag;
const READABLE = 0x4000;
const WRITABLE = 0x8000;
const TABLE = 0xc000;

/** The buffers of a request of 20 and 4 bytes. */
const request = ({ arena }: PackedAttacked): AnyBuffer[] => [
  { address: arena.address(READABLE), length: 20 },
  { address: arena.address(WRITABLE), length: 4, writable: true },
];

/** Makes such a request available, directly or in a table. */
function offer(side: PackedAttacked, id: number, indirect: boolean): void {
  const { arena, guest } = side;
  if (indirect) guest.offerTable(id, TABLE, arena.address(TABLE), request(side));
  else guest.offer(id, request(side));
}

/** Makes empty lists of so many slots available, with ids 0, 1, 2, …. */
function offerEmpty({ guest }: PackedAttacked, lengths: readonly number[]): void {
  for (const [id, length] of lengths.entries())
    guest.offer(
      id,
      Array.from({ length }, () => ({ address: 0n, length: 0 })),
    );
}

/** Takes so many chains. */
function popAll({ memory, queue }: PackedAttacked, count: number): Chain[] {
  return Array.from({ length: count }, () => {
    const chain = new Chain(memory, queue.size);
    must(queue.pop(chain) === Popped.CHAIN, `the device finds ${queue.fault}`);
    return chain;
  });
}

describe.each([false, true])('requests in tables: %s', (indirect) => {
  /** Bytes that change while the device serves one request and writes `fill` and the used length `len`. */
  function changes(fill: number, len: number) {
    const side = attackPacked();
    const { arena, queue, chain } = side;
    arena.bytes.set(new Random(fill).bytes(0x1000), READABLE);
    arena.bytes.fill(0x11, WRITABLE, WRITABLE + 64);
    offer(side, 0x1234, indirect);
    const before = arena.bytes.slice();
    must(queue.pop(chain) === Popped.CHAIN, 'a chain is there');
    const target = new Uint8Array(64);
    chain.read(0, target, 0, 64);
    // More than there is room for.
    expect(chain.write(0, target.fill(fill), 0, 64)).toBe(4);
    queue.push(chain, len);
    queue.publish();
    const touched = [...before.keys()].filter((at) => arena.bytes[at] !== before[at]);
    return { side, touched };
  }

  it('packed.dev.desc.no-write-readable: readable buffers and tables stay as they are', () => {
    const { touched } = changes(0x22, 4);
    expect(touched.filter((at) => at >= READABLE && at < READABLE + 0x1000)).toEqual([]);
    expect(touched.filter((at) => at >= TABLE && at < TABLE + 32)).toEqual([]);
    expect(touched.filter((at) => at >= WRITABLE)).toEqual([0, 1, 2, 3].map((at) => WRITABLE + at));
  });

  it('fact.packed.single-used: of the ring only id, length and flags of the first slot change', () => {
    const { side, touched } = changes(0x22, 5);
    const { ring, end } = side.place;
    const within = touched.filter((at) => at >= ring && at < end).map((at) => at - ring);
    expect(within.every((at) => at >= 8 && at < 16)).toBe(true);
    const { id, len, flags } = side.place.slot(0);
    expect([id, len, flags]).toEqual([0x1234, 5, 0x8080 | WRITE]);
  });

  it('the bytes, id and length are there at the moment the flags change', () => {
    const side = attackPacked();
    const { arena, place, memory, queue, chain } = side;
    arena.bytes.fill(0xff, WRITABLE, WRITABLE + 4);
    offer(side, 77, indirect);
    queue.pop(chain);
    let checked = 0;
    memory.before = ({ kind, position }) => {
      if (kind !== 'write' || position !== place.flagsAt(0)) return;
      expect([...arena.copy(WRITABLE, 4)]).toEqual([1, 2, 3, 4]);
      expect([place.slot(0).id, place.slot(0).len]).toEqual([77, 4]);
      checked += 1;
    };
    chain.write(0, Uint8Array.of(1, 2, 3, 4), 0, 4);
    queue.push(chain, 4);
    expect(checked).toBe(0);
    queue.publish();
    expect(checked).toBe(1);
    // Nothing of the ring is written after that.
    memory.trace = [];
    queue.publish();
    expect(memory.trace).toEqual([]);
  });

  it('fact.packed.write-flag: WRITE says whether anything was written; without it the length is 0 (1.13)', () => {
    for (const [written, flags] of [
      [0, 0],
      [1, WRITE],
      [4, WRITE],
    ] as const) {
      const side = attackPacked();
      const { place, queue, chain } = side;
      // In either lap, and whatever stood in the slot before.
      for (const state of [0x8080, 0]) {
        for (let turn = 0; turn < (indirect ? 8 : 4); turn += 1) {
          offer(side, turn, indirect);
          const { slot } = side.guest.next.ahead(side.place.size - (indirect ? 1 : 2));
          must(queue.pop(chain) === Popped.CHAIN, `the device finds ${queue.fault}`);
          queue.push(chain, written);
          queue.publish();
          expect(place.slot(slot)).toMatchObject({ id: turn, len: written, flags: state | flags });
        }
      }
    }
  });
});

describe('taking lists', () => {
  it('packed.dev.order.start-in-ring-order: in ring order, and none behind a slot that is not available', () => {
    const side = attackPacked({ size: 5 });
    const { guest, queue, chain } = side;
    const seen: number[] = [];
    const drain = (): void => {
      while (queue.pop(chain) === Popped.CHAIN) {
        seen.push(chain.id);
        queue.push(chain, 0);
      }
    };
    for (let lap = 0; lap < 4; lap += 1) {
      const flags = guest.next.available;
      // From the last to the first; the ring is full before the first is there.
      for (const slot of [4, 3, 2, 1]) guest.slot(slot, { id: slot, flags });
      drain();
      expect(seen).toEqual([]);
      guest.slot(0, { id: 0, flags });
      drain();
      expect(seen.splice(0)).toEqual([0, 1, 2, 3, 4]);
      guest.next.advance(5);
      queue.publish();
    }
  });

  it('packed.dev.desc.use-only-available: one is available by its AVAIL and USED bits alone', () => {
    for (const lap of [0, 1, 2]) {
      for (const flags of [0x0000, 0x0080, 0x8000, 0x8080]) {
        const side = attackPacked({ size: 3 });
        const { guest, queue, chain } = side;
        for (let turn = 0; turn < 3 * lap; turn += 1) {
          guest.place({ id: turn });
          must(queue.pop(chain) === Popped.CHAIN, 'a chain is missing');
          queue.push(chain, 0);
          queue.publish();
        }
        guest.slot(0, { address: 0x4000_8000n, length: 4, id: 1, flags });
        const expected = flags === guest.next.available;
        expect([queue.ready(), queue.pop(chain)]).toEqual([
          expected,
          expected ? Popped.CHAIN : Popped.EMPTY,
        ]);
        guest.flags(0, guest.next.available);
        if (!expected) expect(queue.pop(chain)).toBe(Popped.CHAIN);
      }
    }
  });

  it('packed.drv.supply.batch-slots: what becomes available with one flag is taken whole', () => {
    const side = attackPacked();
    const { guest, queue, chain } = side;
    // A list of two, a single one and a list of three, of which the first slot is filled last.
    const lists = [2, 1, 3];
    offerEmpty(side, lists);
    guest.flags(0, NEXT);
    expect(queue.pop(chain)).toBe(Popped.EMPTY);
    guest.flags(0, NEXT | 0x0080);
    const taken = popAll(side, 3);
    expect(taken.map(({ id, slots }) => [id, slots])).toEqual([...lists.entries()]);
    expect(queue.pop(chain)).toBe(Popped.EMPTY);
  });

  it('fact.packed.id-last: the id in the last descriptor is the one that comes back', () => {
    for (const ids of [
      [1, 2, 3],
      [3, 2, 1],
      [0xffff, 0, 0x8000],
    ]) {
      const { guest, queue, chain, place } = attackPacked();
      guest.place(...ids.map((id, turn) => ({ id, flags: turn < 2 ? NEXT : 0 })));
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      queue.push(chain, 0);
      queue.publish();
      expect(place.slot(0).id).toBe(ids[2]);
    }
  });

  it('(10.12) an id that is in flight already is given back as often as it came', () => {
    const side = attackPacked();
    const { guest, queue, place } = side;
    guest.place({ id: 9 });
    guest.place({ id: 9 });
    for (const chain of popAll(side, 2)) queue.push(chain, 0);
    queue.publish();
    expect([place.slot(0).id, place.slot(1).id]).toEqual([9, 9]);
  });
});

describe('giving lists back', () => {
  it('packed.dev.order.write-used-in-completion-order: each at the slot behind what was completed before', () => {
    const side = attackPacked({ size: 7 });
    const { guest, queue, place } = side;
    const random = new Random(3);
    const lengths = [2, 1, 3];
    const used = new Lap(7);
    for (let round = 0; round < 60; round += 1) {
      offerEmpty(side, lengths);
      for (const chain of random.shuffle(popAll(side, 3))) {
        const others = place.slots().toSpliced(used.slot, 1);
        queue.push(chain, chain.id);
        queue.publish();
        const flags = used.used | (chain.id > 0 ? WRITE : 0);
        expect(place.slot(used.slot)).toMatchObject({ id: chain.id, len: chain.id, flags });
        expect(place.slots().toSpliced(used.slot, 1)).toEqual(others);
        used.advance(lengths[chain.id] ?? 0);
      }
      expect(guest.next.word).toBe(used.word);
    }
  });

  it('packed.dev.order.reorder-writes: until they are published, the first one hides the others', () => {
    const side = attackPacked();
    const { queue, place } = side;
    offerEmpty(side, [2, 1, 1]);
    for (const chain of popAll(side, 3)) queue.push(chain, 1);
    const states = () => [0, 2, 3].map((slot) => place.slot(slot).flags & 0x8080);
    expect(states()).toEqual([0x0080, 0x8080, 0x8080]);
    queue.publish();
    expect(states()).toEqual([0x8080, 0x8080, 0x8080]);
  });

  it('packed.dev.desc.no-change-after-used: a used slot stays as it is while others go round', () => {
    const side = attackPacked({ size: 6 });
    const { guest, queue, place, memory } = side;
    for (let round = 0; round < 24; round += 1) {
      offerEmpty(side, [1]);
      for (const chain of popAll(side, 1)) queue.push(chain, 1);
      queue.publish();
      const slot = (guest.next.slot + 5) % 6;
      const before = place.slot(slot);
      memory.trace = [];
      // The rest of a lap, one by one and as lists, and some wishes about notifications.
      offerEmpty(side, [2, 1, 2]);
      for (const chain of popAll(side, 3)) queue.push(chain, 3);
      queue.armNotification();
      queue.publish();
      queue.suppressNotification();
      expect(place.slot(slot)).toEqual(before);
      const from = place.ring + 16 * slot;
      const touched = memory.trace.filter(
        ({ kind, position }) => kind === 'write' && position >= from && position < from + 16,
      );
      expect(touched).toEqual([]);
    }
  });
});

describe('in order', () => {
  const features = { inOrder: true };

  it('a batch has one descriptor: in the slot of its first list, with id, length and WRITE of its last', () => {
    for (let start = 0; start < 14; start += 1) {
      const side = attackPacked({ size: 7, features, batchUsed: true });
      const { queue, place } = side;
      const used = new Lap(7);
      for (let turn = 0; turn < start; turn += 1) {
        offerEmpty(side, [1]);
        for (const chain of popAll(side, 1)) queue.push(chain, 0);
        queue.publish();
        used.advance(1);
      }
      // Two batches, of which one goes over the end of the ring wherever it begins.
      for (const [lengths, written] of [
        [[2, 1, 3], 9],
        [[1, 1], 0],
      ] as const) {
        offerEmpty(side, lengths);
        const before = place.slots();
        const last = lengths.length - 1;
        for (const chain of popAll(side, lengths.length))
          queue.push(chain, chain.id === last ? written : 1);
        expect(place.slots().map(({ flags }) => flags)).toEqual(before.map(({ flags }) => flags));
        queue.publish();
        const flags = used.used | (written > 0 ? WRITE : 0);
        expect(place.slot(used.slot)).toMatchObject({ id: last, len: written, flags });
        expect(place.slots().toSpliced(used.slot, 1)).toEqual(before.toSpliced(used.slot, 1));
        used.advance(lengths.reduce((sum, length) => sum + length, 0));
      }
    }
  });

  it('a device that batches nothing has a descriptor for each list', () => {
    const side = attackPacked({ features });
    const { queue, place } = side;
    offerEmpty(side, [2, 1]);
    for (const chain of popAll(side, 2)) queue.push(chain, 5 + chain.id);
    queue.publish();
    expect(place.slot(0)).toMatchObject({ id: 0, len: 5 });
    expect(place.slot(2)).toMatchObject({ id: 1, len: 6 });
  });

  it('without the feature nothing is batched, whatever the option says', () => {
    const side = attackPacked({ batchUsed: true });
    const { queue, place } = side;
    offerEmpty(side, [1, 1]);
    for (const chain of popAll(side, 2)) queue.push(chain, 5 + chain.id);
    queue.publish();
    expect([place.slot(0).len, place.slot(1).len]).toEqual([5, 6]);
  });
});
