/** Guest memory in a file: what one side writes, the other sees when the rules of rings say so. */

import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { guestPhysical } from '@viommu/common';
import { MirrorMemory } from '@viommu/peers';

const BASE = 0x1_0000_2000n;
const PAGES = 4;
const SIZE = 4096 * PAGES;
/** Where the window begins in the file. */
const AT = 0x2000;

let folder = '';
let file = -1;
let memory: MirrorMemory;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viommu-mirror-'));
  file = openFile('ram');
  memory = new MirrorMemory({ base: guestPhysical(BASE), size: SIZE });
  memory.open(file, AT);
});

afterEach(() => {
  closeSync(file);
  rmSync(folder, { recursive: true });
});

function openFile(name: string): number {
  const opened = openSync(join(folder, name), 'w+');
  ftruncateSync(opened, AT + SIZE);
  return opened;
}

/** What the other side has at a position. */
function there(position: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  readSync(file, bytes, 0, length, AT + position);
  return [...bytes];
}

/** The other side writes. */
function elsewhere(position: number, ...bytes: number[]): void {
  writeSync(file, Uint8Array.from(bytes), 0, bytes.length, AT + position);
}

describe('addresses', () => {
  it('are located if all bytes lie in the window', () => {
    expect(memory.locate(0x2000, 1, SIZE)).toBe(0);
    expect(memory.locate(0x2001, 1, SIZE)).toBe(-1);
    expect(memory.locate(0x1fff, 1, 1)).toBe(-1);
    expect(memory.locate(0x2000 + SIZE - 1, 1, 1)).toBe(SIZE - 1);
    expect(memory.locate(0x2000 + SIZE, 1, 1)).toBe(-1);
    expect(memory.locate(0x2000, 0, 1)).toBe(-1);
  });
});

describe('what is written here', () => {
  it('is there once a ring index is stored behind it', () => {
    memory.setUint32(0x10, 0x0403_0201);
    memory.setUint8(0x1fff, 9);
    expect(there(0x10, 4)).toEqual([0, 0, 0, 0]);
    memory.storeUint16(0x2000, 0xabcd);
    expect([there(0x10, 4), there(0x1fff, 1), there(0x2000, 2)]).toEqual([
      [1, 2, 3, 4],
      [9],
      [0xcd, 0xab],
    ]);
  });

  it('is there once it is published', () => {
    memory.setUint16(0x20, 0x0201);
    memory.publish();
    expect(there(0x20, 2)).toEqual([1, 2]);
  });

  it('may cross pages', () => {
    memory.write(0xffd, Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7), 1, 6);
    memory.setUint32(0x1ffe, 0x0403_0201);
    memory.publish();
    expect([there(0xffc, 8), there(0x1ffe, 4)]).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 0],
      [1, 2, 3, 4],
    ]);
  });

  it('does not take back what the other side wrote beside it', () => {
    memory.getUint8(0x100);
    memory.setUint8(0x100, 1);
    elsewhere(0x110, 7);
    memory.publish();
    memory.refresh();
    expect([there(0x100, 1), there(0x110, 1), memory.getUint8(0x110)]).toEqual([[1], [7], 7]);
  });

  it('is not lost when everything is read again', () => {
    memory.setUint8(0x200, 5);
    memory.refresh();
    expect(memory.getUint8(0x200)).toBe(5);
    expect(there(0x200, 1)).toEqual([5]);
  });
});

describe('what is written there', () => {
  it('is seen once a ring index is loaded', () => {
    expect(memory.getUint32(0x30)).toBe(0);
    elsewhere(0x30, 1, 2, 3, 4);
    expect(memory.getUint32(0x30)).toBe(0);
    elsewhere(0x1002, 5, 6);
    expect(memory.loadUint16(0x1002)).toBe(0x0605);
    expect([memory.getUint32(0x30), memory.getUint16(0x31)]).toEqual([0x0403_0201, 0x0302]);
  });

  it('is seen after a refresh, also across pages', () => {
    const bytes = new Uint8Array(6);
    memory.read(0xffe, bytes, 0, 6);
    elsewhere(0xffe, 1, 2, 3, 4);
    memory.refresh();
    memory.read(0xffe, bytes, 1, 4);
    expect([...bytes]).toEqual([0, 1, 2, 3, 4, 0]);
  });

  it('in another file is seen from when that is opened, and what was not published is gone', () => {
    memory.setUint8(0, 1);
    closeSync(file);
    file = openFile('other');
    elsewhere(4, 8);
    memory.open(file, AT);
    memory.publish();
    expect([memory.getUint8(0), memory.getUint8(4), there(0, 1)]).toEqual([0, 8, [0]]);
  });
});

describe('a window without a file', () => {
  it('cannot be used', () => {
    memory.setUint8(0, 1);
    memory.close();
    expect(() => memory.getUint8(0)).toThrow('"fd"');
    expect(() => memory.setUint8(0x1000, 1)).toThrow('"fd"');
    expect(there(0, 1)).toEqual([0]);
  });
});

describe('both sides', () => {
  it('agree on every byte, whoever wrote it last', () => {
    const position = fc.nat(SIZE - 64);
    const step = fc.oneof(
      fc.record({ by: fc.constant('here'), position, bytes: fc.uint8Array({ maxLength: 64 }) }),
      fc.record({ by: fc.constant('there'), position, bytes: fc.uint8Array({ maxLength: 64 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const model = Uint8Array.from(there(0, SIZE));
        for (const { by, position: at, bytes } of steps) {
          if (by === 'here') memory.write(at, bytes, 0, bytes.length);
          else {
            // The other side acts in between, as in a notification.
            memory.publish();
            elsewhere(at, ...bytes);
            memory.refresh();
          }
          model.set(bytes, at);
        }
        const seen = new Uint8Array(SIZE);
        memory.read(0, seen, 0, SIZE);
        memory.publish();
        expect(Buffer.compare(seen, model)).toBe(0);
        expect(Buffer.compare(Uint8Array.from(there(0, SIZE)), model)).toBe(0);
      }),
      { seed: 7, numRuns: 100 },
    );
  });
});

describe('memory of a peer that only acts when it is told to', () => {
  beforeEach(() => {
    memory = new MirrorMemory({ base: guestPhysical(BASE), size: SIZE, still: true });
    memory.open(file, AT);
  });

  it('is read and written at the moments that its user names', () => {
    expect(memory.loadUint16(2)).toBe(0);
    elsewhere(2, 7);
    expect(memory.loadUint16(2)).toBe(0);
    memory.storeUint16(4, 9);
    expect(there(4, 2)).toEqual([0, 0]);
    memory.publish();
    expect(there(2, 4)).toEqual([7, 0, 9, 0]);
    memory.refresh();
    expect(memory.loadUint16(2)).toBe(7);
  });

  it('can be made as it was at first', () => {
    memory.setUint32(8, 0x0102_0304);
    memory.publish();
    elsewhere(4096, 5);
    expect(memory.getUint8(4096)).toBe(5);
    memory.setUint8(8192, 6);
    memory.clear();
    expect([memory.getUint32(8), memory.getUint8(4096), memory.getUint8(8192)]).toEqual([0, 0, 0]);
    expect([there(8, 4), there(4096, 1), there(8192, 1)]).toEqual([[0, 0, 0, 0], [0], [0]]);
  });
});
