/** A device's queue under attack: the guest's half of a packed ring is there to be written by the test. */

import { Chain, PackedDeviceQueue, Popped, type QueueFeatures } from '@viommu/ring';
import { expect } from 'vitest';
import { Arena, type ArenaOptions } from './arena.ts';
import { HERE } from './attack.ts';
import { type AnyPackedDescriptor, PackedGuestWriter } from './packed-guest-writer.ts';
import { PackedPlace } from './packed-place.ts';
import { withTwins } from './serve-twin.ts';
import { WatchedMemory } from './watched-memory.ts';

export interface PackedAttack extends ArenaOptions {
  readonly size?: number;
  readonly features?: Partial<QueueFeatures>;
  readonly batchUsed?: boolean;
}

/** A device's queue, and a guest that may write what it likes. What is popped is served as well, on a copy. */
export function attackPacked(options: PackedAttack = {}) {
  const { size = 8, features: some = {}, batchUsed = false, ...arenaOptions } = options;
  const arena = new Arena(arenaOptions);
  const place = new PackedPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const features = { indirect: true, eventIndex: true, ...some };
  const device = { layout: place.layout, features, batchUsed };
  const queue = new PackedDeviceQueue({ memory, ...device });
  withTwins(
    queue,
    arena,
    (copy, state) => new PackedDeviceQueue({ memory: copy, ...device, ...(state && { state }) }),
  );
  const guest = new PackedGuestWriter(arena.view, place);
  return { arena, place, memory, queue, guest, chain: new Chain(memory, size) };
}

export type PackedAttacked = ReturnType<typeof attackPacked>;

/** As {@link attackPacked}, with these descriptors available in the first slots. */
export function attackWithSlots(
  descriptors: readonly AnyPackedDescriptor[],
  options?: PackedAttack,
): PackedAttacked {
  const attacked = attackPacked(options);
  attacked.guest.place(...descriptors);
  return attacked;
}

/** The queue is broken with this sentence, says so again and again, and writes no slot. */
export function expectBroken(attacked: PackedAttacked, fault: RegExp): void {
  const { arena, queue, chain, memory, place, guest } = attacked;
  const slots = place.slots();
  const before = memory.count;
  expect(queue.pop(chain)).toBe(Popped.BROKEN);
  expect(queue.fault).toMatch(fault);
  // The walk was bounded: 6 reads for each of at most `size` + 1 descriptors.
  expect(memory.count - before).toBeLessThanOrEqual(6 * (place.size + 1));
  expect(place.slots()).toEqual(slots);
  const sentence = queue.fault;
  // Neither time nor a repaired ring nor a further fault changes that.
  const repairs = [
    () => guest.place({ address: HERE, length: 4 }),
    () => arena.bytes.fill(0, place.ring, place.end),
    () => arena.bytes.fill(0xff, place.ring, place.end),
  ];
  for (const repair of repairs) {
    repair();
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    queue.suppressNotification();
    expect(queue.publish()).toBe(false);
    expect(queue.fault).toBe(sentence);
  }
}

/** A readable buffer in memory that no ring uses, with these flags. */
export const packedReadable = (flags = 0): AnyPackedDescriptor => ({
  address: HERE,
  length: 4,
  flags,
});
