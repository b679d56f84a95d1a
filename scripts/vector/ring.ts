/** Vectors of rings: guest memory before and after the device has served a queue. */

import {
  AvailableRing,
  Descriptor,
  DescriptorFlag,
  PackedDescriptor,
  PackedFlag,
  RING_ENTRY_SIZE,
  UsedRing,
  VirtioFeature,
} from '@viommu/common';
import { Memory, PackedQueue, type QueuePlace, SplitQueue } from '@viommu/conformance/model';
import { A, attach, detach, hex, map, modelOf, number } from './device.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;
const PAGE = 0x1000n;
const BASE = 0x1000n;
const MEMORY_BYTES = 0x1000;
const FILL = 0xa5;
/** Where requests and room for answers lie. */
const DATA = 0x1800n;

/** Bytes at an address. */
interface Patch {
  readonly at: bigint;
  readonly bytes: Uint8Array;
}

interface Source {
  readonly clause: string;
  readonly about: string;
  readonly format: 'split' | 'packed';
  readonly size: number;
  readonly features?: readonly number[];
  /** What may be anything in this vector alone. */
  readonly free?: readonly (readonly [bigint, number])[];
  /** What the driver writes before each notification. */
  readonly steps: readonly (readonly Patch[])[];
}

const place = (size: number): QueuePlace => ({
  size,
  descriptorArea: BASE,
  driverArea: BASE + BigInt(Descriptor.size * size),
  deviceArea: BASE + 0x400n,
});

/** An entry of a split table. */
const entry = (
  index: number,
  addr: bigint,
  len: number,
  flags = 0,
  next = 0,
  table = BASE,
): Patch => ({
  at: table + BigInt(Descriptor.size * index),
  bytes: Descriptor.encode({ addr, len, flags, next }),
});

/** A slot of a packed ring, or an entry of a table. */
const slot = (
  index: number,
  addr: bigint,
  len: number,
  flags: number,
  id = 0,
  table = BASE,
): Patch => ({
  at: table + BigInt(PackedDescriptor.size * index),
  bytes: PackedDescriptor.encode({ addr, len, id, flags }),
});

/** The available ring: these heads, all of them from the first. */
function available(size: number, ...heads: readonly number[]): Patch {
  const bytes = new Uint8Array(AvailableRing.size + RING_ENTRY_SIZE * heads.length);
  const view = new DataView(bytes.buffer);
  AvailableRing.write(view, 0, { flags: 0, idx: heads.length });
  heads.forEach((head, index) => {
    const at = AvailableRing.size + RING_ENTRY_SIZE * index;
    view.setUint16(at, head, true);
  });
  return { at: place(size).driverArea, bytes };
}

const data = (offset: number, bytes: Uint8Array): Patch => ({ at: DATA + BigInt(offset), bytes });
const at = (offset: number): bigint => DATA + BigInt(offset);

const ATTACH = attach(1, A);
const MAP = map(1, PAGE, 2n * PAGE - 1n, 0xa000n);

