/** A disk in a file, for Node. */

import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from 'node:fs';
import type { DiskBacking } from '@viommu/blk';
import { IommuError } from '@viommu/common';

/** Sectors are what a disk is made of. */
const SECTOR_BYTES = 512;
const ZERO_BYTES = 1 << 16;

/** A file of fixed size. */
export class FileBacking implements DiskBacking {
  readonly sizeBytes: number;
  readonly #file: number;
  readonly #zeros: Uint8Array = new Uint8Array(ZERO_BYTES);

  /**
   * Opens a file, made and grown to `sizeBytes` if need be; without a size it has to be there.
   *
   * @throws {IommuError} `ENOENT` if there is none, `EINVAL` if it is no disk, `EIO` if it cannot be used.
   */
  constructor(path: string, sizeBytes?: number) {
    try {
      const made = sizeBytes === undefined ? 0 : constants.O_CREAT;
      this.#file = openSync(path, constants.O_RDWR | made);
      if (sizeBytes !== undefined && fstatSync(this.#file).size < sizeBytes)
        ftruncateSync(this.#file, sizeBytes);
      this.sizeBytes = sizeBytes ?? fstatSync(this.#file).size;
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'; // Of the file system.
      const text = `The disk ${path} cannot be opened.`;
      throw new IommuError(missing ? 'ENOENT' : 'EIO', text, { cause: error });
    }
    if (this.sizeBytes === 0 || this.sizeBytes % SECTOR_BYTES !== 0) {
      closeSync(this.#file);
      throw new IommuError('EINVAL', `The disk ${path} does not consist of sectors of 512 bytes.`);
    }
  }

  read(offset: number, pieces: readonly Uint8Array[], sizeBytes: number): boolean {
    // A file that fails is the disk's failure, not the machine's: here and below.
    try {
      const first = pieces[0]; // Not by destructuring, which makes an iterator.
      // One piece costs half of what a list of one does.
      return first !== undefined && pieces.length === 1
        ? readSync(this.#file, first, 0, sizeBytes, offset) === sizeBytes
        : readvSync(this.#file, pieces, offset) === sizeBytes;
    } catch {
      return false;
    }
  }

  write(offset: number, pieces: readonly Uint8Array[], sizeBytes: number): boolean {
    try {
      const first = pieces[0]; // Not by destructuring, which makes an iterator.
      return first !== undefined && pieces.length === 1
        ? writeSync(this.#file, first, 0, sizeBytes, offset) === sizeBytes
        : writevSync(this.#file, pieces, offset) === sizeBytes;
    } catch {
      return false;
    }
  }

  flush(): boolean {
    return this.#try(() => {
      fdatasyncSync(this.#file);
      return true;
    });
  }

  /** The bytes stay: nobody reads them. */
  discard(): boolean {
    return true;
  }

  writeZeroes(offset: number, sizeBytes: number): boolean {
    return this.#try(() => {
      for (let done = 0; done < sizeBytes;) {
        const bytes = Math.min(ZERO_BYTES, sizeBytes - done);
        if (writevSync(this.#file, [this.#zeros.subarray(0, bytes)], offset + done) !== bytes)
          return false;
        done += bytes;
      }
      return true;
    });
  }

  close(): void {
    closeSync(this.#file);
  }

  #try(access: () => boolean): boolean {
    try {
      return access();
    } catch {
      return false;
    }
  }
}
