/**
 * How blocks of records lie in a file: a file header, then blocks, each a header and its payload.
 *
 * A block's header has a checksum of its own, so that a length can be believed before the payload is there: a block
 * that is whole but for its end was torn off while it was written, and anything else that is wrong is damage. It also
 * names its own position, so that a search after damage never takes bytes inside a payload for a block.
 */

import { type Struct, struct } from '../wire/struct.ts';
import { crc32 } from './crc32.ts';
import { type RecordFile, readWhole } from './file.ts';

/** The most bytes in a block's payload, and so in a record: what a reader must be ready to hold in memory. */
export const BLOCK_BYTES_MAX: number = 1 << 20;

/** Something in a file that is no whole block. */
export interface RecordProblem {
  /** `torn`: the end of the file is missing, as after a crash. `damaged`: what was written has changed. */
  readonly kind: 'torn' | 'damaged';
  /** Where it begins and how many bytes it has. */
  readonly position: number;
  readonly length: number;
  /** What is wrong, in a phrase. */
  readonly reason: string;
}

/** A block whose header is in order; nothing is known of its payload yet. */
export interface Frame {
  readonly kind: 'frame';
  readonly position: number;
  readonly payloadLength: number;
  readonly payloadCrc: number;
}

const fileFields = { magic: 'u8[8]', version: 'le32', headerCrc: 'le32' } as const;
const FileHeader: Struct<typeof fileFields> = struct('viommu_record_file', 16, fileFields);

const blockFields = {
  marker: 'le32',
  payloadLength: 'le32',
  position: 'le64',
  payloadCrc: 'le32',
  headerCrc: 'le32',
} as const;
const BlockHeader: Struct<typeof blockFields> = struct('viommu_record_block', 24, blockFields);

/** `viommu` between a byte that is no text and a line end, which careless copying would change. */
const MAGIC = Uint8Array.of(0x89, 0x76, 0x69, 0x6f, 0x6d, 0x6d, 0x75, 0x0a);
const VERSION = 1;
/** Begins a block. Its first byte is the one that msgpack never uses, so that payloads seldom look like it. */
const MARKER = 0x6b0c_b1c1;
const SEARCH_BYTES = 1 << 16;

/** True if a file that begins with these bytes, at least 8 of them, is one of records; whole or not. */
export function isRecordFile(start: Uint8Array): boolean {
  return startsWith(start, MAGIC);
}

/** The bytes that a file of records begins with. */
export function encodeFileHeader(): Uint8Array {
  return sealed(FileHeader.encode({ magic: MAGIC, version: VERSION, headerCrc: 0 }));
}

/** A block that holds `payload`, to be written at `position`. */
export function encodeBlock(position: number, payload: Uint8Array): Uint8Array {
  const block = new Uint8Array(BlockHeader.size + payload.length);
  const header = BlockHeader.encode({
    marker: MARKER,
    payloadLength: payload.length,
    position: BigInt(position),
    payloadCrc: crc32(payload),
    headerCrc: 0,
  });
  block.set(sealed(header));
  block.set(payload, header.length);
  return block;
}

/** Where a block ends. */
export function endOf(frame: Frame): number {
  return frame.position + BlockHeader.size + frame.payloadLength;
}

/** The payload of a block as it stands in the file; `undefined` if its checksum is wrong. */
export function readPayload(file: RecordFile, frame: Frame): Uint8Array | undefined {
  const payload = readWhole(file, frame.position + BlockHeader.size, frame.payloadLength);
  return crc32(payload) === frame.payloadCrc ? payload : undefined;
}

/** Everything in the file from its start to its end: blocks and problems. The time is linear in the file's size. */
export function* walk(file: RecordFile): Generator<Frame | RecordProblem, void, undefined> {
  const size = file.size();
  if (size === 0) return;
  const wrong = checkFileHeader(file, size);
  if (wrong !== undefined) yield wrong;

  let at = wrong === undefined ? FileHeader.size : wrong.length;
  while (at < size) {
    const left = size - at;
    if (left < BlockHeader.size) {
      yield { kind: 'torn', position: at, length: left, reason: 'a block ends in its header' };
      return;
    }
    const frame = parseBlockHeader(readWhole(file, at, BlockHeader.size), at);
    if (frame === undefined) {
      const next = findBlock(file, at + 1, size);
      yield { kind: 'damaged', position: at, length: next - at, reason: 'no block begins here' };
      at = next;
    } else if (endOf(frame) > size) {
      yield { kind: 'torn', position: at, length: left, reason: 'a block ends in its payload' };
      return;
    } else {
      yield frame;
      at = endOf(frame);
    }
  }
}

/** What is wrong with the start of a file that is not empty. */
function checkFileHeader(file: RecordFile, size: number): RecordProblem | undefined {
  const expected = encodeFileHeader();
  const length = Math.min(FileHeader.size, size);
  const header = readWhole(file, 0, length);
  if (startsWith(expected, header)) {
    if (length === FileHeader.size) return undefined;
    return { kind: 'torn', position: 0, length, reason: 'the file ends in its header' };
  }
  if (length === FileHeader.size && startsWith(header, MAGIC) && isSealed(header)) {
    const { version } = FileHeader.read(viewOf(header));
    const reason = `version ${version} of the format is not known, only ${VERSION}`;
    return { kind: 'damaged', position: 0, length: size, reason };
  }
  const reason = 'the file header is damaged, or the file holds no records';
  return { kind: 'damaged', position: 0, length, reason };
}

function startsWith(whole: Uint8Array, start: Uint8Array): boolean {
  return start.every((byte, index) => byte === whole[index]);
}

/** The block whose header `bytes` are, if they are one that was written for this position. */
function parseBlockHeader(bytes: Uint8Array, position: number): Frame | undefined {
  const header = BlockHeader.read(viewOf(bytes));
  if (header.marker !== MARKER || header.position !== BigInt(position)) return undefined;
  if (header.payloadLength > BLOCK_BYTES_MAX || !isSealed(bytes)) return undefined;
  const { payloadLength, payloadCrc } = header;
  return { kind: 'frame', position, payloadLength, payloadCrc };
}

/** The position of the first block header at or after `from`; `size` if there is none. */
function findBlock(file: RecordFile, from: number, size: number): number {
  const last = size - BlockHeader.size;
  // Pieces overlap by a header less one byte, so that each position is looked at once.
  for (let start = from; start <= last; start += SEARCH_BYTES) {
    const count = Math.min(SEARCH_BYTES, last + 1 - start);
    const bytes = readWhole(file, start, count + BlockHeader.size - 1);
    const view = viewOf(bytes);
    for (let at = 0; at < count; at++) {
      if (view.getUint32(at, true) !== MARKER) continue;
      const header = bytes.subarray(at, at + BlockHeader.size);
      if (parseBlockHeader(header, start + at) !== undefined) return start + at;
    }
  }
  return size;
}

/** Puts the checksum of a header into its last four bytes. */
function sealed(header: Uint8Array): Uint8Array {
  viewOf(header).setUint32(header.length - 4, checksum(header), true);
  return header;
}

function isSealed(header: Uint8Array): boolean {
  return viewOf(header).getUint32(header.length - 4, true) === checksum(header);
}

function checksum(header: Uint8Array): number {
  return crc32(header.subarray(0, -4));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
