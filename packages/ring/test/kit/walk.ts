/** A chain as it stands in a split ring, for tests that judge what a driver wrote. */

import { Descriptor, DescriptorFlag } from '@viommu/common';
import type { Arena } from './arena.ts';
import type { AnyEntry, SplitPlace } from './split-place.ts';

export interface WalkedChain {
  readonly head: number;
  /** The descriptors of the ring that it takes, by index, in order. */
  readonly ring: readonly { readonly index: number; readonly entry: AnyEntry }[];
  /** Those of its indirect table, if it has one, the unused ones at the end left out. */
  readonly table: readonly { readonly index: number; readonly entry: AnyEntry }[];
  /** Entries that the table has by its length. */
  readonly tableEntries: number;
  /** All that describe a buffer. */
  readonly buffers: readonly AnyEntry[];
}

/** Follows a chain that a driver under test made; throws if it does not end. */
export function walk(arena: Arena, place: SplitPlace, head: number): WalkedChain {
  const ring = follow((index) => place.descriptor(index), head, place.size);
  const last = ring.at(-1)?.entry;
  const indirect = last !== undefined && (last.flags & DescriptorFlag.INDIRECT) !== 0;
  const from = indirect ? Number(last.addr - arena.base) : 0;
  const tableEntries = indirect ? last.len / Descriptor.size : 0;
  const entryAt = (index: number): AnyEntry =>
    Descriptor.read(arena.view, from + Descriptor.size * index);
  const table = indirect ? follow(entryAt, 0, tableEntries) : [];
  const direct = indirect ? ring.slice(0, -1) : ring;
  return {
    head,
    ring,
    table,
    tableEntries,
    buffers: [...direct, ...table].map(({ entry }) => entry),
  };
}

function follow(entryAt: (index: number) => AnyEntry, head: number, countMax: number) {
  const found: { index: number; entry: AnyEntry }[] = [];
  for (let index = head; ;) {
    if (index >= countMax) throw new Error(`descriptor ${index} of ${countMax}`);
    if (found.length === countMax) throw new Error('a chain that does not end');
    const entry = entryAt(index);
    found.push({ index, entry });
    if ((entry.flags & DescriptorFlag.NEXT) === 0) return found;
    index = entry.next;
  }
}
