/**
 * Writes the driver's half of a split ring: any value into any field, at any moment.
 *
 * It keeps no rule of the standard and checks nothing; a test that wants a legal ring writes one. Indices past the
 * end of a table land in whatever lies behind it.
 */

import { AvailableRing, Descriptor, DescriptorFlag, RING_ENTRY_SIZE } from '@viommu/common';
import type { SplitPlace } from './split-place.ts';

/** A descriptor; what is left out is zero. */
export interface AnyDescriptor {
  readonly address?: bigint;
  readonly length?: number;
  readonly flags?: number;
  readonly next?: number;
}

/** One element of a chain that {@link GuestRingWriter.chain} writes. */
export interface AnyBuffer {
  readonly address: bigint;
  readonly length: number;
  readonly writable?: boolean;
}

export class GuestRingWriter {
  readonly #view: DataView;
  readonly #place: SplitPlace;
  /** The index that {@link offer} writes next. */
  nextIndex = 0;

  constructor(view: DataView, place: SplitPlace) {
    this.#view = view;
    this.#place = place;
  }

  /** Writes a descriptor of the ring's own table. */
  descriptor(index: number, descriptor: AnyDescriptor): void {
    this.tableDescriptor(this.#place.table, index, descriptor);
  }

  /** Writes a descriptor of an indirect table at `position`, aligned or not. */
  tableDescriptor(position: number, index: number, descriptor: AnyDescriptor): void {
    const { address = 0n, length = 0, flags = 0, next = 0 } = descriptor;
    Descriptor.write(this.#view, position + Descriptor.size * index, {
      addr: address,
      len: length,
      flags,
      next,
    });
  }

  /**
   * Writes a legal chain into the descriptors `indices`, one for each buffer, in that order; `then` joins the last of
   * them to a further descriptor. Returns the head.
   */
  chain(buffers: readonly AnyBuffer[], indices: readonly number[], then?: number): number {
    this.#link(this.#place.table, buffers, indices, then);
    return indices[0] ?? then ?? 0;
  }

  /** As {@link chain}, into an indirect table at `position`. */
  table(position: number, buffers: readonly AnyBuffer[], indices?: readonly number[]): void {
    this.#link(position, buffers, indices ?? [...buffers.keys()], undefined);
  }

  /** Makes a descriptor of the ring point to a table of `count` entries at `address`. */
  indirect(index: number, address: bigint, count: number, flags = 0): void {
    this.descriptor(index, {
      address,
      length: count * Descriptor.size,
      flags: DescriptorFlag.INDIRECT | flags,
    });
  }

  /** Writes an entry of the available ring; slot `size` is `used_event`. */
  entry(slot: number, head: number): void {
    const { available } = this.#place;
    this.#view.setUint16(available + AvailableRing.size + RING_ENTRY_SIZE * slot, head, true);
  }

  index(value: number): void {
    this.#view.setUint16(this.#place.available + AvailableRing.offset.idx, value, true);
  }

  flags(value: number): void {
    this.#view.setUint16(this.#place.available + AvailableRing.offset.flags, value, true);
  }

  usedEvent(value: number): void {
    this.entry(this.#place.size, value);
  }

  /** Makes these heads available at the next slots, and moves the index once. */
  offer(...heads: readonly number[]): void {
    for (const head of heads) {
      this.entry(this.nextIndex % this.#place.size, head);
      this.nextIndex = (this.nextIndex + 1) & 0xffff;
    }
    this.index(this.nextIndex);
  }

  #link(
    position: number,
    buffers: readonly AnyBuffer[],
    indices: readonly number[],
    then: number | undefined,
  ): void {
    for (const [turn, { address, length, writable = false }] of buffers.entries()) {
      const next = turn + 1 < buffers.length ? indices[turn + 1] : then;
      const flags =
        (writable ? DescriptorFlag.WRITE : 0) | (next === undefined ? 0 : DescriptorFlag.NEXT);
      const index = indices[turn] ?? 0;
      this.tableDescriptor(position, index, { address, length, flags, next: next ?? 0 });
    }
  }
}
