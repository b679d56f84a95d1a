/**
 * Guest memory for one run: some pages between guard bytes, each access to which is watched.
 *
 * An access outside memory, a write where none is allowed, and more accesses than the work can need are findings. What
 * the other side might do between two accesses can be done there.
 */

import { guestPhysical } from '@viommu/common';
import { type GuestMemory, SharedMemory } from '@viommu/ring';
import { Deviation } from '../deviation.ts';

const GUARD_BYTES = 64;
const GUARD = 0xa5;

/** What is written where. */
export interface Written {
  readonly position: number;
  readonly length: number;
}

export class WatchedMemory implements GuestMemory {
  readonly base: bigint;
  /** All of it: position p is byte p. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** The same for those who work the other side: not watched. */
  readonly raw: DataView<SharedArrayBuffer>;
  readonly view: DataView | undefined;
  /** Bytes that must not be written now are 0, if this is there. */
  writable: Uint8Array | undefined;
  /** Where the last write was. */
  lastWrite = -1;
  /** Accesses since the last {@link allow}. */
  accesses = 0;
  #allowed: number = Number.POSITIVE_INFINITY;
  #interruptAt = -1;
  #interruption: () => void = nothing;
  readonly #memory: SharedMemory;
  readonly #guards: readonly Uint8Array[];

  /** `size` is a multiple of a page; without `mapped` there is no view of it. */
  constructor(size: number, base: bigint, mapped: boolean) {
    const buffer = new SharedArrayBuffer(size + 2 * GUARD_BYTES);
    this.#guards = [
      new Uint8Array(buffer, 0, GUARD_BYTES).fill(GUARD),
      new Uint8Array(buffer, GUARD_BYTES + size, GUARD_BYTES).fill(GUARD),
    ];
    this.base = base;
    this.bytes = new Uint8Array(buffer, GUARD_BYTES, size);
    this.raw = new DataView(buffer, GUARD_BYTES, size);
    this.#memory = new SharedMemory({
      buffer,
      offset: GUARD_BYTES,
      size,
      base: guestPhysical(base),
    });
    this.view = mapped ? this.raw : undefined;
  }

  get size(): number {
    return this.bytes.length;
  }

  /** The next call may make so many accesses. */
  allow(accesses: number): void {
    this.accesses = 0;
    this.#allowed = accesses;
  }

  /** Before access number `count` from now on, counted from 0, `act` comes in between. */
  interrupt(count: number, act: () => void): void {
    this.accesses = 0;
    this.#interruptAt = count;
    this.#interruption = act;
  }

  /** Throws if a byte outside memory was written. */
  checkGuards(): void {
    for (const guard of this.#guards)
      for (const byte of guard) if (byte !== GUARD) throw outside('a byte outside memory changed');
  }

  locate(low: number, high: number, length: number): number {
    const position = this.#memory.locate(low, high, length);
    const address = (BigInt(high) << 32n) | BigInt(low);
    const inside =
      address >= this.base && address + BigInt(length) <= this.base + BigInt(this.size);
    if (position !== (inside ? Number(address - this.base) : -1))
      throw new Deviation(
        'memory',
        'an address has another position',
        `0x${address.toString(16)}, ${length} bytes: ${position}`,
      );
    return position;
  }

  getUint8(position: number): number {
    this.#read(position, 1);
    return this.#memory.getUint8(position);
  }

  getUint16(position: number): number {
    this.#read(position, 2);
    return this.#memory.getUint16(position);
  }

  getUint32(position: number): number {
    this.#read(position, 4);
    return this.#memory.getUint32(position);
  }

  setUint8(position: number, value: number): void {
    this.#write(position, 1);
    this.#memory.setUint8(position, value);
  }

  setUint16(position: number, value: number): void {
    this.#write(position, 2);
    this.#memory.setUint16(position, value);
  }

  setUint32(position: number, value: number): void {
    this.#write(position, 4);
    this.#memory.setUint32(position, value);
  }

  loadUint16(position: number): number {
    this.#even(position);
    this.#read(position, 2);
    return this.#memory.loadUint16(position);
  }

  storeUint16(position: number, value: number): void {
    this.#even(position);
    this.#write(position, 2);
    this.#memory.storeUint16(position, value);
  }

  read(position: number, target: Uint8Array, at: number, length: number): void {
    this.#read(position, length);
    this.#memory.read(position, target, at, length);
  }

  write(position: number, source: Uint8Array, at: number, length: number): void {
    this.#write(position, length);
    this.#memory.write(position, source, at, length);
  }

  #even(position: number): void {
    if (position % 2 !== 0) throw outside('an index at an odd position');
  }

  #read(position: number, length: number): void {
    if (!(position >= 0 && length >= 0 && position + length <= this.size))
      throw outside('a read outside memory');
    this.#count();
  }

  #write(position: number, length: number): void {
    if (!(position >= 0 && length >= 0 && position + length <= this.size))
      throw outside('a write outside memory');
    const { writable } = this;
    if (writable !== undefined)
      for (let at = position; at < position + length; at += 1)
        if (writable[at] === 0) throw outside('a write where none may be');
    this.#count();
    this.lastWrite = position;
  }

  #count(): void {
    if (this.accesses === this.#interruptAt) {
      this.#interruptAt = -1;
      this.#interruption();
    }
    this.accesses += 1;
    if (this.accesses > this.#allowed)
      throw new Deviation('work', 'more accesses than it can need', `${this.accesses}`);
  }
}

function outside(matter: string): Deviation {
  return new Deviation('memory', matter, matter);
}

function nothing(): void {
  // Nobody comes in between.
}
