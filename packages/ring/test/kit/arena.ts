/** Guest memory for tests: a stretch of a larger buffer, with guard bytes on both sides of it. */

import { type GuestPhysical, guestPhysical } from '@viommu/common';
import { BufferList, SharedMemory } from '@viommu/ring';

const GUARD_BYTES = 256;
const GUARD = 0xa5;

export interface ArenaOptions {
  /** Bytes of guest memory, in whole pages. */
  readonly sizeBytes?: number;
  /** The guest-physical address of the first byte. */
  readonly base?: bigint;
}

/** Guest memory, the raw bytes behind it, and a simple way of dealing it out. */
export class Arena {
  readonly memory: SharedMemory;
  /** The bytes of guest memory: position p of the memory is byte p. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly base: bigint;
  readonly #guards: readonly Uint8Array[];
  #next = 0;

  constructor({ sizeBytes = 0x1_0000, base = 0x4000_0000n }: ArenaOptions = {}) {
    const buffer = new SharedArrayBuffer(sizeBytes + 2 * GUARD_BYTES);
    this.#guards = [
      new Uint8Array(buffer, 0, GUARD_BYTES).fill(GUARD),
      new Uint8Array(buffer, GUARD_BYTES + sizeBytes, GUARD_BYTES).fill(GUARD),
    ];
    this.base = base;
    this.memory = new SharedMemory({
      buffer,
      offset: GUARD_BYTES,
      size: sizeBytes,
      base: guestPhysical(base),
    });
    this.bytes = new Uint8Array(buffer, GUARD_BYTES, sizeBytes);
    this.view = new DataView(buffer, GUARD_BYTES, sizeBytes);
  }

  /** The position of `bytes` bytes that nobody else has. */
  allocate(bytes: number, alignment = 1): number {
    const position = Math.ceil(this.#next / alignment) * alignment;
    this.#next = position + bytes;
    if (this.#next > this.bytes.length) throw new Error('the arena of this test is too small');
    return position;
  }

  /** Deals out everything from `position` on again. */
  reuse(position: number): void {
    this.#next = position;
  }

  address(position: number): GuestPhysical {
    return guestPhysical(this.base + BigInt(position));
  }

  /** A copy of `length` bytes at `position`. */
  copy(position: number, length: number): Uint8Array {
    return this.bytes.slice(position, position + length);
  }

  /** False if somebody wrote outside guest memory. */
  guardsIntact(): boolean {
    return this.#guards.every((guard) => guard.every((byte) => byte === GUARD));
  }

  /** New buffers as a list: readable ones with these contents, then writable ones of these lengths. */
  buffers(readable: readonly Uint8Array[], writable: readonly number[]): BufferList {
    const list = new BufferList(Math.max(1, readable.length + writable.length));
    for (const content of readable) {
      const position = this.allocate(content.length);
      this.bytes.set(content, position);
      list.addReadable(this.address(position), content.length);
    }
    for (const length of writable) list.addWritable(this.address(this.allocate(length)), length);
    return list;
  }
}
