/** Where a packed queue lies in an arena, and what stands there now. Sizes as in the standard's table of the three parts. */

import { EventSuppression, PackedDescriptor } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import type { Arena } from './arena.ts';

/** A descriptor as it stands in a slot or in a table. */
export type AnySlot = ReturnType<typeof PackedDescriptor.read>;

/** An event suppression structure as it stands in memory. */
export type AnyEvent = ReturnType<typeof EventSuppression.read>;

/** Positions of the parts of a packed queue. */
export class PackedPlace {
  readonly size: number;
  readonly ring: number;
  readonly driverEvent: number;
  readonly deviceEvent: number;
  readonly layout: QueueLayout;
  readonly #view: DataView;

  /** Takes memory of the arena. */
  constructor(arena: Arena, size: number) {
    this.size = size;
    this.ring = arena.allocate(16 * size, 16);
    this.driverEvent = arena.allocate(4, 4);
    this.deviceEvent = arena.allocate(4, 4);
    this.layout = {
      size,
      descriptorArea: arena.address(this.ring),
      driverArea: arena.address(this.driverEvent),
      deviceArea: arena.address(this.deviceEvent),
    };
    this.#view = arena.view;
  }

  /** The first position behind the ring's three parts, which lie one behind the other. */
  get end(): number {
    return this.deviceEvent + 4;
  }

  /** Where the flags of a slot are. */
  flagsAt(index: number): number {
    return this.ring + PackedDescriptor.size * index + PackedDescriptor.offset.flags;
  }

  slot(index: number): AnySlot {
    return PackedDescriptor.read(this.#view, this.ring + PackedDescriptor.size * index);
  }

  slots(): AnySlot[] {
    return Array.from({ length: this.size }, (_, index) => this.slot(index));
  }

  driverSays(): AnyEvent {
    return EventSuppression.read(this.#view, this.driverEvent);
  }

  deviceSays(): AnyEvent {
    return EventSuppression.read(this.#view, this.deviceEvent);
  }
}

/** A place in the ring that counts its laps: the next slot, and the wrap counter of that lap. */
export class Lap {
  readonly size: number;
  slot = 0;
  wrap = true;

  constructor(size: number) {
    this.size = size;
  }

  /** As in the `desc` word of an event suppression structure, and in a notification with data. */
  get word(): number {
    return this.slot | (this.wrap ? 0x8000 : 0);
  }

  /** The state bits of a descriptor that is available in this lap. */
  get available(): number {
    return this.wrap ? 0x0080 : 0x8000;
  }

  /** The state bits of a descriptor that is used in this lap. */
  get used(): number {
    return this.wrap ? 0x8080 : 0x0000;
  }

  advance(slots: number): void {
    this.slot += slots;
    if (this.slot < this.size) return;
    this.slot -= this.size;
    this.wrap = !this.wrap;
  }

  /** The place so many slots on, this one staying where it is. */
  ahead(slots: number): Lap {
    const other = new Lap(this.size);
    other.slot = this.slot;
    other.wrap = this.wrap;
    other.advance(slots);
    return other;
  }
}
