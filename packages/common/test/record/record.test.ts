/** Records as a caller sees them: what is appended comes back. */

import { BLOCK_BYTES_MAX, RecordWriter } from '@viommu/common/records';
import {
  type RecordFile,
  memoryRecordFile,
  readRecordBlocks,
  readRecords,
} from '@viommu/common/records';
import { IommuError } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fileOf } from './sample.ts';

const whole = (records: readonly unknown[]): object => ({ records, problems: [] });

describe('records', () => {
  it('come back as they were, whatever their shape', () => {
    const leaf = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.double({ noNaN: true }).map((value) => (value === 0 ? 0 : value)),
      fc.string(),
      fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }),
      fc.constantFrom(0n, 1n, 1n << 32n, (1n << 53n) + 1n, (1n << 64n) - 1n),
      fc.uint8Array(),
    );
    const key = fc.stringMatching(/^[a-z]{1,3}$/);
    const { record } = fc.letrec((tie) => ({
      record: fc.oneof(
        { depthSize: 'small' },
        leaf,
        fc.array(tie('record'), { maxLength: 5 }),
        fc.dictionary(key, tie('record'), { maxKeys: 5, noNullPrototype: true }),
      ),
    }));
    const blockBytes = fc.constantFrom(1, 20, 1000);
    fc.assert(
      fc.property(fc.array(record), blockBytes, (records, bytes) => {
        expect(readRecords(fileOf(records, bytes))).toEqual(whole(records));
      }),
      { seed: 12, numRuns: 300 },
    );
  });

  it('of more shapes than msgpack has short ids for come back from one block', () => {
    const shapes = Array.from({ length: 300 }, (_, index) => ({ [`key${index}`]: index, index }));
    const records = [...shapes, ...shapes];
    expect(readRecords(fileOf(records, 1 << 20))).toEqual(whole(records));
  });

  it('have byte arrays of their own, also from a file that deals in Buffers', () => {
    const memory = fileOf([{ bytes: Uint8Array.of(1, 2, 3) }]);
    const file: RecordFile = {
      ...memory,
      read: (position, length) => Buffer.from(memory.read(position, length)),
    };
    const [record] = readRecords(file).records as [{ bytes: Uint8Array }];
    expect(Object.getPrototypeOf(record.bytes)).toBe(Uint8Array.prototype);
    expect(record.bytes.buffer.byteLength).toBe(3);
    expect(memoryRecordFile(Buffer.from(memory.bytes())).bytes()).toEqual(memory.bytes());
  });

  it('none of which were appended are an empty file, and so is a file of no bytes', () => {
    expect(readRecords(fileOf([]))).toEqual(whole([]));
    expect(readRecords(memoryRecordFile())).toEqual(whole([]));
  });

  it('can be appended by one writer after another', () => {
    const file = memoryRecordFile();
    for (const record of [{ a: 1n }, { a: 2n, b: 'x' }, { a: 3n }]) {
      const writer = new RecordWriter(file);
      expect(writer.cut).toBeUndefined();
      writer.append(record);
      writer.flush();
    }
    expect(readRecords(file)).toEqual(whole([{ a: 1n }, { a: 2n, b: 'x' }, { a: 3n }]));
  });

  it('are in the file after a flush, and after that are synced', () => {
    const calls: string[] = [];
    const memory = memoryRecordFile();
    const file: RecordFile = {
      ...memory,
      write(position, bytes) {
        calls.push(`write ${position}`);
        memory.write(position, bytes);
      },
      sync: () => calls.push('sync'),
    };
    const writer = new RecordWriter(file);
    writer.append('one');
    expect(calls).toEqual(['write 0']);
    writer.flush();
    writer.flush();
    expect(calls).toEqual(['write 0', 'write 16', 'sync', 'sync']);
  });
});

