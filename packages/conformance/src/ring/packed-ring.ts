/** The driver's half of a packed ring, for tests: section "Packed Virtqueues". */

import {
  DescriptorFlag,
  EventMode,
  EventSuppression,
  PackedDescriptor,
  PackedFlag,
  guestPhysical,
} from '@viommu/common';
import { type GuestMemory, type QueueLayout, packedQueueBytes } from '@viommu/ring';
import { locate, readStruct, writeStruct } from './bytes.ts';
import type { ChainBuffer, Completion, OfferOptions, TestRing } from './test-ring.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;

/** A descriptor as a case wants it; what is left out is zero. */
export interface AnyPackedDescriptor {
  readonly addr?: bigint;
  readonly len?: number;
  readonly id?: number;
  readonly flags?: number;
}

/** A place in the ring: the slot, and the wrap counter of this lap. */
export interface RingPlace {
  readonly slot: number;
  readonly wrap: boolean;
}

export class PackedRing implements TestRing {
  readonly format = 'packed';
  readonly size: number;
  readonly layout: QueueLayout;
  /** Where the next chain goes, and where the next used descriptor is expected. */
  next: RingPlace = { slot: 0, wrap: true };
  nextUsed: RingPlace = { slot: 0, wrap: true };
  inOrder = false;
  readonly #memory: GuestMemory;
  /** How many slots each chain in flight takes, by id. */
  readonly #lengths = new Map<number, number>();
  #nextId = 0;

  /** Lies at `start`, which is page-aligned, with one part behind the other. */
  constructor(memory: GuestMemory, start: bigint, size: number) {
    this.#memory = memory;
    this.size = size;
    const bytes = packedQueueBytes(size);
    const driverArea = start + BigInt(bytes.descriptorArea);
    this.layout = {
      size,
      descriptorArea: guestPhysical(start),
      driverArea: guestPhysical(driverArea),
      deviceArea: guestPhysical(driverArea + BigInt(bytes.driverArea)),
    };
  }

  get position(): number {
    return this.next.slot | (this.next.wrap ? 0x8000 : 0);
  }

  offer(buffers: readonly ChainBuffer[], options: OfferOptions = {}): number {
    const { indirectFrom = buffers.length, tableAt = 0n } = options;
    const id = this.#nextId;
    this.#nextId = (id + 1) % 0x1_0000;
    // A list is either all direct or one table.
    if (indirectFrom === 0) {
      for (const [turn, buffer] of buffers.entries())
        this.tableEntry(tableAt, turn, { ...entryOf(buffer), id: 0 });
      const len = buffers.length * PackedDescriptor.size;
      this.place([{ addr: tableAt, len, flags: INDIRECT, id }]);
      this.#lengths.set(id, 1);
      return id;
    }
    this.place(
      buffers.map((buffer, turn) => {
        const last = turn + 1 === buffers.length;
        const entry = entryOf(buffer);
        // It counts in the last one only; in all of them it harms nobody, and a case of its own has others there.
        return { ...entry, flags: entry.flags | (last ? 0 : NEXT), id };
      }),
    );
    this.#lengths.set(id, buffers.length);
    return id;
  }

  ready(): boolean {
    const flags = this.#memory.loadUint16(this.#flagsAt(this.nextUsed.slot));
    const want = this.nextUsed.wrap ? AVAIL | USED : 0;
    return (flags & (AVAIL | USED)) === want;
  }

  take(): Completion | undefined {
    if (!this.ready()) return undefined;
    const { id, len, flags } = this.slot(this.nextUsed.slot);
    // A map remembers in which order its keys came. One that is not in flight stands for itself.
    const inFlight = [...this.#lengths.keys()];
    const passed = this.inOrder ? Math.max(inFlight.indexOf(id), 0) : 0;
    for (const each of [...inFlight.slice(0, passed), id]) {
      this.nextUsed = this.ahead(this.nextUsed, this.#lengths.get(each) ?? 1);
      this.#lengths.delete(each);
    }
    return { id, length: len, writeFlag: (flags & WRITE) !== 0, passed };
  }

  wantInterrupts(wanted: boolean): void {
    this.suppression({ desc: 0, flags: wanted ? EventMode.ENABLE : EventMode.DISABLE });
  }

  /** Writes descriptors into the next slots and makes each available in its lap, the first one last. */
  place(descriptors: readonly AnyPackedDescriptor[]): void {
    const first = this.next;
    for (const [turn, descriptor] of descriptors.entries()) {
      const flags = (descriptor.flags ?? 0) | available(this.next);
      // Until the first one's flags say otherwise, none of them is there.
      this.slotEntry(this.next.slot, { ...descriptor, flags: turn === 0 ? used(first) : flags });
      this.next = this.ahead(this.next, 1);
    }
    const flags = (descriptors[0]?.flags ?? 0) | available(first);
    this.#memory.storeUint16(this.#flagsAt(first.slot), flags);
  }

  /** The place so many slots on. */
  ahead({ slot, wrap }: RingPlace, slots: number): RingPlace {
    const sum = slot + slots;
    return sum < this.size ? { slot: sum, wrap } : { slot: sum - this.size, wrap: !wrap };
  }

  /** A slot as it stands in memory. */
  slot(index: number): { addr: bigint; len: number; id: number; flags: number } {
    return readStruct(this.#memory, PackedDescriptor, this.#slotAt(index));
  }

  /** Writes a slot, the flags as they are given. */
  slotEntry(index: number, entry: AnyPackedDescriptor): void {
    this.tableEntry(this.layout.descriptorArea, index, entry);
  }

  /** Writes an entry of a table at a guest-physical address. */
  tableEntry(tableAt: bigint, index: number, entry: AnyPackedDescriptor): void {
    const { addr = 0n, len = 0, id = 0, flags = 0 } = entry;
    const at = tableAt + BigInt(PackedDescriptor.size * index);
    writeStruct(this.#memory, PackedDescriptor, at, { addr, len, id, flags });
  }

  /** Writes what the driver says about interrupts. */
  suppression(value: { readonly desc: number; readonly flags: number }): void {
    writeStruct(this.#memory, EventSuppression, this.layout.driverArea, value);
  }

  /** What the device says about notifications. */
  deviceSuppression(): { desc: number; flags: number } {
    return readStruct(this.#memory, EventSuppression, this.layout.deviceArea);
  }

  #slotAt(index: number): bigint {
    return this.layout.descriptorArea + BigInt(PackedDescriptor.size * index);
  }

  #flagsAt(index: number): number {
    const at = this.#slotAt(index) + BigInt(PackedDescriptor.offset.flags);
    return locate(this.#memory, at, 2);
  }
}

function available({ wrap }: RingPlace): number {
  return wrap ? AVAIL : USED;
}

/** The state of a slot that nobody has made available in this lap. */
function used({ wrap }: RingPlace): number {
  return wrap ? 0 : AVAIL | USED;
}

function entryOf({
  address,
  length,
  writable,
}: ChainBuffer): Required<Pick<AnyPackedDescriptor, 'addr' | 'len' | 'flags'>> {
  return { addr: address, len: length, flags: writable ? WRITE : 0 };
}
