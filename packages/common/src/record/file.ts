/** The file that records lie in, as far as they need one; a shell puts a real one behind it. */

import { IommuError } from '../error.ts';

/** Bytes with positions from 0. All calls are synchronous and throw what their system throws. */
export interface RecordFile {
  /** The size in bytes. */
  size(): number;
  /** The bytes from `position`; fewer than `length` only where the file ends. */
  read(position: number, length: number): Uint8Array;
  /** Writes all of `bytes` at `position`, which is never beyond the end. */
  write(position: number, bytes: Uint8Array): void;
  /** Drops what lies beyond `size`. */
  truncate(size: number): void;
  /** Returns when what was written would survive a loss of power. */
  sync(): void;
}

/** A file in memory, for tests and for pages without a disk. */
export interface MemoryRecordFile extends RecordFile {
  /** A copy of what the file holds. */
  bytes(): Uint8Array<ArrayBuffer>;
}

/** Makes a file in memory that holds a copy of `content`. */
export function memoryRecordFile(content: Uint8Array = new Uint8Array(0)): MemoryRecordFile {
  let size = content.length;
  let store = new Uint8Array(content); // a copy, which `slice` of a Buffer would not be
  return {
    size: () => size,
    read: (position, length) => store.slice(position, Math.min(position + length, size)),
    write(position, bytes) {
      const end = position + bytes.length;
      if (end > store.length) {
        const larger = new Uint8Array(Math.max(end, 2 * store.length));
        larger.set(store.subarray(0, size));
        store = larger;
      }
      store.set(bytes, position);
      size = Math.max(size, end);
    },
    truncate(to) {
      size = Math.min(size, to);
    },
    sync() {},
    bytes: () => Uint8Array.from(store.subarray(0, size)),
  };
}

/**
 * Reads bytes that lie within the file's size.
 *
 * @throws {IommuError} `EIO` if the file has become shorter.
 */
export function readWhole(file: RecordFile, position: number, length: number): Uint8Array {
  const bytes = file.read(position, length);
  // Node's Buffer is a Uint8Array whose methods differ; what is read here has no such surprises.
  if (bytes.length === length) return new Uint8Array(bytes.buffer, bytes.byteOffset, length);
  throw new IommuError('EIO', `The record file lost the ${length} bytes at ${position}.`);
}