const SOURCES: readonly Source[] = [
  {
    clause: 'iommu.dev.req.status-ok',
    about: 'ATTACH in a split queue',
    format: 'split',
    size: 8,
    features: [VirtioFeature.EVENT_IDX],
    steps: [
      [data(0, ATTACH), entry(0, at(0), 20, NEXT, 1), entry(1, at(64), 4, WRITE), available(8, 0)],
    ],
  },
  {
    clause: 'iommu.dev.req.status-ok',
    about: 'three requests in two rounds, split',
    format: 'split',
    size: 8,
    steps: [
      [
        data(0, ATTACH),
        data(128, MAP),
        entry(0, at(0), 20, NEXT, 1),
        entry(1, at(64), 4, WRITE),
        entry(5, at(128), 36, NEXT, 2),
        entry(2, at(192), 4, WRITE),
        available(8, 0, 5),
      ],
      [entry(0, at(128), 36, NEXT, 1), available(8, 0, 5, 0)],
    ],
  },
  {
    clause: 'fact.iommu.parse-failure',
    about: 'every byte in a buffer of its own, split',
    format: 'split',
    size: 32,
    steps: [
      [
        data(0, ATTACH),
        ...Array.from({ length: 24 }, (_, index) =>
          entry(
            index,
            index < 20 ? at(index) : at(64 + 8 * (index - 20)),
            1,
            (index < 20 ? 0 : WRITE) | (index < 23 ? NEXT : 0),
            index < 23 ? index + 1 : 0,
          ),
        ),
        available(32, 0),
      ],
    ],
  },
  {
    clause: 'iommu.dev.req.status-ok',
    about: 'an indirect table, split',
    format: 'split',
    size: 8,
    features: [VirtioFeature.INDIRECT_DESC],
    steps: [
      [
        data(0, ATTACH),
        entry(3, at(256), 32, INDIRECT),
        entry(0, at(0), 20, NEXT, 1, at(256)),
        entry(1, at(64), 4, WRITE, 0, at(256)),
        available(8, 3),
      ],
    ],
  },
  {
    clause: 'iommu.dev.req.unknown-type-used-len-zero',
    about: 'split',
    format: 'split',
    size: 8,
    steps: [
      [
        data(0, new Uint8Array(20).fill(0x63)),
        entry(0, at(0), 20, NEXT, 1),
        entry(1, at(64), 4, WRITE),
        available(8, 0),
      ],
    ],
  },
  {
    clause: 'fact.packed.single-used',
    about: 'three lists through one wrap',
    format: 'packed',
    size: 4,
    steps: [
      [
        data(0, MAP),
        slot(0, at(0), 4, NEXT | AVAIL),
        slot(1, at(4), 32, NEXT | AVAIL),
        slot(2, at(64), 4, WRITE | AVAIL, 0),
      ],
      [data(128, ATTACH), slot(3, at(128), 20, NEXT | AVAIL), slot(0, at(192), 4, WRITE | USED, 1)],
      [
        data(256, detach(1, A)),
        slot(1, at(256), 20, NEXT | USED),
        slot(2, at(320), 4, WRITE | USED, 0),
      ],
    ],
  },
  {
    clause: 'fact.packed.indirect-flags',
    about: 'a table whose entries have flags and ids without a meaning',
    format: 'packed',
    size: 3,
    features: [VirtioFeature.INDIRECT_DESC],
    steps: [
      [
        data(0, ATTACH),
        slot(0, at(256), 32, INDIRECT | AVAIL, 2),
        slot(0, at(0), 20, AVAIL | NEXT, 7, at(256)),
        slot(1, at(64), 4, WRITE | USED, 9, at(256)),
      ],
    ],
  },
  {
    clause: 'fact.packed.write-flag',
    about: 'a type that nobody knows',
    format: 'packed',
    size: 4,
    // Without WRITE the length has no meaning.
    free: [[BASE + BigInt(PackedDescriptor.offset.len), 4]],
    steps: [
      [
        data(0, new Uint8Array(20).fill(0x63)),
        slot(0, at(0), 20, NEXT | AVAIL),
        slot(1, at(64), 4, WRITE | AVAIL, 3),
      ],
    ],
  },
];

/** All vectors as they go into the file. */
export function ringVectors(): unknown[] {
  return SOURCES.map(({ clause, about, format, size, features = [], free = [], steps }) => {
    const where = place(size);
    const memory = new Memory(BASE, new Uint8Array(MEMORY_BYTES));
    memory.bytes.fill(FILL, Number(DATA - BASE));
    const queue =
      format === 'split' ? new SplitQueue(memory, where) : new PackedQueue(memory, where);
    const model = modelOf('plain');
    const used = Object.entries(VirtioFeature).filter(([, bit]) => features.includes(bit));
    return {
      name: `${clause}: ${about}`,
      clause,
      device: 'plain',
      format,
      features: used.map(([name]) => name),
      queue: {
        size,
        descriptorArea: number(where.descriptorArea),
        driverArea: number(where.driverArea),
        deviceArea: number(where.deviceArea),
      },
      // Bytes that may be anything afterwards.
      free: [...freeOf(format, where), ...free].map(([from, length]) => ({
        at: number(from),
        length,
      })),
      steps: steps.map((patches) => {
        for (const patch of patches) memory.write(patch.at, patch.bytes);
        const before = memory.bytes.slice();
        queue.serve((readable, room) => model.request(readable, room));
        return {
          write: patches.map((patch) => ({ at: number(patch.at), bytes: hex(patch.bytes) })),
          expect: changesOf(before, memory.bytes),
        };
      }),
    };
  });
}

/** What the standard leaves to the device: whether it wants notifications, and the address in a used descriptor. */
function freeOf(
  format: 'split' | 'packed',
  { size, descriptorArea, deviceArea }: QueuePlace,
): (readonly [bigint, number])[] {
  if (format === 'packed') {
    const addresses = Array.from(
      { length: size },
      (_, index) => [descriptorArea + BigInt(PackedDescriptor.size * index), 8] as const,
    );
    return [[deviceArea, 4], ...addresses];
  }
  const event = deviceArea + BigInt(UsedRing.size + 8 * size);
  return [
    [deviceArea, RING_ENTRY_SIZE],
    [event, RING_ENTRY_SIZE],
  ];
}

/** The stretches of memory that differ. */
function changesOf(before: Uint8Array, after: Uint8Array): { at: string; bytes: string }[] {
  const changes: { at: string; bytes: string }[] = [];
  for (let from = 0; from < after.length; from += 1) {
    if (after[from] === before[from]) continue;
    let end = from;
    while (end < after.length && after[end] !== before[end]) end += 1;
    changes.push({ at: number(BASE + BigInt(from)), bytes: hex(after.subarray(from, end)) });
    from = end;
  }
  return changes;
}
