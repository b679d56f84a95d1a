/** Structures of the split and the packed ring, and worked examples of their bytes. */

import {
  AvailableRing,
  Descriptor,
  EventSuppression,
  PackedDescriptor,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
} from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex, viewOf } from '../hex.ts';
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
  layoutTest(PackedDescriptor, 'pvirtq_desc', 16, [
    ['addr', 0, 8],
    ['len', 8, 4],
    ['id', 12, 2],
    ['flags', 14, 2],
  ]);
  layoutTest(EventSuppression, 'pvirtq_event_suppress', 4, [
    ['desc', 0, 2],
    ['flags', 2, 2],
  ]);
});

describe('a split ring of size 8 with one completed ATTACH and EVENT_IDX', () => {
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

describe('a packed ring of size 4', () => {
  it.each([
    ['A available', '00 21 00 00 00 00 00 00 04 00 00 00 00 00 82 00', 0x2100n, 4, 0, 0x0082],
    ['A used', '00 20 00 00 00 00 00 00 04 00 00 00 00 00 82 80', 0x2000n, 4, 0, 0x8082],
    ['B available', '00 22 00 00 00 00 00 00 14 00 00 00 00 00 81 00', 0x2200n, 20, 0, 0x0081],
    ['B available', '00 23 00 00 00 00 00 00 04 00 00 00 01 00 02 80', 0x2300n, 4, 1, 0x8002],
    ['C used', '00 24 00 00 00 00 00 00 04 00 00 00 00 00 02 00', 0x2400n, 4, 0, 0x0002],
  ])('has a slot of %s: %s', (_, text, addr, len, id, flags) => {
    expect(PackedDescriptor.read(viewOf(fromHex(text)))).toEqual({ addr, len, id, flags });
    expect(toHex(PackedDescriptor.encode({ addr, len, id, flags }))).toBe(text);
  });

  it.each([
    ['always', '00 00 00 00', 0, 0],
    ['never', '00 00 01 00', 0, 1],
    ['for slot 3 of the lap with wrap 1', '03 80 02 00', 0x8003, 2],
  ])('asks for notifications %s', (_, text, desc, flags) => {
    expect(EventSuppression.read(viewOf(fromHex(text)))).toEqual({ desc, flags });
    expect(toHex(EventSuppression.encode({ desc, flags }))).toBe(text);
  });
});
