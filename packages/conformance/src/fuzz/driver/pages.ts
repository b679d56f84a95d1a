/** Gives a driver its memory, full of what it must clear, and looks whether it does. */

import { type GuestPhysical, IommuError, guestPhysical } from '@viommu/common';
import type { DmaPages } from '@viommu/driver';
import type { SharedMemory } from '@viommu/ring';
import type { Random } from '../random.ts';
import { Owner, type WatchedMemory } from './watched-memory.ts';

/** What lay in memory before: nothing that the device may see. */
const SECRET = 0x5c;
/** So many bytes of it in a row were not written by the driver. */
const SECRET_BYTES = 12;
/** Between two pieces. */
const GUARD_BYTES = 64;

interface Piece {
  readonly position: number;
  readonly bytes: number;
}

export interface GuestPagesOptions {
  readonly memory: SharedMemory;
  readonly watched: WatchedMemory;
  readonly random: Random;
  readonly fail: (kind: string, matter: string, evidence: string) => never;
}

export class GuestPages implements DmaPages {
  /** The next so many requests for memory are refused. */
  refusals = 0;
  readonly #options: GuestPagesOptions;
  readonly #pieces: Map<GuestPhysical, Piece> = new Map();
  /** Given back, by their size. */
  readonly #spare: Piece[] = [];
  #next = GUARD_BYTES;

  constructor(options: GuestPagesOptions) {
    this.#options = options;
  }

  /** Pieces that the driver has. */
  get taken(): number {
    return this.#pieces.size;
  }

  allocate(sizeBytes: number, alignment: number): GuestPhysical {
    const { memory, watched, random } = this.#options;
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new IommuError('ENOMEM', 'There is no memory for now.');
    }
    const known = this.#spare.findIndex(
      ({ position, bytes }) => bytes === sizeBytes && position % alignment === 0,
    );
    let position = 0;
    if (known >= 0 && !random.once(3)) {
      position = this.#spare[known]!.position; // Just found.
      this.#spare.splice(known, 1);
    } else {
      position = Math.ceil(this.#next / alignment) * alignment;
      if (position + sizeBytes + GUARD_BYTES > memory.size)
        throw new IommuError('ENOMEM', 'The memory of the guest is used up.');
      this.#next = position + sizeBytes + GUARD_BYTES;
    }
    memory.write(position, new Uint8Array(sizeBytes).fill(SECRET), 0, sizeBytes);
    watched.give(position, sizeBytes, Owner.DRIVER);
    const address = guestPhysical(memory.base + BigInt(position));
    this.#pieces.set(address, { position, bytes: sizeBytes });
    return address;
  }

  free(address: GuestPhysical): void {
    const { watched, fail } = this.#options;
    const piece = this.#pieces.get(address);
    if (piece === undefined)
      return fail('memory', 'it gives back memory that it does not have', '');
    const { position, bytes } = piece;
    if (!watched.areOf(position, bytes, Owner.DRIVER))
      fail(
        'memory',
        'it gives back memory that the device still uses',
        `${bytes} bytes at ${position}`,
      );
    watched.give(position, bytes, Owner.NOBODY);
    watched.unwatch(position, bytes);
    this.#pieces.delete(address);
    this.#spare.push(piece);
  }

  /** Nothing of what lay in the driver's memory before may be left there. */
  checkSecrets(): void {
    for (const { position, bytes } of this.#pieces.values()) {
      const content = new Uint8Array(bytes);
      this.#options.memory.read(position, content, 0, bytes);
      let row = 0;
      for (const byte of content) {
        row = byte === SECRET ? row + 1 : 0;
        if (row === SECRET_BYTES)
          this.#options.fail('memory', 'the device can read what lay in memory before', '');
      }
    }
  }
}
