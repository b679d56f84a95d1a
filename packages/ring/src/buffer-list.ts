/**
 * The buffers of one chain as the driver hands them over: device-readable ones first, as the standard demands.
 *
 * A list is made once and used again, so that a driver that fills the same request slot again allocates nothing.
 */

import { type GuestPhysical, IommuError, assert, isUint32 } from '@viommu/common';

/** The most bytes of one chain. */
const CHAIN_BYTES_MAX = 0x1_0000_0000;

/** A reusable list of up to `capacity` buffers. */
export class BufferList {
  /** Guest-physical addresses, in unsigned halves, and lengths in bytes; changed by the methods alone. */
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  readonly length: Uint32Array;
  /** Buffers in the list. */
  count = 0;
  /** How many of them, from the first, the device reads; it writes the others. */
  readableCount = 0;
  /** Bytes in the writable buffers. */
  writableBytes = 0;
  /** Changes with every change of the list, so that a ring knows what it has described already. */
  revision = 0;
  #bytes = 0;

  constructor(capacity: number) {
    this.low = new Uint32Array(capacity);
    this.high = new Uint32Array(capacity);
    this.length = new Uint32Array(capacity);
  }

  clear(): this {
    this.count = 0;
    this.readableCount = 0;
    this.writableBytes = 0;
    this.#bytes = 0;
    this.revision = (this.revision + 1) | 0;
    return this;
  }

  /** Adds a buffer that the device reads; none may follow a writable one. */
  addReadable(address: GuestPhysical, lengthBytes: number): this {
    return this.addReadableAt(Number(address & 0xffff_ffffn), Number(address >> 32n), lengthBytes);
  }

  /** Adds a buffer that the device writes. */
  addWritable(address: GuestPhysical, lengthBytes: number): this {
    return this.addWritableAt(Number(address & 0xffff_ffffn), Number(address >> 32n), lengthBytes);
  }

  /** As {@link addReadable}, with the halves of an address, both unsigned: an address as the device has to use it. */
  addReadableAt(low: number, high: number, lengthBytes: number): this {
    assert(this.readableCount === this.count, 'readable buffers come before writable ones');
    this.#add(low, high, lengthBytes);
    this.readableCount = this.count;
    return this;
  }

  /** As {@link addWritable}, likewise. */
  addWritableAt(low: number, high: number, lengthBytes: number): this {
    this.#add(low, high, lengthBytes);
    this.writableBytes += lengthBytes;
    return this;
  }

  #add(low: number, high: number, lengthBytes: number): void {
    assert(this.count < this.low.length, 'the buffer list is full');
    assert(isUint32(lengthBytes), 'the length of a buffer is an unsigned 32-bit number');
    this.#bytes += lengthBytes;
    assert(this.#bytes <= CHAIN_BYTES_MAX, 'the buffers of a chain have at most 4 GiB');
    this.low[this.count] = low;
    this.high[this.count] = high;
    this.length[this.count] = lengthBytes;
    this.count += 1;
    this.revision = (this.revision + 1) | 0;
  }
}

/**
 * For queues: the answer to a list that a ring of `size` descriptors has no room for now.
 *
 * @throws {IommuError} `EINVAL` if it never will have: no list is longer than its queue, in a table or not.
 */
export function refuse({ count }: BufferList, size: number): false {
  if (count > size)
    throw new IommuError('EINVAL', `A list of ${count} buffers is longer than a queue of ${size}.`);
  return false;
}
