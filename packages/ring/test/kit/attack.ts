/** A device's queue under attack: the guest's half of a split ring is there to be written by the test. */

import { DescriptorFlag } from '@viommu/common';
import { Chain, Popped, SplitDeviceQueue } from '@viommu/ring';
import { expect } from 'vitest';
import { Arena, type ArenaOptions } from './arena.ts';
import { type AnyDescriptor, GuestRingWriter } from './guest-ring-writer.ts';
import { withTwins } from './serve-twin.ts';
import { SplitPlace } from './split-place.ts';
import { WatchedMemory } from './watched-memory.ts';

export interface Attack extends ArenaOptions {
  readonly size?: number;
  readonly indirect?: boolean;
}

/** A device's queue, and a guest that may write what it likes. What is popped is served as well, on a copy. */
export function attack({ size = 8, indirect = true, ...arenaOptions }: Attack = {}) {
  const arena = new Arena(arenaOptions);
  const place = new SplitPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const options = { layout: place.layout, features: { indirect, eventIndex: true } };
  const queue = new SplitDeviceQueue({ memory, ...options });
  withTwins(
    queue,
    arena,
    (copy, state) => new SplitDeviceQueue({ memory: copy, ...options, ...(state && { state }) }),
  );
  const guest = new GuestRingWriter(arena.view, place);
  return { arena, place, memory, queue, guest, chain: new Chain(memory, size) };
}

export type Attacked = ReturnType<typeof attack>;

/** The queue is broken with this sentence, says so again and again, and leaves the used ring alone. */
export function expectBroken(
  { queue, chain, memory, place, guest }: Attacked,
  fault: RegExp,
): void {
  const used = place.usedIndex();
  expect(queue.pop(chain)).toBe(Popped.BROKEN);
  expect(queue.fault).toMatch(fault);
  const sentence = queue.fault;
  // Neither time nor a repaired ring nor a further fault changes that.
  for (const index of [guest.nextIndex, guest.nextIndex + 1, guest.nextIndex + 1000]) {
    guest.index(index & 0xffff);
    guest.descriptor(0, {});
    expect(queue.pop(chain)).toBe(Popped.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    queue.suppressNotification();
    expect(queue.fault).toBe(sentence);
  }
  expect(queue.publish()).toBe(false);
  expect(place.usedIndex()).toBe(used);
  // The walk was bounded: 4 reads for each of at most `size` + 1 descriptors, and a few more.
  expect(memory.count).toBeLessThan(4 * (place.size + 1) + 24);
}

/** An attack with one chain of these descriptors, by index; the first named is the head. */
export function attackWith(
  descriptors: Record<number, AnyDescriptor>,
  head: number,
  options?: Attack,
) {
  const attacked = attack(options);
  for (const [index, descriptor] of Object.entries(descriptors))
    attacked.guest.descriptor(Number(index), descriptor);
  attacked.guest.offer(head);
  return attacked;
}

/** The address of some memory that no ring uses, at position {@link HERE_AT}. */
export const HERE = 0x4000_8000n;
export const HERE_AT = 0x8000;

/** A readable buffer there, with or without a next one. */
export const readable = (next?: number): AnyDescriptor => ({
  address: HERE,
  length: 4,
  flags: next === undefined ? 0 : DescriptorFlag.NEXT,
  next: next ?? 0,
});
