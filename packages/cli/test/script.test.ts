import { pageOf } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { NO_REGION, ResetKind, RowKind, Script, UNTRANSLATED } from '../src/replay/script.ts';
import { FIRST_LINE, scriptOf } from './script-of.ts';

describe('a script', () => {
  const built = scriptOf(
    'P 8 1 fee00000 feefffff',
    'A 4294967295 8 1',
    'M 7 fffffffffffff000 ffffffffffffffff 123456789a000 5',
    'U 7 0 ffffffffffffffff fffffffffffff000-ffffffffffffffff 1000-1fff',
    'T 8 fffffffffffffabc rw 123456789aabc',
    'T 8 fee00000 w =',
    'K 0',
    'R 4 M 7 2000 1fff 0 0',
    'X 4294967295 3001 r 2',
    'E 9',
    'Z system',
    'B 1',
    'D 7 8',
  );
  // What the other thread has: the same bytes, read anew.
  const script = new Script(built.buffer);

  it('has a row for each event that asks something of somebody', () => {
    expect(Array.from({ length: script.length }, (_, row) => script.kind(row))).toEqual([
      RowKind.PROBE,
      RowKind.ATTACH,
      RowKind.MAP,
      RowKind.UNMAP,
      RowKind.ACCESS,
      RowKind.ACCESS,
      RowKind.MAP,
      RowKind.FAULT,
      RowKind.PROBE,
      RowKind.RESET,
      RowKind.BYPASS,
      RowKind.DETACH,
    ]);
    expect(script.line(5)).toBe(FIRST_LINE + 5);
    expect(script.line(6)).toBe(FIRST_LINE + 7);
  });

  it('keeps every field, to the last of 64 bits', () => {
    expect([script.endpoint(0), script.flags(0)]).toEqual([8, 1]);
    expect([script.start(0), script.last(0)]).toEqual([0xfee0_0000n, 0xfeef_ffffn]);
    expect([script.domain(1), script.endpoint(1), script.flags(1)]).toEqual([0xffff_ffff, 8, 1]);
    expect([script.start(2), script.last(2), script.target(2)]).toEqual([
      0xffff_ffff_ffff_f000n,
      0xffff_ffff_ffff_ffffn,
      0x1_2345_6789_a000n,
    ]);
    expect([script.flags(2), script.status(2)]).toEqual([5, 0]);
    expect([script.startPage(4), script.startOffset(4)]).toEqual([
      pageOf(0xffff_ffff_ffff_f000n),
      0xabc,
    ]);
    expect([script.targetPage(4), script.targetOffset(4)]).toEqual(
      [0x1_2345_6789an, 0xabc].map(Number),
    );
    expect([script.flags(4), script.status(5)]).toEqual([3, UNTRANSLATED]);
    expect([script.status(6), script.start(6), script.last(6)]).toEqual([4, 0x2000n, 0x1fffn]);
    expect([script.endpoint(7), script.status(7), script.flags(7)]).toEqual([0xffff_ffff, 2, 1]);
    expect([script.flags(8), script.flags(9), script.flags(10)]).toEqual([
      NO_REGION,
      ResetKind.SYSTEM,
      1,
    ]);
  });

  it('keeps removed mappings in ascending order, whatever order they were recorded in', () => {
    expect(script.removedCount(3)).toBe(2);
    expect([script.removedStart(3, 0), script.removedLast(3, 0)]).toEqual([0x1000n, 0x1fffn]);
    expect([script.removedStart(3, 1), script.removedLast(3, 1)]).toEqual([
      0xffff_ffff_ffff_f000n,
      0xffff_ffff_ffff_ffffn,
    ]);
  });

  it('grows with its rows and its removed mappings', () => {
    const removed = Array.from({ length: 999 }, (_, page) => `${page}000-${page}fff`).join(' ');
    const lines = Array.from({ length: 999 }, (_, page) => `M 1 ${page}000 ${page}fff 0 3`);
    const large = scriptOf(...lines, `U 1 0 fffffff ${removed}`, `U 1 0 0 ${removed}`);
    expect(large.length).toBe(1001);
    expect(large.start(998)).toBe(0x99_8000n);
    expect(large.removedCount(1000)).toBe(999);
    expect(large.removedLast(1000, 998)).toBe(0x99_8fffn);
  });
});
