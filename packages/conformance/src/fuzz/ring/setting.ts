/** One queue in memory of its own: format, size, features, where its parts lie, and what surrounds them. */

import {
  AvailableRing,
  Descriptor,
  type GuestPhysical,
  PackedDescriptor,
  UsedRing,
  guestPhysical,
} from '@viommu/common';
import type { QueueFeatures, QueueLayout } from '@viommu/ring';
import { Deviation } from '../deviation.ts';
import type { Random } from '../random.ts';
import type { PlainBuffer, PlainDevice, PlainOptions, PlainPlace } from './plain.ts';
import { PlainPackedDevice } from './plain-packed.ts';
import { PlainSplitDevice } from './plain-split.ts';
import { WatchedMemory } from './watched-memory.ts';

const PAGE = 4096;
/** Room for buffers. */
const DATA_BYTES = 1536;
/** Indirect tables at a time. */
export const TABLES = 4;
const SPLIT_SIZES = [4, 2, 8, 1, 4, 16, 2, 8, 32, 64] as const;
const PACKED_SIZES = [4, 2, 3, 1, 5, 8, 7, 4, 13, 61] as const;
const HUGE = 32768;
const BASES = [
  0x4000_0000n,
  0n,
  0x1_0000_0000n,
  0xf000_0000n,
  0x20_0000_0000_0000n,
  0xffff_ffff_0000_0000n,
] as const;

export interface Setting {
  readonly packed: boolean;
  readonly size: number;
  readonly features: Required<QueueFeatures>;
  readonly batchUsed: boolean;
  readonly memory: WatchedMemory;
  readonly place: PlainPlace;
  readonly bytes: PlainPlace;
  readonly layout: QueueLayout;
  /** Memory for indirect tables: so many entries each. */
  readonly tables: number;
  readonly tableEntries: number;
  readonly tableBytes: number;
  /** What the device calls the first of them. */
  readonly tableAddress: bigint;
  /** Memory for buffers, up to the end. */
  readonly data: number;
  /** Where the queue is at the start. */
  readonly position: number;
}

/** Any setting; `tables` is how many there are. With `sizes` it has one of these. */
export function drawSetting(
  random: Random,
  tables: (size: number) => number,
  sizes?: readonly number[],
): Setting {
  const packed = random.once(2);
  const huge = sizes === undefined && random.once(250);
  const usual = sizes ?? (packed ? PACKED_SIZES : SPLIT_SIZES);
  const size = huge ? HUGE - (packed ? random.number(2) : 0) : random.pick(usual);
  const inOrder = random.once(4);
  const features = { indirect: random.once(2), eventIndex: random.once(2), inOrder, packed };
  const bytes = packed
    ? { table: 16 * size, driver: 4, device: 4 }
    : { table: 16 * size, driver: 6 + 2 * size, device: 6 + 8 * size };
  const tableEntries = 1 + random.number(Math.min(size, 8) + 2);
  const tableBytes = 16 * tableEntries * tables(size);
  const needed = bytes.table + bytes.driver + bytes.device + tableBytes + DATA_BYTES + 128;
  const memoryBytes = Math.ceil(needed / PAGE) * PAGE;
  const base = random.pick(BASES);
  const memory = new WatchedMemory(memoryBytes, base, random.once(2));
  scatter(memory.bytes, random.number(0x1_0000));
  let next = 0;
  const take = (length: number, alignment: number): number => {
    const at = Math.ceil((next + 2 * random.number(8)) / alignment) * alignment;
    next = at + length;
    return at;
  };
  const place = { table: 0, driver: 0, device: 0 };
  for (const part of random.pick(ORDERS)) {
    const alignment = packed ? 4 : 2;
    place[part] = take(bytes[part], ALIGNMENTS[part] ?? alignment);
  }
  const at = (position: number): GuestPhysical => guestPhysical(base + BigInt(position));
  const tableAt = take(tableBytes, 16);
  return {
    packed,
    size,
    features,
    batchUsed: inOrder && random.once(2),
    memory,
    place,
    bytes,
    layout: {
      size,
      descriptorArea: at(place.table),
      driverArea: at(place.driver),
      deviceArea: at(place.device),
    },
    tables: tableAt,
    tableEntries,
    tableBytes,
    tableAddress: at(tableAt),
    data: next,
    position: drawPosition(random, packed, size),
  };
}

