/** Appends records to a file so that a crash loses nothing but what was not flushed. */

import { Packr } from 'msgpackr';
import { IommuError } from '../error.ts';
import type { RecordFile } from './file.ts';
import {
  BLOCK_BYTES_MAX,
  type RecordProblem,
  encodeBlock,
  encodeFileHeader,
  walk,
} from './frame.ts';

/** How a writer works. */
export interface RecordWriterOptions {
  /** A block is written when its records have this many bytes; 1..{@link BLOCK_BYTES_MAX}, 65,536 if not given. */
  readonly blockBytes?: number;
}

const BLOCK_BYTES = 1 << 16;

/**
 * Appends records to a new or an existing file; one writer at a time.
 *
 * A record is what msgpack holds: null, booleans, numbers, strings, bigints of 64 bits, byte arrays, and arrays and
 * plain objects of these.
 */
export class RecordWriter {
  /** The torn end that was cut off when the file was opened. */
  readonly cut: RecordProblem | undefined;
  readonly #file: RecordFile;
  readonly #blockBytes: number;
  #packer = packer();
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #end: number;

  /**
   * Opens the file: writes a header if it is empty, and cuts off a torn end. Damage is left alone, for readers to
   * report.
   *
   * @throws {IommuError} `EINVAL` if the file does not begin as a file of records, or an option is out of range.
   */
  constructor(file: RecordFile, options: RecordWriterOptions = {}) {
    const { blockBytes = BLOCK_BYTES } = options;
    if (!Number.isInteger(blockBytes) || blockBytes < 1 || blockBytes > BLOCK_BYTES_MAX)
      throw new IommuError('EINVAL', `A block of ${blockBytes} bytes is outside 1..2^20.`);
    this.#file = file;
    this.#blockBytes = blockBytes;

    let end = file.size();
    for (const item of walk(file)) {
      if (item.kind === 'damaged' && item.position === 0)
        throw new IommuError('EINVAL', `Nothing can be appended: ${item.reason}.`);
      if (item.kind !== 'torn') continue;
      this.cut = item;
      end = item.position;
      file.truncate(end);
    }
    if (end === 0) {
      const header = encodeFileHeader();
      file.write(0, header);
      end = header.length;
    }
    this.#end = end;
  }

  /**
   * Adds a record; when there are enough for a block, they are written first.
   *
   * @throws {IommuError} `EINVAL` if the value cannot be stored, `EOVERFLOW` if it takes more than
   * {@link BLOCK_BYTES_MAX} bytes; and whatever the file throws. The record is not added then, and all before it are
   * still to be written.
   */
  append(record: unknown): void {
    if (this.#pendingBytes >= this.#blockBytes) this.#write();
    let bytes = this.#pack(record);
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes.length > BLOCK_BYTES_MAX) {
      this.#packer = packer();
      this.#write();
      bytes = this.#pack(record);
    }
    if (bytes.length > BLOCK_BYTES_MAX) {
      this.#packer = packer();
      throw new IommuError('EOVERFLOW', `A record of ${bytes.length} bytes fits no block.`);
    }
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  /** Writes what was appended, and returns when it would survive a loss of power. */
  flush(): void {
    this.#write();
    this.#file.sync();
  }

  #write(): void {
    if (this.#pendingBytes === 0) return;
    const payload = new Uint8Array(this.#pendingBytes);
    let at = 0;
    for (const bytes of this.#pending) {
      payload.set(bytes, at);
      at += bytes.length;
    }
    const block = encodeBlock(this.#end, payload);
    // A write that fails may leave a part of the block, over which the next attempt goes.
    this.#file.write(this.#end, block);
    this.#end += block.length;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#packer = packer();
  }

  /** A packer that packed something that is dropped is dropped too: later records would lack its definitions. */
  #pack(record: unknown): Uint8Array {
    try {
      return this.#packer.pack(record);
    } catch (cause) {
      this.#packer = packer();
      throw new IommuError('EINVAL', 'The record holds a value that msgpack cannot.', { cause });
    }
  }
}

/** An encoder for one block. msgpackr keeps state in the options object it gets, so each has its own. */
function packer(): Packr {
  return new Packr({ useRecords: true, sequential: true, int64AsType: 'bigint' });
}
