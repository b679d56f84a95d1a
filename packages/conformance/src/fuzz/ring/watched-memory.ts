/**
 * Guest memory for one run: some pages between guard bytes, each access to which is watched.
 *
 * An access outside memory, a write where none is allowed, and more accesses than the work can need are findings. What
 * the other side might do between two accesses can be done there.
 */

import { guestPhysical } from '@viommu/common';
import { SharedMemory } from '@viommu/ring';
import { Deviation } from '../deviation.ts';
import { ObservedMemory } from '../observed-memory.ts';

const GUARD_BYTES = 64;
const GUARD = 0xa5;

/** What is written where. */
export interface Written {
  readonly position: number;
  readonly length: number;
}

export class WatchedMemory extends ObservedMemory {
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
  readonly #guards: readonly Uint8Array[];

  /** `size` is a multiple of a page; without `mapped` there is no view of it. */
  constructor(size: number, base: bigint, mapped: boolean) {
    const buffer = new SharedArrayBuffer(size + 2 * GUARD_BYTES);
    super(new SharedMemory({ buffer, offset: GUARD_BYTES, size, base: guestPhysical(base) }));
    this.#guards = [
      new Uint8Array(buffer, 0, GUARD_BYTES).fill(GUARD),
      new Uint8Array(buffer, GUARD_BYTES + size, GUARD_BYTES).fill(GUARD),
    ];
    this.base = base;
    this.bytes = new Uint8Array(buffer, GUARD_BYTES, size);
    this.raw = new DataView(buffer, GUARD_BYTES, size);
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

  override locate(low: number, high: number, length: number): number {
    const position = super.locate(low, high, length);
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

  protected override beforeIndex(position: number): void {
    if (position % 2 !== 0) throw outside('an index at an odd position');
  }

  protected override beforeRead(position: number, length: number): void {
    if (!(position >= 0 && length >= 0 && position + length <= this.size))
      throw outside('a read outside memory');
    this.#count();
  }

  protected override beforeWrite(position: number, length: number): void {
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
