/** A file of records on Node: what `@viommu/common/records` needs of one. */

import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { IommuError } from '@viommu/common';
import type { RecordFile } from '@viommu/common/records';

/** A file that is open until it is closed. */
export interface NodeRecordFile extends RecordFile, Disposable {
  close(): void;
}

export interface NodeRecordFileOptions {
  /** To read what is there, or (if not given) to write too, in a file that is made if there is none. */
  readonly access?: 'read' | 'write';
}

/**
 * Opens a file of records.
 *
 * @throws {IommuError} `ENOENT` if it cannot be opened; the cause says why.
 */
export function nodeRecordFile(
  path: string | URL,
  { access = 'write' }: NodeRecordFileOptions = {},
): NodeRecordFile {
  const flags = access === 'read' ? constants.O_RDONLY : constants.O_RDWR | constants.O_CREAT;
  let file: number;
  try {
    file = openSync(path, flags, 0o666);
  } catch (error) {
    throw new IommuError('ENOENT', `The record file ${String(path)} cannot be opened.`, {
      cause: error,
    });
  }
  let open = true;
  const close = (): void => {
    if (open) closeSync(file);
    open = false;
  };
  return {
    size: () => fstatSync(file).size,
    read(position, length) {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, fstatSync(file).size - position)));
      const done = transfer(bytes.length, (at, rest) =>
        readSync(file, bytes, at, rest, position + at),
      );
      return bytes.subarray(0, done);
    },
    write(position, bytes) {
      const done = transfer(bytes.length, (at, rest) =>
        writeSync(file, bytes, at, rest, position + at),
      );
      if (done < bytes.length)
        throw new IommuError('ENOSPC', `The record file ${String(path)} takes no more bytes.`);
    },
    truncate: (size) => ftruncateSync(file, size),
    sync: () => fdatasyncSync(file),
    close,
    [Symbol.dispose]: close,
  };
}

/** Repeats `step` until `length` bytes are done or it does none. */
function transfer(length: number, step: (at: number, rest: number) => number): number {
  let done = 0;
  while (done < length) {
    const bytes = step(done, length - done);
    if (bytes === 0) break;
    done += bytes;
  }
  return done;
}
