/**
 * The buffers of one chain as the driver hands them over: device-readable ones first, as the standard demands.
 *
 * A list is made once and used again, so that a driver that fills the same request slot again allocates nothing.
 */

import {
  DescriptorFlag,
  type GuestPhysical,
  IommuError,
  assert,
  guestPhysical,
  isUint32,
} from '@viommu/common';

/** The most bytes of one chain. */
const CHAIN_BYTES_MAX = 0x1_0000_0000;
const { NEXT, WRITE } = DescriptorFlag;

/** Lists made so far. */
let lists = 0;

/** A reusable list of up to `capacity` buffers. */
export class BufferList {
  /**
   * For queues: four words for each buffer, as a descriptor of a packed ring has them. The halves of the address, the
   * length, and in the upper half of the last word the flags NEXT and WRITE. Changed by the methods alone.
   */
  readonly words: Int32Array;
  /** Buffers in the list. */
  count = 0;
  /** How many of them, from the first, the device reads; it writes the others. */
  readableCount = 0;
  /** Bytes in the writable buffers. */
  writableBytes = 0;
  /** The number of this list, from 1, which no other of the thread has. */
  readonly serial: number = (lists += 1);
  /** Changes with every change of the list, so that a ring knows what it has described already. */
  revision = 0;
  #bytes = 0;

  constructor(capacity: number) {
    this.words = new Int32Array(capacity * 4);
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
    this.#add(low, high, lengthBytes, 0);
    this.readableCount = this.count;
    return this;
  }

  /** As {@link addWritable}, likewise. */
  addWritableAt(low: number, high: number, lengthBytes: number): this {
    this.#add(low, high, lengthBytes, WRITE);
    this.writableBytes += lengthBytes;
    return this;
  }

  /** Where buffer `index` begins. */
  address(index: number): GuestPhysical {
    const at = index * 4;
    const high = BigInt(this.words[at + 1]! >>> 0); // Below the count, as the others.
    return guestPhysical((high << 32n) | BigInt(this.words[at]! >>> 0));
  }

  /** How long it is. */
  lengthBytes(index: number): number {
    return this.words[index * 4 + 2]! >>> 0;
  }

  #add(low: number, high: number, lengthBytes: number, flags: number): void {
    const { words } = this;
    const at = this.count * 4;
    assert(at < words.length, 'the buffer list is full');
    assert(isUint32(lengthBytes), 'the length of a buffer is an unsigned 32-bit number');
    this.#bytes += lengthBytes;
    assert(this.#bytes <= CHAIN_BYTES_MAX, 'the buffers of a chain have at most 4 GiB');
    if (at > 0) words[at - 1]! |= NEXT << 16; // Of the buffer before.
    words[at] = low;
    words[at + 1] = high;
    words[at + 2] = lengthBytes;
    words[at + 3] = flags << 16;
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
