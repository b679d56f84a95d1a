/** Writes the device's half of a split ring: any value into any field. The twin of `GuestRingWriter`. */

import { UsedElement, UsedRing } from '@viommu/common';
import type { SplitPlace } from './split-place.ts';

export class DeviceRingWriter {
  readonly #view: DataView;
  readonly #place: SplitPlace;
  /** The index that {@link use} writes next. */
  nextIndex = 0;

  constructor(view: DataView, place: SplitPlace) {
    this.#view = view;
    this.#place = place;
  }

  /** Writes an element of the used ring; slot `size` begins with `avail_event`. */
  element(slot: number, id: number, length: number): void {
    const at = this.#place.used + UsedRing.size + UsedElement.size * slot;
    UsedElement.write(this.#view, at, { id, len: length });
  }

  index(value: number): void {
    this.#view.setUint16(this.#place.used + UsedRing.offset.idx, value, true);
  }

  flags(value: number): void {
    this.#view.setUint16(this.#place.used + UsedRing.offset.flags, value, true);
  }

  availableEvent(value: number): void {
    const { used, size } = this.#place;
    this.#view.setUint16(used + UsedRing.size + UsedElement.size * size, value, true);
  }

  /** Uses these ids at the next slots, each with the same length, and moves the index once. */
  use(ids: readonly number[], length = 0): void {
    for (const id of ids) {
      this.element(this.nextIndex % this.#place.size, id, length);
      this.nextIndex = (this.nextIndex + 1) & 0xffff;
    }
    this.index(this.nextIndex);
  }
}
