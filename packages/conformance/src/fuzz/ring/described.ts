/** How a driver has to describe a chain: every field that the standard fixes, read by nobody but this. */

import { Descriptor, PackedDescriptor } from '@viommu/common';
import type { PlainBuffer, PlainChain } from './plain.ts';
import { type Setting, deviation, flagsAt } from './setting.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const ENTRY = 16;

export interface Described {
  /** Descriptors, or slots, that it holds. */
  readonly slots: number;
  /** Bytes in the ring or in tables that the chain is described in. */
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

/**
 * Throws if a chain is not described as it has to be. `tabled` is true if it goes into a table; `from` is where it
 * begins: a descriptor, or a slot and a wrap counter.
 */
export function checkDescription(
  setting: Setting,
  chain: PlainChain,
  expected: readonly PlainBuffer[],
  tabled: boolean,
  from: { readonly slot: number; readonly wrap: boolean },
): Described {
  const { packed, memory, place, size } = setting;
  const view = memory.raw;
  const wrong = (matter: string, evidence = ''): Error =>
    deviation(
      `driver: ${matter}`,
      setting,
      `${evidence} chain ${chain.id} of ${expected.length} buffers`,
    );
  const same =
    chain.buffers.length === expected.length &&
    chain.buffers.every(
      ({ address, length, writable }, index) =>
        address === expected[index]?.address &&
        length === expected[index].length &&
        writable === expected[index].writable,
    );
  if (!same) throw wrong('a chain has other buffers', JSON.stringify(chain.buffers, text));
  const ranges: (readonly [number, number])[] = [];
  const inRing = tabled ? 1 : expected.length;
  let { slot, wrap } = from;
  for (let index = 0; index < inRing; index += 1) {
    const at = place.table + ENTRY * slot;
    const last = index + 1 === inRing;
    const kind = tabled ? INDIRECT : (expected[index]!.writable ? WRITE : 0) | (last ? 0 : NEXT); // Below the count.
    const flags = view.getUint16(at + flagsAt(packed), true);
    const state = packed ? (wrap ? 0x80 : 0x8000) : 0;
    if (flags !== (kind | state))
      throw wrong('flags of a descriptor are others', `0x${flags.toString(16)}`);
    ranges.push([at, at + ENTRY]);
    if (!packed) {
      slot = view.getUint16(at + Descriptor.offset.next, true);
      if (!last && slot >= size) throw wrong('a next index outside the table', `${slot}`);
      continue;
    }
    if (last && view.getUint16(at + PackedDescriptor.offset.id, true) !== chain.id)
      throw wrong('the last slot has another id');
    slot += 1;
    if (slot === size) {
      slot = 0;
      wrap = !wrap;
    }
  }
  if (!tabled) return { slots: inRing, ranges };

  const at = place.table + ENTRY * from.slot;
  const table = setting.tables + Number(view.getBigUint64(at, true) - setting.tableAddress);
  const bytes = view.getUint32(at + Descriptor.offset.len, true);
  if (bytes !== ENTRY * expected.length) throw wrong('a table has another length', `${bytes}`);
  const end = setting.tables + setting.tableBytes;
  if (table < setting.tables || table + bytes > end || (table - setting.tables) % ENTRY !== 0)
    throw wrong('a table lies elsewhere', `${table}`);
  for (const [index, { writable }] of expected.entries()) {
    const entry = table + ENTRY * index;
    const last = index + 1 === expected.length;
    const flags = view.getUint16(entry + flagsAt(packed), true);
    // Those of a packed ring stand in a row, and no flag but this one has a meaning.
    const kind = (writable ? WRITE : 0) | (last || packed ? 0 : NEXT);
    if (flags !== kind) throw wrong('flags in a table are others', `0x${flags.toString(16)}`);
    if (!packed && !last && view.getUint16(entry + Descriptor.offset.next, true) >= expected.length)
      throw wrong('a next index outside its table');
  }
  ranges.push([table, table + bytes]);
  return { slots: 1, ranges };
}

function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}
