/**
 * Indirect tables that a hostile guest can write into a packed ring, and what the device's side makes of them. The
 * numbers of the cases are explained in `../split/hostile-chain.test.ts`.
 */

import { DescriptorFlag } from '@viommu/common';
import { Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { HERE, HERE_AT } from '../kit/attack.ts';
import {
  type PackedAttack,
  attackPacked,
  attackWithSlots,
  expectBroken,
  packedReadable,
} from '../kit/packed-attack.ts';
import { type AnyPackedDescriptor, tableOf } from '../kit/packed-guest-writer.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

/** A table at {@link HERE} with these entries, and a descriptor for it available in slot 0. */
function table(
  entries: readonly AnyPackedDescriptor[],
  descriptor: AnyPackedDescriptor = {},
  options?: PackedAttack,
) {
  const attacked = attackPacked(options);
  for (const [index, entry] of entries.entries()) attacked.guest.entry(HERE_AT, index, entry);
  attacked.guest.place({ ...tableOf(3, HERE, entries.length), ...descriptor });
  return attacked;
}

/** Entries that describe 20 bytes to read and 4 to write, with more flags. */
const entriesWith = (flags: number): AnyPackedDescriptor[] => [
  { address: HERE + 0x1000n, length: 20, flags },
  { address: HERE + 0x2000n, length: 4, flags: WRITE | flags },
];

describe('tables and other descriptors', () => {
  it('R-01 (10.5) a table descriptor with NEXT, at the end of the ring or not', () => {
    for (const size of [1, 8])
      expectBroken(
        table([packedReadable()], { flags: INDIRECT | NEXT }, { size }),
        /in a list with other descriptors/,
      );
  });

  it('R-01 a table descriptor with NEXT, and slots behind it that would do', () => {
    const attacked = attackWithSlots([
      { ...tableOf(0, HERE, 1), flags: INDIRECT | NEXT },
      packedReadable(),
    ]);
    expectBroken(attacked, /in a list with other descriptors/);
  });

  it('R-18 (10.10) one, two or three plain descriptors and then a table: not legal in packed rings', () => {
    for (let plain = 1; plain <= 3; plain += 1) {
      const slots = Array.from({ length: plain }, () => packedReadable(NEXT));
      const attacked = attackWithSlots([...slots, tableOf(0, HERE, 1)]);
      attacked.guest.entry(HERE_AT, 0, packedReadable());
      expectBroken(attacked, /in a list with other descriptors/);
    }
  });

  it('R-19 (10.5) a table while the feature is off', () => {
    const features = { indirect: false };
    expectBroken(table([packedReadable()], {}, { features }), /without the feature/);
  });

  it('R-19 a table behind a descriptor while the feature is off', () => {
    const features = { indirect: false };
    const attacked = attackWithSlots([packedReadable(NEXT), tableOf(0, HERE, 1)], { features });
    expectBroken(attacked, /without the feature/);
  });
});

describe('flags in tables', () => {
  it('fact.packed.indirect-flags: none has a meaning but WRITE; ids have none either', () => {
    for (const flags of [NEXT, 0x0080, 0x8000, 0x8080, NEXT | 0x8080, 0x7f78]) {
      const entries = entriesWith(flags).map((entry, index) => ({ ...entry, id: 0xfff0 + index }));
      const { queue, chain } = table(entries, { id: 0x4321 });
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      const { id, slots, readableBytes, writableBytes } = chain;
      expect([id, slots, readableBytes, writableBytes]).toEqual([0x4321, 1, 20, 4]);
    }
  });

  it('fact.packed.indirect-flags: the table ends with its length, NEXT in the last entry or not', () => {
    const attacked = table(entriesWith(NEXT));
    const { queue, chain, guest } = attacked;
    // What lies behind the table must not be looked at.
    guest.entry(HERE_AT, 2, { address: HERE, length: 100, flags: WRITE });
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.readableBytes, chain.writableBytes]).toEqual([20, 4]);
  });

  it('WRITE in the descriptor of a table says nothing', () => {
    const { queue, chain } = table(entriesWith(0), { flags: INDIRECT | WRITE });
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.readableBytes, chain.writableBytes]).toEqual([20, 4]);
  });
});

describe('tables in tables', () => {
  it('R-06 (10.5) a table inside a table, as any entry', () => {
    const inner = { address: HERE + 0x100n, length: 16, flags: INDIRECT };
    for (let index = 0; index < 4; index += 1) {
      const entries = Array.from({ length: 4 }, () => packedReadable());
      expectBroken(table(entries.with(index, inner)), /inside another/);
      const withMore = { ...inner, flags: INDIRECT | NEXT | WRITE };
      expectBroken(table(entries.with(index, withMore)), /inside another/);
    }
  });

  it('R-06 a table that is its own entry', () => {
    expectBroken(table([{ address: HERE, length: 16, flags: INDIRECT }]), /inside another/);
  });

  it('R-06 the ring as the table of one of its descriptors', () => {
    const attacked = attackPacked();
    const { arena, guest, place } = attacked;
    guest.place(tableOf(0, arena.address(place.ring), 8));
    expectBroken(attacked, /inside another/);
  });

  it('R-06 slots of the ring as a table, other than the one that points to it, are what they are', () => {
    const { arena, guest, place, queue, chain } = attackPacked();
    const [first, second] = entriesWith(0);
    guest.slot(4, first ?? {});
    guest.slot(5, second ?? {});
    guest.place(tableOf(9, arena.address(place.ring + 64), 2));
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.id, chain.readableBytes, chain.writableBytes]).toEqual([9, 20, 4]);
    queue.push(chain, 4);
    queue.publish();
    expect(queue.pop(chain)).toBe(Popped.EMPTY);
  });
});

describe('lengths and places of tables', () => {
  it.each([0, 1, 8, 15, 17, 24, 0xffff_ffff])('R-07 (10.5) a table of %i bytes', (length) => {
    expectBroken(table([packedReadable()], { length }), /whole number of descriptors/);
  });

  it.each([1, 2, 5, 8])('R-07 a table may have as many entries as a queue of %i slots', (size) => {
    for (const count of [size, size + 1]) {
      const attacked = table(
        Array.from({ length: count }, () => packedReadable()),
        {},
        { size },
      );
      if (count > size) expectBroken(attacked, /longer than the queue/);
      else expect(attacked.queue.pop(attacked.chain)).toBe(Popped.CHAIN);
    }
  });

  it('R-07 a table of 65,536 entries, and of 2^28 - 1', () => {
    for (const length of [65_536 * 16, 0xffff_fff0]) {
      const attacked = table([packedReadable()], { length }, { sizeBytes: 0x20_0000 });
      expectBroken(attacked, /longer than the queue|outside memory/);
      // It is refused by its length, and not after a walk through it.
      expect(attacked.memory.count).toBeLessThan(20);
    }
  });

  it('R-07 a table that is refused leaves no part of it to the next chain', () => {
    const entries = [packedReadable(), packedReadable(WRITE), packedReadable()];
    const attacked = table(entries);
    expectBroken(attacked, /behind a writable one/);
  });

  it.each([1, 2, 3, 7, 15])('R-08 a table %i bytes off its alignment is legal', (shift) => {
    const { queue, chain, guest } = attackPacked();
    guest.offerTable(5, HERE_AT + shift, HERE + BigInt(shift), [
      { address: HERE + 0x1001n, length: 20 },
      { address: HERE + 0x2003n, length: 4, writable: true },
    ]);
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.id, chain.readableBytes, chain.writableBytes]).toEqual([5, 20, 4]);
  });
});
