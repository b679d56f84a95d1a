/**
 * The device's side of a virtqueue, one chain after the other: sections "Split Virtqueues" and "Packed Virtqueues". For
 * drivers that keep to the rules; what a device does with others is nowhere said.
 */

import {
  AvailableRing,
  Descriptor,
  DescriptorFlag,
  PackedDescriptor,
  PackedFlag,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
} from '@viommu/common';
import type { Answer } from './answer.ts';
import type { Memory } from './memory.ts';

/** Where the parts of a queue lie. */
export interface QueuePlace {
  /** Descriptors: a power of two in a split queue. */
  readonly size: number;
  readonly descriptorArea: bigint;
  readonly driverArea: bigint;
  readonly deviceArea: bigint;
}

/** Carries out a request of these bytes, with room for so many. */
export type Handler = (readable: Uint8Array, room: number) => Answer;

/** One buffer of a chain. */
interface Buffer {
  readonly address: bigint;
  readonly length: number;
}

/** One request as the driver laid it out. */
interface Chain {
  readonly readable: Buffer[];
  readonly writable: Buffer[];
}

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;
const INDEX_VALUES = 0x1_0000;

/** A split queue. */
export class SplitQueue {
  readonly #memory: Memory;
  readonly #place: QueuePlace;
  /** Chains taken and given back, modulo 2^16. */
  #position = 0;

  constructor(memory: Memory, place: QueuePlace) {
    this.#memory = memory;
    this.#place = place;
  }

  /** Handles all that is available, in order; returns how many there were. */
  serve(handler: Handler): number {
    const { size, driverArea, deviceArea } = this.#place;
    const memory = this.#memory;
    const end = memory.read16(driverArea + BigInt(AvailableRing.offset.idx));
    let served = 0;
    for (; this.#position !== end; this.#position = (this.#position + 1) % INDEX_VALUES) {
      const slot = this.#position % size;
      const id = memory.read16(driverArea + BigInt(AvailableRing.size + RING_ENTRY_SIZE * slot));
      const len = carryOut(memory, this.#chain(id), handler);
      const element = deviceArea + BigInt(UsedRing.size + UsedElement.size * slot);
      memory.write(element, UsedElement.encode({ id, len }));
      served += 1;
    }
    memory.write16(deviceArea + BigInt(UsedRing.offset.idx), end);
    return served;
  }

  #chain(head: number): Chain {
    const chain: Chain = { readable: [], writable: [] };
    let table = this.#place.descriptorArea;
    let index = head;
    for (;;) {
      const { addr, len, flags, next } = this.#descriptor(table, index);
      if ((flags & INDIRECT) !== 0) {
        // The rest of the chain is in a table of its own, from its first entry on.
        table = addr;
        index = 0;
        continue;
      }
      chain[(flags & WRITE) === 0 ? 'readable' : 'writable'].push({ address: addr, length: len });
      if ((flags & NEXT) === 0) return chain;
      index = next;
    }
  }

  #descriptor(table: bigint, index: number): ReturnType<typeof Descriptor.read> {
    const bytes = this.#memory.read(table + BigInt(Descriptor.size * index), Descriptor.size);
    return Descriptor.read(new DataView(bytes.buffer));
  }
}

/** A packed queue. */
export class PackedQueue {
  readonly #memory: Memory;
  readonly #place: QueuePlace;
  #slot = 0;
  #wrap = true;

  constructor(memory: Memory, place: QueuePlace) {
    this.#memory = memory;
    this.#place = place;
  }

  /** Handles all that is available, in order; returns how many there were. */
  serve(handler: Handler): number {
    let served = 0;
    while (this.#isAvailable()) {
      const first = this.#slot;
      const wrap = this.#wrap;
      const { chain, id } = this.#take();
      const len = carryOut(this.#memory, chain, handler);
      // fact.packed.single-used, fact.packed.write-flag
      const flags = (wrap ? AVAIL | USED : 0) | (len > 0 ? WRITE : 0);
      const { addr } = this.#descriptor(this.#place.descriptorArea, first);
      const at = this.#place.descriptorArea + BigInt(PackedDescriptor.size * first);
      this.#memory.write(at, PackedDescriptor.encode({ addr, len, id, flags }));
      served += 1;
    }
    return served;
  }

  #isAvailable(): boolean {
    const { flags } = this.#descriptor(this.#place.descriptorArea, this.#slot);
    return ((flags & AVAIL) !== 0) === this.#wrap && ((flags & USED) !== 0) !== this.#wrap;
  }

  /** The next list, and its id, which stands in its last descriptor. */
  #take(): { readonly chain: Chain; readonly id: number } {
    const chain: Chain = { readable: [], writable: [] };
    for (;;) {
      const descriptor = this.#descriptor(this.#place.descriptorArea, this.#slot);
      this.#slot += 1;
      if (this.#slot === this.#place.size) {
        this.#slot = 0;
        this.#wrap = !this.#wrap;
      }
      if ((descriptor.flags & INDIRECT) === 0) {
        add(chain, descriptor);
      } else {
        const entries = descriptor.len / PackedDescriptor.size;
        for (let index = 0; index < entries; index += 1)
          add(chain, this.#descriptor(descriptor.addr, index));
      }
      if ((descriptor.flags & NEXT) === 0) return { chain, id: descriptor.id };
    }
  }

  #descriptor(table: bigint, index: number): ReturnType<typeof PackedDescriptor.read> {
    const at = table + BigInt(PackedDescriptor.size * index);
    return PackedDescriptor.read(new DataView(this.#memory.read(at, PackedDescriptor.size).buffer));
  }
}

function add(chain: Chain, { addr, len, flags }: ReturnType<typeof PackedDescriptor.read>): void {
  chain[(flags & WRITE) === 0 ? 'readable' : 'writable'].push({ address: addr, length: len });
}

/** Carries out one request, wherever its bytes are. Returns the used length. */
function carryOut(memory: Memory, { readable, writable }: Chain, handler: Handler): number {
  const bytes = readable.flatMap(({ address, length }) => [...memory.read(address, length)]);
  const room = writable.reduce((sum, { length }) => sum + length, 0);
  const { usedLength, written } = handler(Uint8Array.from(bytes), room);
  for (const { at, bytes: answer } of written)
    answer.forEach((byte, index) => writeByte(memory, writable, at + index, byte));
  return usedLength;
}

/** Writes the byte at `offset` of all writable buffers taken together. */
function writeByte(
  memory: Memory,
  writable: readonly Buffer[],
  offset: number,
  byte: number,
): void {
  let left = offset;
  for (const { address, length } of writable) {
    if (left < length) {
      memory.write(address + BigInt(left), Uint8Array.of(byte));
      return;
    }
    left -= length;
  }
}
