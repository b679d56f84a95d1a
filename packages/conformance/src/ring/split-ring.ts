/** The driver's half of a split ring, for tests: section "Split Virtqueues". */

import {
  AvailableFlag,
  AvailableRing,
  Descriptor,
  DescriptorFlag,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
  guestPhysical,
} from '@viommu/common';
import { type GuestMemory, type QueueLayout, splitQueueBytes } from '@viommu/ring';
import { locate, readStruct, writeStruct } from './bytes.ts';
import type { ChainBuffer, Completion, OfferOptions, TestRing } from './test-ring.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;

/** A descriptor as a case wants it; what is left out is zero. */
export interface AnyDescriptor {
  readonly addr?: bigint;
  readonly len?: number;
  readonly flags?: number;
  readonly next?: number;
}

export class SplitRing implements TestRing {
  readonly format = 'split';
  readonly size: number;
  readonly layout: QueueLayout;
  /** What `avail.idx` holds, and which used entry {@link take} looks at next; both run freely modulo 65536. */
  availableIndex = 0;
  usedIndex = 0;
  inOrder = false;
  /** With IN_ORDER: the heads that {@link offer} made available and {@link take} has not returned. */
  #inFlight: number[] = [];
  readonly #memory: GuestMemory;
  /** Positions that are accessed as indices. */
  readonly #available: number;
  readonly #used: number;
  #nextDescriptor = 0;

  /** Lies at `start`, which is page-aligned, with one part behind the other. */
  constructor(memory: GuestMemory, start: bigint, size: number) {
    this.#memory = memory;
    this.size = size;
    const bytes = splitQueueBytes(size);
    const driverArea = start + BigInt(bytes.descriptorArea);
    // `used_event` is behind the ring; the used ring is a multiple of four away.
    const deviceArea = (driverArea + BigInt(bytes.driverArea) + 63n) & ~63n;
    this.layout = {
      size,
      descriptorArea: guestPhysical(start),
      driverArea: guestPhysical(driverArea),
      deviceArea: guestPhysical(deviceArea),
    };
    this.#available = locate(memory, driverArea, bytes.driverArea);
    this.#used = locate(memory, deviceArea, bytes.deviceArea);
  }

  get position(): number {
    return this.availableIndex;
  }

  offer(buffers: readonly ChainBuffer[], options: OfferOptions = {}): number {
    const head = this.chain(buffers, options);
    this.entry(this.availableIndex % this.size, head);
    if (this.inOrder) this.#inFlight.push(head);
    this.publish(this.availableIndex + 1);
    return head;
  }

  /** Writes a legal chain into the next descriptors of the table and returns its head, which is not available yet. */
  chain(
    buffers: readonly ChainBuffer[],
    { indirectFrom = buffers.length, tableAt = 0n }: OfferOptions = {},
  ): number {
    const direct = buffers.slice(0, indirectFrom);
    const table = buffers.slice(indirectFrom);
    const count = direct.length + (table.length > 0 ? 1 : 0);
    const indices = Array.from({ length: count }, (_, turn) => this.#index(turn));
    for (const [turn, buffer] of direct.entries()) {
      const next = indices[turn + 1];
      this.descriptor(indices[turn] ?? 0, entryOf(buffer, next));
    }
    if (table.length > 0) {
      this.descriptor(indices.at(-1) ?? 0, {
        addr: tableAt,
        len: table.length * Descriptor.size,
        flags: INDIRECT,
      });
      for (const [turn, buffer] of table.entries())
        this.tableEntry(tableAt, turn, entryOf(buffer, table[turn + 1] && turn + 1));
    }
    this.#nextDescriptor = this.#index(count);
    return indices[0] ?? 0;
  }

  ready(): boolean {
    return this.deviceIndex() !== this.usedIndex;
  }

  take(): Completion | undefined {
    if (!this.ready()) return undefined;
    const { id, len } = this.usedElement(this.usedIndex % this.size);
    // One that is not in flight stands for itself, and the case says what is wrong with it.
    const passed = this.inOrder ? Math.max(this.#inFlight.indexOf(id), 0) : 0;
    this.#inFlight = this.#inFlight.slice(passed + 1);
    this.usedIndex = (this.usedIndex + passed + 1) & 0xffff;
    return { id, length: len, passed };
  }

  wantInterrupts(wanted: boolean): void {
    this.flags(wanted ? 0 : AvailableFlag.NO_INTERRUPT);
  }

  /** `used.idx`, as it stands there. */
  deviceIndex(): number {
    return this.#memory.loadUint16(this.#used + UsedRing.offset.idx);
  }

  usedElement(slot: number): { id: number; len: number } {
    const at = this.layout.deviceArea + BigInt(UsedRing.size + UsedElement.size * slot);
    return readStruct(this.#memory, UsedElement, at);
  }

  /** `used.flags`. */
  deviceFlags(): number {
    return this.#memory.getUint16(this.#used + UsedRing.offset.flags);
  }

  /** `avail_event`, behind the used ring. */
  availableEvent(): number {
    return this.#memory.getUint16(this.#used + UsedRing.size + UsedElement.size * this.size);
  }

  /** Writes a descriptor of the table, whatever it says. */
  descriptor(index: number, entry: AnyDescriptor): void {
    this.tableEntry(this.layout.descriptorArea, index, entry);
  }

  /** Writes an entry of a table at a guest-physical address. */
  tableEntry(tableAt: bigint, index: number, entry: AnyDescriptor): void {
    const { addr = 0n, len = 0, flags = 0, next = 0 } = entry;
    const at = tableAt + BigInt(Descriptor.size * index);
    writeStruct(this.#memory, Descriptor, at, { addr, len, flags, next });
  }

  /** Writes an entry of the available ring; slot {@link size} is `used_event`. */
  entry(slot: number, head: number): void {
    this.#memory.setUint16(this.#available + AvailableRing.size + RING_ENTRY_SIZE * slot, head);
  }

  /** Stores `avail.idx`. */
  publish(index: number): void {
    this.availableIndex = index & 0xffff;
    this.#memory.storeUint16(this.#available + AvailableRing.offset.idx, this.availableIndex);
  }

  /** Writes `avail.flags`. */
  flags(value: number): void {
    this.#memory.setUint16(this.#available + AvailableRing.offset.flags, value);
  }

  #index(turn: number): number {
    return (this.#nextDescriptor + turn) % this.size;
  }
}

function entryOf({ address, length, writable }: ChainBuffer, next?: number): AnyDescriptor {
  const flags = (writable ? WRITE : 0) | (next === undefined ? 0 : NEXT);
  return { addr: address, len: length, flags, next: next ?? 0 };
}
