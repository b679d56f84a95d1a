/** Reads a file of records, and says of every byte that is no record why it is none. */

import { Unpackr } from 'msgpackr';
import type { RecordFile } from './file.ts';
import { type Frame, type RecordProblem, endOf, readPayload, walk } from './frame.ts';

/** The records of one block, in the order in which they were appended. */
export interface RecordBlock {
  readonly kind: 'block';
  readonly position: number;
  readonly records: readonly unknown[];
}

/** A whole file, read. */
export interface RecordContents {
  /** All records that are as they were written. */
  readonly records: readonly unknown[];
  /** Everything else, in the order of the file; none if the file is whole. */
  readonly problems: readonly RecordProblem[];
}

/**
 * Reads the blocks of a file one after another, with at most one in memory.
 *
 * A damaged block is reported in its place, and reading goes on with the next good one. Records are data: who reads a
 * file that others could write checks their shape.
 *
 * @throws {IommuError} `EIO` if the file becomes shorter meanwhile.
 */
export function* readRecordBlocks(
  file: RecordFile,
): Generator<RecordBlock | RecordProblem, void, undefined> {
  for (const item of walk(file)) yield item.kind === 'frame' ? readBlock(file, item) : item;
}

/** Reads a file at once; for files that fit in memory. */
export function readRecords(file: RecordFile): RecordContents {
  const records: unknown[] = [];
  const problems: RecordProblem[] = [];
  for (const item of readRecordBlocks(file)) {
    if (item.kind === 'block') for (const record of item.records) records.push(record);
    else problems.push(item);
  }
  return { records, problems };
}

function readBlock(file: RecordFile, frame: Frame): RecordBlock | RecordProblem {
  const payload = readPayload(file, frame);
  if (payload === undefined) return damaged(frame, 'the payload does not match its checksum');
  const records: unknown[] = [];
  // The decoder has no end for a payload without a value.
  if (payload.length === 0) return { kind: 'block', position: frame.position, records };
  try {
    unpacker().unpackMultiple(payload, (record: unknown) => {
      records.push(record);
    });
  } catch (error) {
    // Only a block that another program made gets here: the checksum held.
    return damaged(frame, `the payload is not msgpack: ${String(error)}`);
  }
  return { kind: 'block', position: frame.position, records };
}

function damaged(frame: Frame, reason: string): RecordProblem {
  const { position } = frame;
  return { kind: 'damaged', position, length: endOf(frame) - position, reason };
}

/** A decoder for one block, since each block carries its own definitions; with options of its own, as the encoder. */
function unpacker(): Unpackr {
  const options = {
    useRecords: true,
    sequential: true,
    int64AsType: 'bigint',
    // Views into the payload would keep all of it in memory.
    copyBuffers: true,
    // Files come from anywhere; `sequential` alone would trust them.
    trusted: false,
  } as const;
  return new Unpackr(options);
}
