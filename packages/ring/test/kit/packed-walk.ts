/** A list as it stands in a packed ring, for tests that judge what a driver wrote. */

import { DescriptorFlag, PackedDescriptor } from '@viommu/common';
import type { Arena } from './arena.ts';
import { must } from './must.ts';
import type { AnySlot, Lap, PackedPlace } from './packed-place.ts';

export interface WalkedList {
  /** What stands in the last descriptor. */
  readonly id: number;
  /** The slots of the ring that it takes, in order. */
  readonly slots: readonly { readonly index: number; readonly entry: AnySlot }[];
  /** The entries of its indirect table, if it has one, and where they begin. */
  readonly table: readonly AnySlot[];
  readonly tableAt: number;
  /** All that describe a buffer. */
  readonly buffers: readonly AnySlot[];
}

/** Follows a list that a driver under test made available; throws if a slot of it is not, or if it does not end. */
export function walkList(arena: Arena, place: PackedPlace, from: Lap): WalkedList {
  const slots: { index: number; entry: AnySlot }[] = [];
  for (const at = from.ahead(0); ; at.advance(1)) {
    must(slots.length < place.size, 'a list that does not end');
    const entry = place.slot(at.slot);
    must((entry.flags & 0x8080) === at.available, `slot ${at.slot} is not available`);
    slots.push({ index: at.slot, entry });
    if ((entry.flags & DescriptorFlag.NEXT) === 0) break;
  }
  const [head] = slots;
  const last = slots.at(-1)?.entry;
  const indirect = last !== undefined && (last.flags & DescriptorFlag.INDIRECT) !== 0;
  const tableAt = indirect ? Number(last.addr - arena.base) : 0;
  const table = Array.from(
    { length: indirect ? last.len / PackedDescriptor.size : 0 },
    (_, index) => PackedDescriptor.read(arena.view, tableAt + PackedDescriptor.size * index),
  );
  must(head !== undefined && last !== undefined, 'a list has a descriptor');
  return {
    id: last.id,
    slots,
    table,
    tableAt,
    buffers: indirect ? table : slots.map(({ entry }) => entry),
  };
}
