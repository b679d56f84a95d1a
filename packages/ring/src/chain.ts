/**
 * A chain as the device sees it: readable bytes, then writable bytes, however the driver cut them.
 *
 * Section "Virtqueues / Message Framing": nothing here depends on where one buffer ends and the next begins.
 * Every buffer was located when the chain was taken, so the accesses below never leave guest memory.
 */

import { assert } from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';

/** One chain, taken from a queue. The device makes it once and passes it to `pop` again and again. */
export class Chain {
  /** What goes back to the driver: the index of the head descriptor, or the buffer id. */
  id = 0;
  /** Slots of a packed ring that the chain occupies. */
  slots = 1;
  /** Bytes in the readable part. */
  readableBytes = 0;
  /** Bytes in the writable part. */
  writableBytes = 0;
  /** False if a buffer lies outside guest memory: such a chain can only be given back with nothing written. */
  reachable = true;

  readonly #memory: GuestMemory;
  readonly #position: Int32Array;
  readonly #length: Int32Array;
  #count = 0;
  #readableCount = 0;

  /** `capacity` is the largest number of buffers, the size of the queue. */
  constructor(memory: GuestMemory, capacity: number) {
    this.#memory = memory;
    this.#position = new Int32Array(capacity);
    this.#length = new Int32Array(capacity);
  }

  /** Buffers of a chain that is reachable, readable ones first; none of them is empty. */
  get count(): number {
    return this.#count;
  }

  /** How many of them are readable. */
  get readableCount(): number {
    return this.#readableCount;
  }

  /** The position of buffer `index`, below the count: for devices that use memory in place. */
  position(index: number): number {
    return this.#position[index]!; // Below the count.
  }

  /** Bytes in buffer `index`, below the count. */
  length(index: number): number {
    return this.#length[index]!; // Below the count.
  }

  /**
   * The position in `memory.view` of the first `length` readable bytes if they lie in one piece there, else -1.
   * What is found there may change at any time: each byte is read once.
   */
  contiguous(length: number): number {
    if (this.#readableCount === 0 || !this.reachable || this.#memory.view === undefined) return -1;
    // The first element exists: the readable count is not 0.
    return this.#length[0]! >= length ? this.#position[0]! : -1;
  }

  /** Copies readable bytes from `offset` on into `target`; returns how many there were, up to `length`. */
  read(offset: number, target: Uint8Array, at: number, length: number): number {
    assert(this.reachable, 'an unreachable chain has no bytes');
    let skip = offset;
    let done = 0;
    for (let index = 0; index < this.#readableCount && done < length; index += 1) {
      const size = this.#length[index]!; // Below the count.
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      this.#memory.read(this.#position[index]! + skip, target, at + done, piece); // Below the count.
      done += piece;
      skip = 0;
    }
    return done;
  }

  /** Copies bytes of `source` into the writable part from `offset` on; returns how many fitted, up to `length`. */
  write(offset: number, source: Uint8Array, at: number, length: number): number {
    assert(this.reachable, 'an unreachable chain has no bytes');
    let skip = offset;
    let done = 0;
    for (let index = this.#readableCount; index < this.#count && done < length; index += 1) {
      const size = this.#length[index]!; // Below the count.
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      this.#memory.write(this.#position[index]! + skip, source, at + done, piece); // Below the count.
      done += piece;
      skip = 0;
    }
    return done;
  }

  /**
   * Writes one 32-bit word at `offset` of the writable part, which holds at least 4 bytes from there.
   * The short way for a request's tail.
   */
  writeWord(offset: number, value: number): void {
    assert(this.reachable && this.writableBytes >= offset + 4, 'a word has room in its chain');
    const first = this.#readableCount;
    // A chain with 4 writable bytes has a first writable buffer.
    if (this.#length[first]! >= offset + 4) {
      this.#memory.setUint32(this.#position[first]! + offset, value);
      return;
    }
    SCRATCH_VIEW.setUint32(0, value, true);
    this.write(offset, SCRATCH, 0, 4);
  }

  /** For queues: forgets the last chain. */
  begin(id: number): void {
    this.id = id;
    this.readableBytes = 0;
    this.writableBytes = 0;
    this.reachable = true;
    this.#count = 0;
    this.#readableCount = 0;
  }

  /** For queues: the next buffer, at `position` or -1 if it lies outside memory. Readable ones come first. */
  append(position: number, length: number, writable: boolean): void {
    if (position < 0) {
      this.reachable = false;
    } else {
      this.#position[this.#count] = position;
      this.#length[this.#count] = length;
      this.#count += 1;
      if (!writable) this.#readableCount += 1;
    }
    if (writable) this.writableBytes += length;
    else this.readableBytes += length;
  }
}

const SCRATCH = new Uint8Array(4);
const SCRATCH_VIEW = new DataView(SCRATCH.buffer);
