import { MapFlag, formatFlags } from '@viommu/common';
import { describe, expect, it } from 'vitest';

describe('a flag word as text', () => {
  it.each<[number, string]>([
    [0, '0'],
    [1, 'READ'],
    [2, 'WRITE'],
    [5, 'READ|MMIO'],
    [7, 'READ|WRITE|MMIO'],
    [8, '0x8'],
    [0x8000_0001, 'READ|0x80000000'],
    [0xffff_ffff, 'READ|WRITE|MMIO|0xfffffff8'],
    [-1, 'READ|WRITE|MMIO|0xfffffff8'],
  ])('%i is %s', (word, text) => {
    expect(formatFlags(MapFlag, word)).toBe(text);
  });

  it('names the highest bit', () => {
    expect(formatFlags({ TOP: 0x8000_0000 }, 0x8000_0000)).toBe('TOP');
    expect(formatFlags({ TOP: 0x8000_0000 }, 1)).toBe('0x1');
  });
});
