/** Where a split queue lies in an arena, and what stands there now. Sizes as in the standard's table of the three parts. */

import { AvailableRing, Descriptor, RING_ENTRY_SIZE, UsedElement, UsedRing } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import type { Arena } from './arena.ts';

/** A descriptor as it stands in memory. */
export type AnyEntry = ReturnType<typeof Descriptor.read>;

/** Positions of the parts of a split queue. */
export class SplitPlace {
  readonly size: number;
  readonly table: number;
  readonly available: number;
  readonly used: number;
  readonly layout: QueueLayout;
  readonly #view: DataView;

  /** Takes memory of the arena. */
  constructor(arena: Arena, size: number) {
    this.size = size;
    this.table = arena.allocate(16 * size, 16);
    this.available = arena.allocate(6 + 2 * size, 2);
    this.used = arena.allocate(6 + 8 * size, 4);
    this.layout = {
      size,
      descriptorArea: arena.address(this.table),
      driverArea: arena.address(this.available),
      deviceArea: arena.address(this.used),
    };
    this.#view = arena.view;
  }

  /** The first position behind the ring's three parts, which lie one behind the other. */
  get end(): number {
    return this.used + 6 + 8 * this.size;
  }

  descriptor(index: number): AnyEntry {
    return Descriptor.read(this.#view, this.table + Descriptor.size * index);
  }

  availableFlags(): number {
    return this.#view.getUint16(this.available + AvailableRing.offset.flags, true);
  }

  availableIndex(): number {
    return this.#view.getUint16(this.available + AvailableRing.offset.idx, true);
  }

  availableEntry(slot: number): number {
    const at = this.available + AvailableRing.size + RING_ENTRY_SIZE * slot;
    return this.#view.getUint16(at, true);
  }

  usedEvent(): number {
    return this.availableEntry(this.size);
  }

  usedFlags(): number {
    return this.#view.getUint16(this.used + UsedRing.offset.flags, true);
  }

  usedIndex(): number {
    return this.#view.getUint16(this.used + UsedRing.offset.idx, true);
  }

  usedElement(slot: number): { id: number; len: number } {
    return UsedElement.read(this.#view, this.used + UsedRing.size + UsedElement.size * slot);
  }

  availableEvent(): number {
    return this.#view.getUint16(this.used + UsedRing.size + UsedElement.size * this.size, true);
  }
}
