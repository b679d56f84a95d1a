/**
 * Indirect tables that a hostile guest can write, and what the device's side makes of them. The numbers of the cases
 * are explained in `hostile-chain.test.ts`.
 */

import { DescriptorFlag } from '@viommu/common';
import { Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { type Attack, HERE, HERE_AT, attack, expectBroken, readable } from '../kit/attack.ts';
import type { AnyDescriptor } from '../kit/guest-ring-writer.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

describe('indirect tables', () => {
  /** One table descriptor at index 0, with these entries in memory. */
  function table(entries: readonly AnyDescriptor[], descriptor: AnyDescriptor, options?: Attack) {
    const attacked = attack(options);
    for (const [index, entry] of entries.entries())
      attacked.guest.tableDescriptor(HERE_AT, index, entry);
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
    guest.tableDescriptor(HERE_AT, 0, readable(last));
    guest.tableDescriptor(HERE_AT, last, { address: HERE, length: 9, flags: WRITE });
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
      guest.tableDescriptor(HERE_AT, index, readable((index + 1) & 0xffff));
    guest.indirect(0, HERE, 65_536);
    guest.offer(0);
    expectBroken(attacked, /longer than the queue/);
  });

  it.each([1, 2, 3, 7, 15])('R-08 a table %i bytes off its alignment is legal', (shift) => {
    const { queue, chain, guest } = attack();
    guest.table(HERE_AT + shift, [
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