describe('blocks', () => {
  it('are written when they have the bytes that were asked for', () => {
    const file = memoryRecordFile();
    const writer = new RecordWriter(file, { blockBytes: 100 });
    for (let count = 0; count < 10; count++) writer.append('x'.repeat(28)); // 30 bytes each
    writer.flush();
    const sizes = Array.from(readRecordBlocks(file), (item) =>
      item.kind === 'block' ? item.records.length : item,
    );
    expect(sizes).toEqual([4, 4, 2]);
  });

  it('are never larger than the limit, and a record that fits none is refused', () => {
    const half = new Uint8Array((BLOCK_BYTES_MAX >> 1) + 1);
    const file = memoryRecordFile();
    const writer = new RecordWriter(file, { blockBytes: BLOCK_BYTES_MAX });
    for (const record of [{ half }, { half }, { end: true }]) writer.append(record);
    const tooLarge = { end: new Uint8Array(BLOCK_BYTES_MAX) };
    expect(() => writer.append(tooLarge)).toThrow(
      expect.objectContaining({ name: 'IommuError', code: 'EOVERFLOW' }),
    );
    writer.append({ end: false });
    writer.flush();
    const expected = [{ half }, { half }, { end: true }, { end: false }];
    const { records, problems } = readRecords(file);
    expect(problems).toEqual([]);
    expect(records.map((record) => Object.keys(record as object))).toEqual(
      expected.map((record) => Object.keys(record)),
    );
  });

  it.each([0, -1, 1.5, BLOCK_BYTES_MAX + 1])('cannot be %d bytes long', (blockBytes) => {
    const open = (): unknown => new RecordWriter(memoryRecordFile(), { blockBytes });
    expect(open).toThrow(IommuError);
    expect(open).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('a writer', () => {
  it('goes on after a value that msgpack cannot hold', () => {
    const file = memoryRecordFile();
    const writer = new RecordWriter(file);
    writer.append({ before: 1 });
    const append = (): void => writer.append({ shape: 1n, seen: 'here first', large: 1n << 64n });
    expect(append).toThrow(expect.objectContaining({ name: 'IommuError', code: 'EINVAL' }));
    // The refused record had this shape; a reader must not miss its definition.
    for (const large of [1n, 2n]) writer.append({ shape: 2n, seen: 'again', large });
    writer.append({ before: 2 });
    writer.flush();
    const again = [1n, 2n].map((large) => ({ shape: 2n, seen: 'again', large }));
    expect(readRecords(file)).toEqual(whole([{ before: 1 }, ...again, { before: 2 }]));
  });

  it('loses nothing when the file fails half-way', () => {
    const memory = memoryRecordFile();
    let failures = 0;
    const file: RecordFile = {
      ...memory,
      write(position, bytes) {
        if (failures > 0) {
          failures--;
          memory.write(position, bytes.subarray(0, bytes.length >> 1));
          throw new Error('disk full');
        }
        memory.write(position, bytes);
      },
    };
    const writer = new RecordWriter(file, { blockBytes: 10 });
    writer.append({ text: 'a long first record' });
    failures = 3;
    expect(() => writer.append({ text: 'refused', more: 1 })).toThrow('disk full');
    expect(() => writer.flush()).toThrow('disk full');
    expect(readRecords(file).problems).toMatchObject([{ kind: 'torn', position: 16 }]);
    expect(() => writer.append({ text: 'refused', more: 1 })).toThrow('disk full');
    writer.append({ text: 'accepted', more: 2 });
    writer.flush();
    const expected = [{ text: 'a long first record' }, { text: 'accepted', more: 2 }];
    expect(readRecords(file)).toEqual(whole(expected));
  });

  it.each([
    ['text', 'a file of text, as anybody has it, for no one to write into\n'],
    ['a short text', 'hello'],
  ])('leaves %s alone', (_, text) => {
    const file = memoryRecordFile(new TextEncoder().encode(text));
    const open = (): unknown => new RecordWriter(file);
    expect(open).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(new TextDecoder().decode(file.bytes())).toBe(text);
  });
});
