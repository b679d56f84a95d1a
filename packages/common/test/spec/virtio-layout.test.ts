/** Structures of the split ring and a worked example: a queue of size 8 with one completed ATTACH and EVENT_IDX. */

import { AvailableRing, Descriptor, RING_ENTRY_SIZE, UsedElement, UsedRing } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { fromHex, viewOf } from '../hex.ts';
import { layoutTest } from './layout.ts';

describe('layouts', () => {
  layoutTest(Descriptor, 'virtq_desc', 16, [
    ['addr', 0, 8],
    ['len', 8, 4],
    ['flags', 12, 2],
    ['next', 14, 2],
  ]);
  layoutTest(AvailableRing, 'virtq_avail', 4, [
    ['flags', 0, 2],
    ['idx', 2, 2],
  ]);
  layoutTest(UsedRing, 'virtq_used', 4, [
    ['flags', 0, 2],
    ['idx', 2, 2],
  ]);
  layoutTest(UsedElement, 'virtq_used_elem', 8, [
    ['id', 0, 4],
    ['len', 4, 4],
  ]);
});

describe('worked example', () => {
  const size = 8;
  const table = viewOf(
    fromHex(`
      00 20 00 00 00 00 00 00  14 00 00 00 01 00 01 00
      00 21 00 00 00 00 00 00  04 00 00 00 02 00 00 00
      ${'00 '.repeat(6 * 16)}`),
  );
  const available = viewOf(
    fromHex(`
      00 00 01 00 00 00 00 00  00 00 00 00 00 00 00 00
      00 00 00 00 00 00`),
  );
  const used = viewOf(
    fromHex(`
      00 00 01 00 00 00 00 00  04 00 00 00 00 00 00 00
      ${'00 '.repeat(52)} 01 00`),
  );

  it('has rings of the sizes that the three areas of such a queue have', () => {
    expect(table.byteLength).toBe(size * Descriptor.size);
    // The event index follows the entries in both rings.
    expect(available.byteLength).toBe(AvailableRing.size + (size + 1) * RING_ENTRY_SIZE);
    expect(used.byteLength).toBe(UsedRing.size + size * UsedElement.size + RING_ENTRY_SIZE);
  });

  it('has two descriptors: 20 bytes to read at 0x2000, then 4 bytes to write at 0x2100', () => {
    expect(Descriptor.read(table, 0)).toEqual({ addr: 0x2000n, len: 20, flags: 1, next: 1 });
    expect(Descriptor.read(table, 16)).toEqual({ addr: 0x2100n, len: 4, flags: 2, next: 0 });
    expect(Descriptor.read(table, 7 * 16)).toEqual({ addr: 0n, len: 0, flags: 0, next: 0 });
  });

  it('has one available entry, and it is used with 4 bytes written', () => {
    expect(AvailableRing.read(available)).toEqual({ flags: 0, idx: 1 });
    expect(UsedRing.read(used)).toEqual({ flags: 0, idx: 1 });
    expect(UsedElement.read(used, UsedRing.size)).toEqual({ id: 0, len: 4 });
  });

  it('is what writing the same values gives', () => {
    const written = new DataView(new ArrayBuffer(table.byteLength));
    Descriptor.write(written, 0, { addr: 0x2000n, len: 20, flags: 1, next: 1 });
    Descriptor.write(written, 16, { addr: 0x2100n, len: 4, flags: 2, next: 0 });
    expect(written.buffer).toEqual(table.buffer);
  });
});
