/**
 * Writes the driver's half of a packed ring: any value into any slot, at any moment.
 *
 * It keeps no rule of the standard and checks nothing; a test that wants a legal ring writes one. Slots past the end of
 * the ring, and entries past the end of a table, land in whatever lies behind it.
 */

import { DescriptorFlag, EventSuppression, PackedDescriptor } from '@viommu/common';
import type { AnyBuffer } from './guest-ring-writer.ts';
import { Lap, type PackedPlace } from './packed-place.ts';

/** A descriptor; what is left out is zero. */
export interface AnyPackedDescriptor {
  readonly address?: bigint;
  readonly length?: number;
  readonly id?: number;
  readonly flags?: number;
}

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

export class PackedGuestWriter {
  readonly #view: DataView;
  readonly #place: PackedPlace;
  /** Where {@link place} writes next. */
  readonly next: Lap;

  constructor(view: DataView, place: PackedPlace) {
    this.#view = view;
    this.#place = place;
    this.next = new Lap(place.size);
  }

  /** Writes a slot, the flags as they are given. */
  slot(index: number, descriptor: AnyPackedDescriptor): void {
    this.entry(this.#place.ring, index, descriptor);
  }

  /** Writes an entry of an indirect table at `position`, aligned or not. */
  entry(position: number, index: number, descriptor: AnyPackedDescriptor): void {
    const { address = 0n, length = 0, id = 0, flags = 0 } = descriptor;
    PackedDescriptor.write(this.#view, position + PackedDescriptor.size * index, {
      addr: address,
      len: length,
      id,
      flags,
    });
  }

  flags(index: number, value: number): void {
    this.#view.setUint16(this.#place.flagsAt(index), value, true);
  }

  /** Driver event suppression. */
  event(desc: number, flags: number): void {
    EventSuppression.write(this.#view, this.#place.driverEvent, { desc, flags });
  }

  /**
   * Writes descriptors into the next slots and makes each available in its lap, the first one last. Returns the slot of
   * the first.
   */
  place(...descriptors: readonly AnyPackedDescriptor[]): number {
    const first = this.next.slot;
    const firstFlags = this.next.available | (descriptors[0]?.flags ?? 0);
    for (const [turn, descriptor] of descriptors.entries()) {
      const flags = (descriptor.flags ?? 0) | this.next.available;
      if (turn === 0) this.slot(this.next.slot, { ...descriptor, flags: 0 });
      else this.slot(this.next.slot, { ...descriptor, flags });
      this.next.advance(1);
    }
    this.flags(first, firstFlags);
    return first;
  }

  /** Makes a legal list of these buffers available; the id stands in its last descriptor only. */
  offer(id: number, buffers: readonly AnyBuffer[]): number {
    return this.place(...listOf(id, buffers));
  }

  /** Writes buffers into an indirect table at `position`, and makes a descriptor for them available. */
  offerTable(id: number, position: number, address: bigint, buffers: readonly AnyBuffer[]): number {
    this.table(position, buffers);
    return this.place(tableOf(id, address, buffers.length));
  }

  /** Writes buffers into an indirect table at `position`. */
  table(position: number, buffers: readonly AnyBuffer[]): void {
    for (const [index, { address, length, writable = false }] of buffers.entries())
      this.entry(position, index, { address, length, flags: writable ? WRITE : 0 });
  }
}

/** The descriptors of a legal list, without their state. */
export function listOf(id: number, buffers: readonly AnyBuffer[]): AnyPackedDescriptor[] {
  return buffers.map(({ address, length, writable = false }, turn) => {
    const last = turn + 1 === buffers.length;
    const flags = (writable ? WRITE : 0) | (last ? 0 : NEXT);
    return { address, length, flags, id: last ? id : 0 };
  });
}

/** The descriptor of an indirect table of so many entries, without its state. */
export function tableOf(id: number, address: bigint, count: number): AnyPackedDescriptor {
  return { address, length: count * PackedDescriptor.size, flags: INDIRECT, id };
}
