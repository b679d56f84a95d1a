/** Writes the device's half of a packed ring: any value into any slot. The twin of `PackedGuestWriter`. */

import { DescriptorFlag, EventSuppression, PackedDescriptor } from '@viommu/common';
import type { AnyPackedDescriptor } from './packed-guest-writer.ts';
import { Lap, type PackedPlace } from './packed-place.ts';

export class PackedDeviceWriter {
  readonly #view: DataView;
  readonly #place: PackedPlace;
  /** Where {@link use} writes next. */
  readonly next: Lap;

  constructor(view: DataView, place: PackedPlace) {
    this.#view = view;
    this.#place = place;
    this.next = new Lap(place.size);
  }

  /** Writes a slot, the flags as they are given. */
  slot(index: number, { address = 0n, length = 0, id = 0, flags = 0 }: AnyPackedDescriptor): void {
    const at = this.#place.ring + PackedDescriptor.size * index;
    PackedDescriptor.write(this.#view, at, { addr: address, len: length, id, flags });
  }

  /** Device event suppression. */
  event(desc: number, flags: number): void {
    EventSuppression.write(this.#view, this.#place.deviceEvent, { desc, flags });
  }

  /** Uses a list of `slots` slots: one descriptor at the next slot, its flags last, and on behind the list. */
  use(id: number, length: number, slots: number, flags?: number): void {
    const { slot, used } = this.next;
    const at = this.#place.ring + PackedDescriptor.size * slot;
    this.#view.setUint16(at + PackedDescriptor.offset.id, id, true);
    this.#view.setUint32(at + PackedDescriptor.offset.len, length, true);
    const written = length > 0 ? DescriptorFlag.WRITE : 0;
    this.#view.setUint16(at + PackedDescriptor.offset.flags, used | (flags ?? written), true);
    this.next.advance(slots);
  }
}
