/** A disk in memory: for tests, and to measure everything but storage. */

import { IommuError } from '@viommu/common';
import type { DiskBacking } from './backing.ts';
import { SECTOR_BYTES } from './spec/identity.ts';

/** Keeps the bytes of a disk in an array. */
export class MemoryBacking implements DiskBacking {
  readonly bytes: Uint8Array;
  /** How often {@link flush} was called. */
  flushes = 0;

  /** @throws {IommuError} `EINVAL` if the bytes are not whole sectors. */
  constructor(bytes: Uint8Array) {
    if (bytes.length % SECTOR_BYTES !== 0)
      throw new IommuError('EINVAL', `A disk of ${bytes.length} bytes is not whole sectors.`);
    this.bytes = bytes;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offset: number, pieces: readonly Uint8Array[]): boolean {
    let at = offset;
    for (const piece of pieces) {
      piece.set(this.bytes.subarray(at, at + piece.length));
      at += piece.length;
    }
    return true;
  }

  write(offset: number, pieces: readonly Uint8Array[]): boolean {
    let at = offset;
    for (const piece of pieces) {
      this.bytes.set(piece, at);
      at += piece.length;
    }
    return true;
  }

  flush(): boolean {
    this.flushes += 1;
    return true;
  }

  /** Keeps the bytes: what is there afterwards is anybody's guess, and nothing is the cheapest. */
  discard(): boolean {
    return true;
  }

  writeZeroes(offset: number, sizeBytes: number): boolean {
    this.bytes.fill(0, offset, offset + sizeBytes);
    return true;
  }
}
