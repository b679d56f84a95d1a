/** Fuzzes the driver's side of queues, in front of a plain device: lawful, or one that writes what it may not. */

import {
  AvailableRing,
  EventSuppression,
  PackedDescriptor,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
} from '@viommu/common';
import type { Fuzzer } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { DriverWorld } from './driver-world.ts';
import { deviation } from './setting.ts';

const LIVES = 24;
const STEPS = 70;

export const ringDriver: Fuzzer = {
  name: 'ring-driver',
  about: "the driver's side of queues: in front of a plain device, lawful or hostile",
  smokeSeeds: 450,
  run(random, journal) {
    for (let lives = 1 + random.number(LIVES); lives > 0; lives -= 1) {
      const hostile = random.once(2);
      const world = new DriverWorld(random, !hostile, journal);
      const { packed, size } = world.setting;
      journal.note(
        () =>
          `${packed ? 'packed' : 'split'} queue of ${size}, ${hostile ? 'hostile' : 'lawful'} device`,
      );
      for (let left = random.number(STEPS); left > 0; left -= 1) {
        step(world, random);
        if (hostile && random.once(6)) harm(world, random);
        if (world.book.broken) broken(world, random);
      }
      if (!hostile) finish(world);
      world.setting.memory.checkGuards();
      journal.requests += world.chains;
    }
  },
};

function step(world: DriverWorld, random: Random): void {
  switch (random.number(16)) {
    case 0:
    case 1:
    case 2:
      return world.add();
    case 3:
    case 4:
      return world.publish();
    case 5:
    case 6:
      return world.take();
    case 7:
    case 8:
      return world.complete();
    case 9:
    case 10:
      return world.show();
    case 11:
      return random.once(2) ? world.arm() : world.suppress();
    case 12:
      return wish(world, random);
    case 13:
      return world.look();
    case 14:
      return fill(world, random);
    default:
      // What a queue remembers of lists shows only if it lives for long.
      if (world.lists.steady && !random.once(12)) return cycle(world, random);
      return random.once(6) ? world.reset() : world.restore();
  }
}

/** One chain all the way. */
function cycle(world: DriverWorld, random: Random): void {
  for (let left = 1 + random.number(6); left > 0; left -= 1) {
    world.add();
    world.publish();
    world.complete();
    world.show();
    world.take();
  }
}

/** As many chains as there is room for. */
function fill(world: DriverWorld, random: Random): void {
  for (let left = Math.min(world.setting.size, 8) + 1; left > 0; left -= 1) world.add();
  if (random.once(2)) world.publish();
}

/** The device says whether it wants to be notified, mostly as it may. */
function wish({ device, setting }: DriverWorld, random: Random): void {
  const kind = random.number(4);
  const [at] = device.wish;
  const { memory, packed, features, size } = setting;
  if (kind === 0) device.arm();
  else if (kind === 1) device.suppress();
  else if (packed) {
    const slot = ((device.position & 0x7fff) + random.number(6)) % size;
    memory.raw.setUint16(at, slot | (random.number(2) << 15), true);
    memory.raw.setUint16(
      at + EventSuppression.offset.flags,
      kind === 2 ? random.number(features.eventIndex ? 3 : 2) : random.number(0x1_0000),
      true,
    );
  } else if (features.eventIndex)
    memory.raw.setUint16(at, device.position + random.number(6) - 1, true);
  else memory.raw.setUint16(at, kind === 2 ? random.number(2) : random.number(0x1_0000), true);
}

/** The device writes something that it may not, mostly where the driver looks next. */
function harm(world: DriverWorld, random: Random): void {
  if (random.once(2)) forge(world, random);
  else scribble(world, random);
  if (random.once(2)) world.take();
}

/** A used entry that names any id, and is shown. */
function forge({ setting, book, pending }: DriverWorld, random: Random): void {
  const { memory, place, packed, size } = setting;
  const view = memory.raw;
  const ids = [...book.inFlight.keys()];
  const slotAt = (slot: number): number => place.table + PackedDescriptor.size * slot;
  const entryAt = (slot: number): number =>
    place.driver + AvailableRing.size + RING_ENTRY_SIZE * slot;
  const held = packed
    ? view.getUint16(slotAt((book.next + book.slots) % size) + PackedDescriptor.offset.id, true)
    : view.getUint16(entryAt((book.next + book.inFlight.size) % size), true);
  const id = random.pick([held, size, random.number(size), random.pick([0, ...ids])]);
  if (!packed) {
    const at = place.device + UsedRing.size + UsedElement.size * (book.next % size);
    view.setUint32(at, random.once(8) ? id + 0x1_0000 : id, true);
    view.setUint32(at + UsedElement.offset.len, random.next(), true);
    const steps = random.pick([1, 1, 1, book.inFlight.size + 1, book.inFlight.size + pending]);
    view.setUint16(place.device + UsedRing.offset.idx, book.next + steps, true);
    return;
  }
  const at = slotAt(book.next);
  const bits = book.wrap ? 0x8080 : 0;
  // Before the first list is shown its slot must stay as it is, but for the flags.
  if (ids.length > 0) {
    view.setUint16(at + PackedDescriptor.offset.id, id, true);
    view.setUint32(at + PackedDescriptor.offset.len, random.next(), true);
  }
  view.setUint16(at + PackedDescriptor.offset.flags, bits | (random.once(3) ? 0 : 2), true);
}

/** Any byte, index or id. */
function scribble({ setting, book, device, pending }: DriverWorld, random: Random): void {
  const { memory, place, packed, size, bytes } = setting;
  const view = memory.raw;
  const slots = book.slots;
  if (!packed) {
    const slot = random.once(3) ? random.number(size) : book.next % size;
    const at = place.device + UsedRing.size + UsedElement.size * slot;
    switch (random.number(3)) {
      case 0:
        return view.setUint32(at, random.number(size + 2), true);
      case 1:
        return view.setUint16(
          place.device + UsedRing.offset.idx,
          book.next + random.number(size + 3) - 1,
          true,
        );
      default:
        return view.setUint8(place.device + random.number(bytes.device), random.number(256));
    }
  }
  // In slots of lists that are in flight: a driver writes all others before it shows them.
  if (pending > 0 || slots === 0) return;
  const slot = random.once(3) ? (book.next + random.number(slots)) % size : book.next;
  const at = place.table + PackedDescriptor.size * slot;
  if (random.once(3)) return view.setUint8(device.wish[0] + random.number(4), random.number(256));
  view.setUint8(at + random.number(PackedDescriptor.size), random.number(256));
}

/** What is broken stays so until it is reset. */
function broken(world: DriverWorld, random: Random): void {
  for (let left = random.number(4); left > 0; left -= 1) {
    world.take();
    world.look();
    if (random.once(3)) world.arm();
    if (random.once(3)) world.restore();
  }
  world.reset();
}

/** Everything comes back, exactly once. */
function finish(world: DriverWorld): void {
  world.publish();
  while (world.inDevice.length > 0) world.complete();
  world.show();
  for (let left = world.book.inFlight.size; left >= 0; left -= 1) world.take();
  if (world.book.inFlight.size > 0 || world.book.broken)
    throw deviation(
      'driver: chains do not come back',
      world.setting,
      `${world.book.inFlight.size}`,
    );
}
