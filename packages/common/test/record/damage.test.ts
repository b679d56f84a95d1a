/** Files that a crash, a disk or somebody else has changed: nothing wrong is read, and nothing is lost silently. */

import {
  BLOCK_BYTES_MAX,
  RecordWriter,
  memoryRecordFile,
  readRecordBlocks,
  readRecords,
} from '@viommu/common/records';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fileOf, sampleRecords } from './sample.ts';

const HEADER_BYTES = 16;
const BLOCK_HEADER_BYTES = 24;

interface Extent {
  readonly start: number;
  readonly end: number;
  readonly records: readonly unknown[];
}

/** Where the blocks of a good file lie. */
function extentsOf(bytes: Uint8Array): readonly Extent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from(readRecordBlocks(memoryRecordFile(bytes)), (item) => {
    if (item.kind !== 'block') throw new Error(item.reason);
    const end = item.position + BLOCK_HEADER_BYTES + view.getUint32(item.position + 4, true);
    return { start: item.position, end, records: item.records };
  });
}

/** A block as another program could write it, with both checksums right. */
function forgedBlock(position: number, payload: Uint8Array, length = payload.length): Uint8Array {
  const block = new Uint8Array(BLOCK_HEADER_BYTES + payload.length);
  const view = new DataView(block.buffer);
  block.set([0xc1, 0xb1, 0x0c, 0x6b]);
  view.setUint32(4, length, true);
  view.setBigUint64(8, BigInt(position), true);
  view.setUint32(16, crc32(payload), true);
  view.setUint32(20, crc32(block.subarray(0, 20)), true);
  block.set(payload, BLOCK_HEADER_BYTES);
  return block;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

describe('the format', () => {
  it('is a header of 16 bytes and blocks of 24 bytes and a payload', () => {
    const bytes = fileOf([1]).bytes();
    const magic = [0x89, 0x76, 0x69, 0x6f, 0x6d, 0x6d, 0x75, 0x0a];
    const header = Uint8Array.of(...magic, 1, 0, 0, 0);
    expect(bytes.subarray(0, 12)).toEqual(header);
    expect(new DataView(bytes.buffer).getUint32(12, true)).toBe(crc32(header));
    expect(bytes.subarray(HEADER_BYTES)).toEqual(forgedBlock(16, Uint8Array.of(1)));
  });
});

describe('one changed byte', () => {
  const records = sampleRecords(50);
  const good = fileOf(records, 150).bytes();
  const extents = extentsOf(good);

  /** What must be read with a change at `position`: everything but the block that it is in, and the report of that. */
  function expected(position: number): { records: readonly unknown[]; start: number; end: number } {
    const hit = extents.find(({ start, end }) => position >= start && position < end);
    const rest = extents.filter((extent) => extent !== hit);
    const { start, end } = hit ?? { start: 0, end: HEADER_BYTES };
    return { records: rest.flatMap((extent) => extent.records), start, end };
  }

  it('costs its block and no other, wherever it is', () => {
    expect(extents.length).toBeGreaterThan(8);
    const wrong: number[] = [];
    for (let position = 0; position < good.length; position++) {
      const bytes = good.slice();
      bytes[position] = (bytes[position] ?? 0) ^ (1 + ((position * 7) % 255));
      const contents = readRecords(memoryRecordFile(bytes));
      const { records: left, start, end } = expected(position);
      const [problem] = contents.problems;
      const isReported =
        contents.problems.length === 1 &&
        problem?.kind === 'damaged' &&
        problem.position === start &&
        problem.length === end - start;
      if (!isReported || !isDeepStrictEqual(contents.records, left)) wrong.push(position);
    }
    expect(wrong).toEqual([]);
  });

  it('in a block does not hinder appending, and in the file header it does', () => {
    const positions = fc.nat(good.length - 1);
    fc.assert(
      fc.property(positions, fc.integer({ min: 1, max: 255 }), (position, mask) => {
        const bytes = good.slice();
        bytes[position] = (bytes[position] ?? 0) ^ mask;
        const file = memoryRecordFile(bytes);
        let outcome = 'refused';
        try {
          const writer = new RecordWriter(file);
          writer.append('after');
          writer.flush();
          outcome = writer.cut === undefined ? 'appended' : 'cut';
        } catch {}
        const isHeader = position < HEADER_BYTES;
        expect(outcome).toBe(isHeader ? 'refused' : 'appended');
        expect(file.bytes().subarray(0, bytes.length)).toEqual(bytes);
        const added = isHeader ? [] : ['after'];
        expect(readRecords(file).records).toEqual([...expected(position).records, ...added]);
      }),
      { seed: 13, numRuns: 150 },
    );
  });
});

describe('a file that was cut off', () => {
  const good = fileOf(sampleRecords(16), 100).bytes();
  const extents = extentsOf(good);

  it('at any length has its whole blocks, is reported, and can be appended to', () => {
    const wrong: number[] = [];
    for (let length = 0; length <= good.length; length++) {
      const whole = extents.filter(({ end }) => end <= length);
      const records = whole.flatMap((extent) => extent.records);
      const boundary = whole.at(-1)?.end ?? (length < HEADER_BYTES ? 0 : HEADER_BYTES);
      const torn = { kind: 'torn', position: boundary, length: length - boundary };

      const file = memoryRecordFile(good.subarray(0, length));
      const before = readRecords(file);
      const writer = new RecordWriter(file);
      writer.append('after');
      writer.flush();
      const after = readRecords(file);

      const [problem, ...more] = before.problems;
      const isReported =
        boundary === length
          ? problem === undefined && writer.cut === undefined
          : isDeepStrictEqual({ ...torn, reason: problem?.reason }, problem) &&
            isDeepStrictEqual(writer.cut, problem) &&
            more.length === 0;
      const isRead =
        isDeepStrictEqual(before.records, records) &&
        isDeepStrictEqual(after, { records: [...records, 'after'], problems: [] });
      if (!isReported || !isRead) wrong.push(length);
    }
    expect(extents.length).toBeGreaterThan(3);
    expect(wrong).toEqual([]);
  });

  it('and is also damaged before that has both reported', () => {
    const bytes = good.slice(0, -1);
    const [first, second] = extents;
    bytes[second?.start ?? 0] = 0;
    const { records, problems } = readRecords(memoryRecordFile(bytes));
    expect(records).toEqual(
      extents.slice(0, -1).flatMap((extent) => (extent === second ? [] : extent.records)),
    );
    expect(problems).toMatchObject([
      { kind: 'damaged', position: first?.end, reason: 'no block begins here' },
      { kind: 'torn', position: extents.at(-1)?.start, reason: 'a block ends in its payload' },
    ]);
  });

  it('whose missing end reads as zeros has them reported as damage, and nothing is cut', () => {
    const start = extents.at(-1)?.start ?? 0;
    const bytes = good.slice().fill(0, start);
    const file = memoryRecordFile(bytes);
    const damage = { kind: 'damaged', position: start, length: bytes.length - start };
    expect(readRecords(file).problems).toMatchObject([damage]);
    const writer = new RecordWriter(file);
    writer.append('after');
    writer.flush();
    expect(writer.cut).toBeUndefined();
    expect(readRecords(file).problems).toMatchObject([damage]);
    expect(readRecords(file).records.at(-1)).toBe('after');
  });
});

describe('a file from a stranger', () => {
  const header = fileOf([]).bytes();

  it('of a later version is not guessed at', () => {
    const bytes = fileOf(sampleRecords(3)).bytes();
    bytes[8] = 2;
    new DataView(bytes.buffer).setUint32(12, crc32(bytes.subarray(0, 12)), true);
    const reason = 'version 2 of the format is not known, only 1';
    expect(readRecords(memoryRecordFile(bytes))).toEqual({
      records: [],
      problems: [{ kind: 'damaged', position: 0, length: bytes.length, reason }],
    });
    const open = (): unknown => new RecordWriter(memoryRecordFile(bytes));
    expect(open).toThrow(`Nothing can be appended: ${reason}.`);
  });

  it('with a file of records inside a record yields the record only, damaged or not', () => {
    const inner = fileOf([{ stolen: true }]).bytes();
    const bytes = fileOf([{ inner }, 'next'], 1).bytes();
    expect(readRecords(memoryRecordFile(bytes)).records).toEqual([{ inner }, 'next']);
    bytes[HEADER_BYTES] = 0;
    expect(readRecords(memoryRecordFile(bytes))).toMatchObject({
      records: ['next'],
      problems: [{ kind: 'damaged', position: HEADER_BYTES }],
    });
  });

  it('with a block moved to another place has it reported', () => {
    const bytes = fileOf(['a', 'b'], 1).bytes();
    const [a, b] = extentsOf(bytes);
    const swapped = join(
      header,
      bytes.subarray(b?.start, b?.end),
      bytes.subarray(a?.start, a?.end),
    );
    expect(readRecords(memoryRecordFile(swapped))).toMatchObject({
      records: [],
      problems: [
        { kind: 'damaged', position: HEADER_BYTES, length: swapped.length - HEADER_BYTES },
      ],
    });
  });

  it('with a longer block than is allowed is not read into memory', () => {
    const block = forgedBlock(HEADER_BYTES, new Uint8Array(8), BLOCK_BYTES_MAX + 1);
    const asked: number[] = [];
    const memory = memoryRecordFile(join(header, block));
    const file = {
      ...memory,
      read(position: number, length: number) {
        asked.push(length);
        return memory.read(position, length);
      },
    };
    expect(readRecords(file).problems).toMatchObject([{ kind: 'damaged', length: 32 }]);
    expect(Math.max(...asked)).toBeLessThan(100);
  });

  it.each<[string, Uint8Array]>([
    ['nested too deep', new Uint8Array(BLOCK_BYTES_MAX).fill(0x91)],
    ['an array of 2^32 - 1 values', Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a map of 2^32 - 1 values', Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff)],
    ['a string of 2^32 - 1 bytes', Uint8Array.of(0xdb, 0xff, 0xff, 0xff, 0xff, 0x61)],
    ['bytes of which some are missing', Uint8Array.of(0x01, 0xc4, 0x03, 0x01)],
  ])('whose payload is %s has that block reported, and the next one read', (_, payload) => {
    const block = forgedBlock(HEADER_BYTES, payload);
    const next = forgedBlock(HEADER_BYTES + block.length, Uint8Array.of(0x07));
    const bytes = new Uint8Array(HEADER_BYTES + block.length + next.length);
    bytes.set(header);
    bytes.set(block, HEADER_BYTES);
    bytes.set(next, HEADER_BYTES + block.length);
    expect(readRecords(memoryRecordFile(bytes))).toMatchObject({
      records: [7],
      problems: [
        {
          kind: 'damaged',
          position: HEADER_BYTES,
          length: block.length,
          reason: expect.stringContaining('the payload is not msgpack'),
        },
      ],
    });
  });

  it('with a payload of no bytes has no record in it', () => {
    const block = forgedBlock(HEADER_BYTES, new Uint8Array(0));
    expect(readRecords(memoryRecordFile(join(header, block)))).toEqual({
      records: [],
      problems: [],
    });
  });

  it('with junk before its last block has the junk reported, and no more', () => {
    const junk = new Uint8Array(5).fill(0xc1);
    const block = forgedBlock(HEADER_BYTES + junk.length, new Uint8Array(0));
    const { problems } = readRecords(memoryRecordFile(join(header, junk, block)));
    expect(problems).toMatchObject([{ position: HEADER_BYTES, length: junk.length }]);
    expect(problems).toHaveLength(1);
  });

  it('cannot reach the prototype of objects', () => {
    // A record of one key, __proto__, with a record of one key, x, in it.
    const proto = [0xd4, 0x72, 0x40, 0x91, 0xa9, ...Buffer.from('__proto__')];
    const payload = Uint8Array.of(...proto, 0xd4, 0x72, 0x41, 0x91, 0xa1, 0x78, 0x01);
    const [record] = readRecords(memoryRecordFile(join(header, forgedBlock(HEADER_BYTES, payload))))
      .records as [object];
    expect(Object.getPrototypeOf(record)).toBe(Object.prototype);
    expect(Object.entries(record)).toEqual([['__proto_', { x: 1 }]]);
  });

  it('of any bytes is reported from end to end', () => {
    const marker = fc.constant([0xc1, 0xb1, 0x0c, 0x6b]);
    const noise = fc
      .array(fc.oneof(fc.array(fc.nat(255)), marker), { maxLength: 30 })
      .map((parts) => Uint8Array.from(parts.flat()));
    fc.assert(
      fc.property(noise, fc.boolean(), (bytes, hasHeader) => {
        const file = memoryRecordFile(hasHeader ? join(header, bytes) : bytes);
        let at = hasHeader ? HEADER_BYTES : 0;
        const { records, problems } = readRecords(file);
        for (const problem of problems) {
          expect(problem.position).toBe(at);
          at += problem.length;
        }
        expect(at).toBe(file.size());
        expect(records).toEqual([]);
      }),
      { seed: 14, numRuns: 500 },
    );
  });

  it('with much damage takes time that grows no faster than its size', () => {
    const bytes = new Uint8Array(1 << 20).fill(0xc1);
    bytes.set(header);
    const next = forgedBlock(bytes.length, Uint8Array.of(0x07));
    let asked = 0;
    const memory = memoryRecordFile();
    memory.write(0, bytes);
    memory.write(bytes.length, next);
    const file = {
      ...memory,
      read(position: number, length: number) {
        asked += length;
        return memory.read(position, length);
      },
    };
    expect(readRecords(file).records).toEqual([7]);
    expect(asked).toBeLessThan(1.01 * bytes.length);
  });

  it('that shrinks while it is read ends the reading with an error', () => {
    const memory = fileOf([1]);
    const file = { ...memory, size: () => memory.size() + 100 };
    const read = (): unknown => readRecords(file);
    expect(read).toThrow(expect.objectContaining({ name: 'IommuError', code: 'EIO' }));
  });
});

describe('crc32', () => {
  it('is the one that zlib has', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (payload) => {
        const bytes = fileOf([payload]).bytes();
        const stored = new DataView(bytes.buffer).getUint32(HEADER_BYTES + 16, true);
        expect(stored).toBe(crc32(bytes.subarray(HEADER_BYTES + BLOCK_HEADER_BYTES)));
      }),
      { seed: 15 },
    );
  });
});
