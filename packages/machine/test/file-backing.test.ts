import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileBacking } from '../src/disk/file-backing.ts';

const SECTOR = 512;
const SECTORS = 16;

/** Bytes of shared memory, as a guest's are. */
function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length)).fill(value);
}

describe('a disk in a file', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'viommu-file-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string): string => join(folder, name);

  it.each([1, 3])('writes and reads %i pieces where they belong', (count) => {
    const backing = new FileBacking(path(`pieces-${count}`), SECTORS * SECTOR);
    const pieces = Array.from({ length: count }, (_, index) => bytes(SECTOR, index + 1));
    expect(backing.write(5 * SECTOR, pieces, count * SECTOR)).toBe(true);
    const content = readFileSync(path(`pieces-${count}`));
    const expected = new Uint8Array(SECTORS * SECTOR);
    for (let index = 0; index < count; index += 1)
      expected.fill(index + 1, (5 + index) * SECTOR, (6 + index) * SECTOR);
    expect(new Uint8Array(content)).toEqual(expected);

    const back = Array.from({ length: count }, () => bytes(SECTOR, 0xff));
    expect(backing.read(5 * SECTOR, back, count * SECTOR)).toBe(true);
    expect(back).toEqual(pieces);
    backing.close();
  });

  it('writes zeros, also more of them than it has at hand', () => {
    const size = 1 << 18;
    const backing = new FileBacking(path('zeros'), size);
    backing.write(0, [bytes(size, 7)], size);
    expect(backing.writeZeroes(SECTOR, size - 2 * SECTOR)).toBe(true);
    const content = readFileSync(path('zeros'));
    expect(content.indexOf(0)).toBe(SECTOR);
    expect(content.lastIndexOf(0)).toBe(size - SECTOR - 1);
    expect([backing.flush(), backing.discard()]).toEqual([true, true]);
    backing.close();
  });

  it.each([1, 2])('says so when storage fails (%i pieces)', (count) => {
    const backing = new FileBacking(path('broken'), SECTORS * SECTOR);
    const pieces = Array.from({ length: count }, () => bytes(SECTOR, 1));
    // The file became shorter behind its back.
    writeFileSync(path('broken'), '');
    expect(backing.read(0, pieces, count * SECTOR)).toBe(false);
    backing.close();
    expect(backing.read(0, pieces, count * SECTOR)).toBe(false);
    expect(backing.write(0, pieces, count * SECTOR)).toBe(false);
    expect([backing.flush(), backing.writeZeroes(0, SECTOR)]).toEqual([false, false]);
  });

  it('takes a file as it is, or makes it as large as it has to be', () => {
    writeFileSync(path('old'), bytes(4 * SECTOR, 9));
    for (const [asked, size] of [
      [undefined, 4 * SECTOR],
      [8 * SECTOR, 8 * SECTOR],
    ] as const) {
      const backing = new FileBacking(path('old'), asked);
      expect(backing.sizeBytes).toBe(size);
      backing.close();
    }
    expect(statSync(path('old')).size).toBe(8 * SECTOR);
    expect(readFileSync(path('old')).lastIndexOf(9)).toBe(4 * SECTOR - 1);
  });

  it('is none if there is no file, or no sectors', () => {
    expect(() => new FileBacking(path('nothing'))).toThrowError(
      expect.objectContaining({ code: 'ENOENT' }),
    );
    writeFileSync(path('odd'), 'odd');
    expect(() => new FileBacking(path('odd'))).toThrowError(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(() => new FileBacking(folder)).toThrowError(expect.objectContaining({ code: 'EIO' }));
  });
});
