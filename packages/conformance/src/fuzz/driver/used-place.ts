/** Where a device is in its used entries, and whether the driver wants to hear of the last ones: sections "Used Buffer Notification Suppression" and "Driver and Device Event Suppression". */

import {
  AvailableRing,
  EVENT_OFFSET_MASK,
  EVENT_WRAP,
  EventMode,
  EventSuppression,
  PackedDescriptor,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import type { QueueLayout, SharedMemory } from '@viommu/ring';
import { locate } from '../../ring/bytes.ts';

/** The bytes of an answer in a ring: position and length. */
export type Span = readonly [position: number, length: number];

export class UsedPlace {
  readonly #memory: SharedMemory;
  readonly #layout: QueueLayout;
  readonly #packed: boolean;
  readonly #eventIndex: boolean;
  /** Used entries of a split ring, or slots of a packed one, so far; and when the driver was last asked. */
  #used = 0;
  #asked = 0;

  constructor(memory: SharedMemory, layout: QueueLayout, features: bigint) {
    this.#memory = memory;
    this.#layout = layout;
    this.#packed = hasFeature(features, VirtioFeature.RING_PACKED);
    this.#eventIndex = hasFeature(features, VirtioFeature.EVENT_IDX);
  }

  /** Where id and length of the next used entry go. */
  spans(): Span[] {
    const { size, descriptorArea, deviceArea } = this.#layout;
    if (this.#packed) {
      const at = descriptorArea + BigInt(PackedDescriptor.size * (this.#used % size));
      const position = locate(this.#memory, at, PackedDescriptor.size);
      const { id, len } = PackedDescriptor.offset;
      return [
        [position + id, 2],
        [position + len, 4],
      ];
    }
    const at = deviceArea + BigInt(UsedRing.size + UsedElement.size * (this.#used % size));
    return [[locate(this.#memory, at, UsedElement.size), UsedElement.size]];
  }

  /** Goes on: so many chains, of so many slots. */
  advance(chains: number, slots: number): void {
    this.#used += this.#packed ? slots : chains;
  }

  /** True if it wants to hear of the next one. */
  wantsNext(): boolean {
    const place = this.#used;
    this.#used += 1;
    const wanted = this.#packed ? this.#wantedPacked(place) : this.#wantedSplit(place);
    this.#used = place;
    return wanted;
  }

  /** True if the driver wants a notification of what was used since this was asked last. */
  wanted(): boolean {
    const before = this.#asked;
    this.#asked = this.#used;
    if (before === this.#used) return false;
    return this.#packed ? this.#wantedPacked(before) : this.#wantedSplit(before);
  }

  #wantedSplit(before: number): boolean {
    const { driverArea, size } = this.#layout;
    const memory = this.#memory;
    const bytes = AvailableRing.size + RING_ENTRY_SIZE * (size + 1);
    const at = locate(memory, driverArea, bytes);
    if (!this.#eventIndex) return (memory.getUint16(at + AvailableRing.offset.flags) & 1) === 0;
    const event = memory.getUint16(at + bytes - RING_ENTRY_SIZE);
    // It is one of those used since.
    return ((event - before) & 0xffff) < this.#used - before;
  }

  #wantedPacked(before: number): boolean {
    const memory = this.#memory;
    const at = locate(memory, this.#layout.driverArea, EventSuppression.size);
    const mode = memory.getUint16(at + EventSuppression.offset.flags) & 3;
    if (mode === EventMode.DISABLE) return false;
    if (mode === EventMode.ENABLE || !this.#eventIndex) return true;
    const desc = memory.getUint16(at + EventSuppression.offset.desc);
    const { size } = this.#layout;
    for (let place = before; place < this.#used; place += 1) {
      const wrap = Math.floor(place / size) % 2 === 0;
      if (place % size === (desc & EVENT_OFFSET_MASK) && wrap === ((desc & EVENT_WRAP) !== 0))
        return true;
    }
    return false;
  }
}
