/** What a device can do to a driver, and what the driver has to make of it. */

import {
  DescriptorFlag,
  DeviceStatus,
  EventSuppression,
  FaultRecord,
  InterruptBit,
  IommuQueue,
  MmioRegister,
  PackedDescriptor,
  UsedElement,
  UsedRing,
  VirtioFeature,
} from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import type { DeviceRing } from '../../driver/device-ring.ts';
import { locate } from '../../ring/bytes.ts';
import type { Random } from '../random.ts';
import type { Opponent } from './opponent.ts';
import { type Forged, type Seen, UNCLEAR } from './seen-request.ts';
import type { World } from './world.ts';

/** What a driver has to make of an attack that has struck. */
export const Effect = {
  /** Nothing at all. */
  NONE: 'nothing',
  /** It may give up; whatever succeeds has really been done. */
  DOUBT: 'doubt',
  /** It gives the device up as soon as it waits. */
  BREAKS: 'breaks',
  /** It gives the device up when its time is over. */
  TIMES_OUT: 'times out',
} as const;

export type Effect = (typeof Effect)[keyof typeof Effect];

export interface Attack {
  readonly name: string;
  /** Arms it. */
  begin(struck: (effect: Effect) => void): void;
  /** With each turn of the device. */
  turn?(): void;
  /** True once the event queue is damaged. */
  breaksEvents?(): boolean;
}

