import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RecordWriter, readRecords } from '@viommu/common/records';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeRecordFile } from '../src/record-file.ts';

describe('record file', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'viommu-record-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('keeps records from one writer to the next', () => {
    const path = join(folder, 'a.records');
    for (const value of [1, 2]) {
      using file = nodeRecordFile(path);
      const writer = new RecordWriter(file);
      writer.append({ value, wide: 0xffff_ffff_ffff_ffffn });
      writer.flush();
    }
    using file = nodeRecordFile(path, { access: 'read' });
    expect(readRecords(file)).toMatchObject({
      records: [
        { value: 1, wide: 0xffff_ffff_ffff_ffffn },
        { value: 2, wide: 0xffff_ffff_ffff_ffffn },
      ],
      problems: [],
    });
  });

  it('reads, writes and cuts bytes at any position', () => {
    const path = join(folder, 'b');
    writeFileSync(path, 'abcdef');
    using file = nodeRecordFile(path);
    expect(file.size()).toBe(6);
    expect(text(file.read(2, 3))).toBe('cde');
    expect(text(file.read(4, 100))).toBe('ef');
    expect(text(file.read(9, 1))).toBe('');
    file.write(1, Buffer.from('XY'));
    file.write(6, Buffer.from('gh'));
    file.sync();
    expect(readFileSync(path, 'utf8')).toBe('aXYdefgh');
    file.truncate(3);
    expect(readFileSync(path, 'utf8')).toBe('aXY');
  });

  it('says that a file cannot be opened', () => {
    const missing = join(folder, 'missing');
    expect(() => nodeRecordFile(missing, { access: 'read' })).toThrow(
      expect.objectContaining({
        code: 'ENOENT',
        cause: expect.objectContaining({ code: 'ENOENT' }),
      }),
    );
  });
});

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