/** The plain device of a setting, over these bytes. */
export function plainDevice(
  setting: Setting,
  bytes: Uint8Array<ArrayBufferLike>,
  position: number,
  broken = false,
): PlainDevice {
  const { packed, size, memory, place, features, batchUsed, tableAddress } = setting;
  const { indirect, eventIndex } = features;
  const { base } = memory;
  const options: PlainOptions = {
    bytes,
    base,
    tables: { address: tableAddress, position: setting.tables, bytes: setting.tableBytes },
    size,
    place,
    indirect,
    eventIndex,
    batchUsed,
    position,
    broken,
  };
  return packed ? new PlainPackedDevice(options) : new PlainSplitDevice(options);
}

/** Where the flags of a descriptor are. */
export function flagsAt(packed: boolean): number {
  return packed ? PackedDescriptor.offset.flags : Descriptor.offset.flags;
}

/** A ring as it is before its next chain, at any position of its life: nothing is in flight. */
export function clearRing(setting: Setting, view: DataView, position: number): void {
  const { place, bytes, packed, size } = setting;
  for (const part of ['table', 'driver', 'device'] as const)
    new Uint8Array(view.buffer, view.byteOffset + place[part], bytes[part]).fill(0);
  if (!packed) {
    view.setUint16(place.driver + AvailableRing.offset.idx, position, true);
    view.setUint16(place.device + UsedRing.offset.idx, position, true);
    return;
  }
  const wrap = position >= 0x8000;
  // Everything before is used, in this lap or in the last one.
  for (let slot = 0; slot < size; slot += 1)
    if (slot < (position & 0x7fff) === wrap)
      view.setUint16(
        place.table + PackedDescriptor.size * slot + PackedDescriptor.offset.flags,
        0x8080,
        true,
      );
}

/** Buffers anywhere in the data of a setting: readable ones, then writable ones. */
export function drawBuffers(random: Random, setting: Setting, most: number): PlainBuffer[] {
  // Mostly as requests are: one buffer of each kind.
  if (most >= 2 && !random.once(2)) return listBuffers(random, setting, 2, 1);
  const count = 1 + random.number(random.once(8) ? most : Math.min(most, 5));
  return listBuffers(random, setting, count, random.number(count + 1));
}

/** So many of them. */
export function listBuffers(
  random: Random,
  setting: Setting,
  count: number,
  readable: number,
): PlainBuffer[] {
  return Array.from({ length: count }, (_, index) =>
    drawBuffer(random, setting, index >= readable),
  );
}

function drawBuffer(random: Random, { memory, data }: Setting, writable: boolean): PlainBuffer {
  const kind = random.number(12);
  // Now and then the same again, and to the last byte of memory.
  if (kind < 3) return { address: memory.base + BigInt(data + 64 * kind), length: 16, writable };
  const length = kind < 5 ? random.pick(LENGTHS) : 4 + random.number(40);
  if (length === 0 && random.once(2)) return { address: 0n, length, writable };
  const room = memory.size - data - length;
  const at = kind === 11 ? data + room : data + random.number(room + 1);
  return { address: memory.base + BigInt(at), length, writable };
}

/** What is wrong with a ring. `matter` is general, and the rest is of this case. */
export function deviation(matter: string, setting: Setting, evidence: string): Deviation {
  const { packed, size, features, batchUsed } = setting;
  const format = packed ? 'packed' : 'split';
  const names = Object.entries({ ...features, batchUsed })
    .filter(([name, on]) => on && name !== 'packed')
    .map(([name]) => name);
  return new Deviation(
    'ring',
    `${format}: ${matter}`,
    `${format}, size ${size}, ${names.join(', ') || 'no feature'}: ${evidence}`,
  );
}

/** Fills bytes with values that follow from one. */
export function scatter(bytes: Uint8Array, seed: number): void {
  let state = (seed ^ 0x9e37_79b9) >>> 0;
  for (let at = 0; at < bytes.length; at += 1) {
    state = (Math.imul(state, 0x0019_660d) + 0x3c6e_f35f) >>> 0;
    bytes[at] = state >>> 24;
  }
}

type Part = keyof PlainPlace;
const ORDERS: readonly (readonly Part[])[] = [
  ['table', 'driver', 'device'],
  ['device', 'driver', 'table'],
  ['driver', 'table', 'device'],
];
/** Where it differs from format to format it is not here. */
const ALIGNMENTS: Partial<Record<Part, number>> = { table: 16, device: 4 };
const LENGTHS = [0, 1, 2, 3, 4, 5, 8, 16, 64, 200] as const;

function drawPosition(random: Random, packed: boolean, size: number): number {
  const kind = random.number(3);
  if (packed) {
    if (kind === 0) return 0x8000;
    return random.number(size) | (kind === 1 ? 0x8000 : 0);
  }
  // The index wraps soon, or its sign.
  if (kind === 0) return 0;
  return (random.once(4) ? 0x8000 : 0x1_0000) - 1 - random.number(8);
}