const WORDS = [0, 1, 2, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x80, 0x8080, 0xfffe];
const LONG_WORDS = [0, 1, 0xff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const RECORD_BYTES = FaultRecord.size;
/** More often would only be more of the same. */
const STRIKES_MAX = 3;

/** One of all attacks that make sense on this device. */
export function randomAttack(world: World): Attack {
  const { random } = world;
  return random.pick(KINDS)(world, random);
}

type Maker = (world: World, random: Random) => Attack;

/** Answers that no device may give. */
const FORGERIES: readonly Maker[] = [
  // Ids outside the ring.
  (world, random) =>
    forging('an id outside the ring', world, (ring, request) => {
      const { size } = ring.layout;
      const wide = world.opponent.has(VirtioFeature.RING_PACKED)
        ? [0xffff, 0x8000 | request.chain.id]
        : [0xffff, 0x1_0000 + request.chain.id, 0x8000_0000 + request.chain.id, 0xffff_ffff];
      ring.give(
        request.chain,
        request.length,
        random.pick([size, size + 1, ...wide].filter((id) => id >= size)),
      );
      return ['instead', Effect.BREAKS];
    }),
  // Ids of nobody.
  (world, random) =>
    forging('an id that is not in flight', world, (ring, request) => {
      const { size } = ring.layout;
      const mine = new Set([...world.opponent.ids, request.chain.id]);
      const free = Array.from({ length: size }, (_, id) => id).filter((id) => !mine.has(id));
      if (free.length === 0) return ['no', Effect.NONE];
      // Those that come next are the most tempting: the driver may have added them already.
      const near = free.filter((id) =>
        [1, 2, 3, 4].some((back) => mine.has((id + size - back) % size)),
      );
      const ids = near.length > 0 && !random.once(3) ? near : free;
      ring.give(request.chain, request.length, random.pick(ids));
      return ['instead', certain(world)];
    }),
  // A length that the device does not say it wrote.
  (world) =>
    forging('a length without WRITE', world, (ring, request) => {
      if (!world.opponent.has(VirtioFeature.RING_PACKED)) return ['no', Effect.NONE];
      const place = world.opponent.usedPosition;
      ring.give(request.chain, request.length);
      const at = place + PackedDescriptor.offset.flags;
      world.ram.setUint16(at, world.ram.getUint16(at) & ~DescriptorFlag.WRITE);
      // Then nothing was written.
      request.status = UNCLEAR;
      world.opponent.tails.forget(request);
      return ['also', Effect.NONE];
    }),
  // The right id twice.
  (world) =>
    forging('an id twice', world, (ring, request) => {
      ring.give(request.chain, request.length);
      ring.give(request.chain, request.length);
      // A small packed ring would be full, and more would overwrite it.
      if (world.opponent.has(VirtioFeature.RING_PACKED)) world.opponent.silent = true;
      return ['also', world.opponent.inHand > 0 ? certain(world) : Effect.DOUBT];
    }),
  // The id of another one, which is not answered yet.
  (world, random) =>
    forging('the id of another', world, (ring, request) => {
      const others = world.opponent.ids.filter((id) => id !== request.chain.id);
      if (others.length === 0) return ['no', Effect.NONE];
      ring.give(request.chain, request.length, random.pick(others));
      // In order it names a batch, which a split ring says the end of.
      const ends =
        world.opponent.has(VirtioFeature.IN_ORDER) &&
        !world.opponent.has(VirtioFeature.RING_PACKED);
      if (ends) world.opponent.silent = true;
      return ['instead', ends ? Effect.BREAKS : Effect.DOUBT];
    }),
  // Used indices, or used descriptors, that nobody wrote.
  (world, random) => ({
    name: 'an index that jumps',
    begin: (struck) => {
      let left = 1;
      world.opponent.forge = (ring) => {
        if (left === 0) return 'no';
        left -= 1;
        struck(jump(world, random, ring));
        return 'instead';
      };
    },
  }),
];

const OTHERS: readonly Maker[] = [
  // Bytes anywhere in what the device can write of the rings.
  (world, random) => ({
    name: 'bytes in the ring',
    begin: (struck) => {
      struck(Effect.DOUBT);
    },
    turn: () => {
      if (random.once(3))
        scribble(
          world,
          random,
          random.pick([IommuQueue.REQUEST, IommuQueue.REQUEST, IommuQueue.EVENT]),
        );
    },
  }),
  // What the device wants to hear of changes all the time, and it interrupts whenever it likes.
  (world, random) => ({
    name: 'suppression that makes no sense',
    begin: (struck) => struck(Effect.NONE),
    turn: () => {
      disturb(world, random);
      if (random.once(2)) world.opponent.interrupt(random.pick([1, 1, 3, 0xff]));
    },
  }),
  (world) => ({
    name: 'silence',
    begin: (struck) => {
      world.opponent.silent = true;
      struck(Effect.TIMES_OUT);
    },
  }),
  (world) => ({
    name: 'a reset that is needed',
    begin: (struck) => {
      world.opponent.silent = true;
      world.opponent.registers.status |= DeviceStatus.DEVICE_NEEDS_RESET;
      world.opponent.interrupt(InterruptBit.CONFIG_CHANGE);
      struck(Effect.BREAKS);
    },
  }),
  // Registers that change.
  (world, random) => ({
    name: 'registers that change',
    begin: (struck) => {
      const once = random.pick([2, 4, 20]);
      world.opponent.registers.bend = (offset, value) =>
        FIXED.has(offset) || !random.once(once) ? value : random.pick(LONG_WORDS);
      struck(Effect.DOUBT);
    },
  }),
  // Events that are none.
  (world, random) => {
    let struck = false;
    return {
      name: 'an event of nobody',
      begin: (strike) => strike(Effect.NONE),
      turn: () => {
        const { opponent } = world;
        const ring = opponent.eventRing;
        const chain = ring?.take();
        if (ring === undefined || chain === undefined) return;
        const { size } = ring.layout;
        ring.give(chain, RECORD_BYTES, random.pick([size, 0xffff]));
        struck = true;
        opponent.interrupt();
      },
      breaksEvents: () => struck,
    };
  },
];

/** What is most likely to be believed comes most often. */
const KINDS: readonly Maker[] = [...FORGERIES, ...FORGERIES, ...OTHERS];

/** What a driver cannot go on without, and takes for granted once it has read it. */
const FIXED: ReadonlySet<number> = new Set([
  MmioRegister.MagicValue,
  MmioRegister.Version,
  MmioRegister.DeviceID,
]);

/** An id of nobody may be somebody's by the time that a driver looks, if it goes on meanwhile. */
function certain({ memory, patient }: World): Effect {
  return !memory.races && !patient ? Effect.BREAKS : Effect.DOUBT;
}

/** An attack in place of giving a request back, now and then. */
function forging(
  name: string,
  world: World,
  strike: (ring: DeviceRing, request: Seen) => readonly [Forged, Effect],
): Attack {
  return {
    name,
    begin: (struck) => {
      let left = STRIKES_MAX;
      world.opponent.forge = (ring, request) => {
        if (left === 0 || !world.random.once(3)) return 'no';
        const [forged, effect] = strike(ring, request);
        if (forged === 'no') return 'no';
        left -= 1;
        struck(effect);
        return forged;
      };
    },
  };
}

/** The device claims to have used chains that it did not. */
function jump(world: World, random: Random, ring: DeviceRing): Effect {
  const { ram, opponent } = world;
  const { size, deviceArea, descriptorArea } = ring.layout;
  world.wild = true;
  if (opponent.has(VirtioFeature.RING_PACKED)) {
    const at = locate(ram, descriptorArea, PackedDescriptor.size * size);
    // All slots at once, in this lap or the other.
    const flags = random.pick([0x8080, 0, 0x80, 0x8000, 0x8082]);
    for (let slot = 0; slot < size; slot += 1)
      ram.setUint16(at + PackedDescriptor.size * slot + PackedDescriptor.offset.flags, flags);
    opponent.interrupt();
    return Effect.DOUBT;
  }
  const at = locate(ram, deviceArea, UsedRing.size) + UsedRing.offset.idx;
  const now = ram.getUint16(at);
  // More than a ring holds, so that it can be no honest index whatever is in flight.
  ram.storeUint16(at, (now + random.pick([size + 1, 0x8000, 0xffff - size, 2 * size])) & 0xffff);
  opponent.interrupt();
  opponent.silent = true;
  return Effect.BREAKS;
}

function scribble(world: World, random: Random, queue: number): void {
  const { ram, opponent } = world;
  world.wild = true;
  const layout = opponent.layoutOf(queue);
  if (layout === undefined) return;
  const [at, bytes] = written(opponent, ram, layout);
  const position = at + 2 * random.number(Math.floor(bytes / 2));
  if (random.once(2) && position % 4 === 0 && position + 4 <= at + bytes)
    ram.setUint32(position, random.pick([...LONG_WORDS, random.number(layout.size)]));
  else ram.setUint16(position, random.pick([...WORDS, random.number(layout.size)]));
}

function disturb({ ram, opponent }: World, random: Random): void {
  const layout = opponent.layoutOf(IommuQueue.REQUEST);
  if (layout === undefined) return;
  const { size, deviceArea } = layout;
  if (opponent.has(VirtioFeature.RING_PACKED)) {
    const at = locate(ram, deviceArea, EventSuppression.size);
    ram.setUint16(at + EventSuppression.offset.desc, random.pick(WORDS));
    ram.setUint16(at + EventSuppression.offset.flags, random.pick(WORDS));
    return;
  }
  const at = locate(ram, deviceArea, UsedRing.size);
  ram.setUint16(at, random.pick(WORDS));
  ram.setUint16(at + UsedRing.size + UsedElement.size * size, random.pick(WORDS));
}

/** Where the device writes of a ring: position and bytes. */
function written(
  opponent: Opponent,
  ram: World['ram'],
  { size, descriptorArea, deviceArea }: QueueLayout,
): readonly [number, number] {
  if (opponent.has(VirtioFeature.RING_PACKED)) {
    const bytes = PackedDescriptor.size * size;
    return [locate(ram, descriptorArea, bytes), bytes];
  }
  const bytes = UsedRing.size + UsedElement.size * size;
  return [locate(ram, deviceArea, bytes), bytes];
}
