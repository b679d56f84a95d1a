/** Guest memory inside a SharedArrayBuffer: the one the hot paths are written for. */

import { type GuestPhysical, IommuError, PAGE_SIZE, assert } from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';

/** The largest memory, so that a position is always a small integer. */
const SIZE_MAX = 0x4000_0000;

assert(
  new Uint8Array(new Uint16Array([1]).buffer)[0] === 1,
  'ring indices are read in host order, which must be little-endian',
);

export interface SharedMemoryOptions {
  /** The buffer, possibly that of a shared `WebAssembly.Memory`. */
  readonly buffer: SharedArrayBuffer;
  /** Where the memory begins in the buffer, in bytes; a multiple of 8. */
  readonly offset: number;
  /** Bytes of memory: a multiple of 4096, at most 1 GiB. */
  readonly size: number;
  /** The guest-physical address of the first byte. */
  readonly base: GuestPhysical;
}

/** A stretch of a SharedArrayBuffer that the guest sees at a guest-physical address. */
export class SharedMemory implements GuestMemory {
  readonly view: DataView;
  readonly base: GuestPhysical;
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint16Array;
  readonly #baseLow: number;
  readonly #baseHigh: number;

  /** @throws {IommuError} `EINVAL` if the region does not fit the buffer or its bounds. */
  constructor({ buffer, offset, size, base }: SharedMemoryOptions) {
    if (size <= 0 || size > SIZE_MAX || size % PAGE_SIZE !== 0)
      throw new IommuError(
        'EINVAL',
        `Guest memory of ${size} bytes is not whole pages up to 1 GiB.`,
      );
    if (offset < 0 || offset % 8 !== 0 || offset + size > buffer.byteLength)
      throw new IommuError('EINVAL', 'The guest memory does not lie inside its buffer.');
    if ((base & 0xffff_ffffn) + BigInt(size) > 0x1_0000_0000n || base % BigInt(PAGE_SIZE) !== 0n)
      throw new IommuError('EINVAL', 'The guest memory must not cross a 4 GiB line.');
    this.view = new DataView(buffer, offset, size);
    this.#bytes = new Uint8Array(buffer, offset, size);
    this.#words = new Uint16Array(buffer, offset, size >>> 1);
    this.base = base;
    this.size = size;
    this.#baseLow = Number(base & 0xffff_ffffn);
    this.#baseHigh = Number(base >> 32n);
  }

  locate(low: number, high: number, length: number): number {
    const position = low - this.#baseLow;
    if (high !== this.#baseHigh || position < 0 || length > this.size - position) return -1;
    return position;
  }

  getUint8(position: number): number {
    return this.view.getUint8(position);
  }

  getUint16(position: number): number {
    return this.view.getUint16(position, true);
  }

  getUint32(position: number): number {
    return this.view.getUint32(position, true);
  }

  setUint8(position: number, value: number): void {
    this.view.setUint8(position, value);
  }

  setUint16(position: number, value: number): void {
    this.view.setUint16(position, value, true);
  }

  setUint32(position: number, value: number): void {
    this.view.setUint32(position, value, true);
  }

  loadUint16(position: number): number {
    return Atomics.load(this.#words, position >>> 1);
  }

  storeUint16(position: number, value: number): void {
    Atomics.store(this.#words, position >>> 1, value);
  }

  read(position: number, target: Uint8Array, at: number, length: number): void {
    target.set(this.#bytes.subarray(position, position + length), at);
  }

  write(position: number, source: Uint8Array, at: number, length: number): void {
    this.#bytes.set(source.subarray(at, at + length), position);
  }
}
