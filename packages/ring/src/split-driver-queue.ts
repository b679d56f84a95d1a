/**
 * The driver's side of a split virtqueue: section "Split Virtqueues".
 *
 * The device may write anything into the used ring, and into everything else it can reach. The driver therefore never
 * reads back what it wrote: it keeps its own copy of descriptors, available entries and tokens. The copy is also what
 * makes the queue fast, since a descriptor or entry that would not change is not written again: a driver that uses the
 * same buffers in turn moves two cache lines a request, not five.
 */

import {
  AvailableFlag,
  AvailableRing,
  Descriptor,
  DescriptorFlag,
  type GuestPhysical,
  IommuError,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedFlag,
  UsedRing,
  assert,
} from '@viommu/common';
import type { BufferList } from './buffer-list.ts';
import type { GuestMemory } from './guest-memory.ts';
import { type DriverQueue, type QueueFeatures, type QueueLayout, Taken } from './queue.ts';
import { locateSplitQueue, passesEvent, splitQueueBytes } from './split-layout.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const FREE = -1;

/** Memory for indirect tables, one for each descriptor of the ring. */
export interface IndirectTables {
  /** `size * buffersPerChain * 16` bytes, aligned to 16. */
  readonly address: GuestPhysical;
  /** Longer chains take direct descriptors. */
  readonly buffersPerChain: number;
}

export interface DriverQueueOptions {
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly features: QueueFeatures;
  /** Used if the feature is on; without it all chains are direct. */
  readonly indirect?: IndirectTables;
}

/** One split queue, as the driver works it. */
export class SplitDriverQueue implements DriverQueue {
  readonly size: number;
  fault: string | undefined = undefined;
  takenBytes = 0;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #table: number;
  readonly #available: number;
  readonly #usedEvent: number;
  readonly #used: number;
  readonly #availableEvent: number;
  readonly #mask: number;
  readonly #indirect: IndirectTables | undefined;
  readonly #indirectAt: number = 0;
  readonly #indirectLow: number = 0;
  readonly #indirectHigh: number = 0;

  /** Our copy of the descriptors: those of the ring, then those of all indirect tables. */
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;
  readonly #length: Uint32Array;
  readonly #flagsAndNext: Uint32Array;
  /** Our copy of the available entries. */
  readonly #entries: Uint16Array;
  /** By head: the caller's token, or FREE. */
  readonly #tokens: Int32Array;
  /** By head: its index in the available ring. */
  readonly #positions: Uint16Array;
  /** Free descriptors, first freed first taken, so that a chain comes back to the descriptors it had. */
  readonly #free: Uint16Array;
  #freeFirst = 0;
  #freeCount: number;

  #nextAvailable = 0;
  #publishedAvailable = 0;
  #nextUsed = 0;
  #seenUsed = 0;
  #armed = true;

  /**
   * Takes the memory of the layout and clears it.
   *
   * @throws {IommuError} `EINVAL` or `EFAULT` for a layout that cannot be used.
   */
  constructor({ memory, layout, features, indirect }: DriverQueueOptions) {
    const { size } = layout;
    const at = locateSplitQueue(memory, layout);
    this.#table = at.table;
    this.#available = at.available;
    this.#usedEvent = at.usedEvent;
    this.#used = at.used;
    this.#availableEvent = at.availableEvent;
    this.#memory = memory;
    this.#features = features;
    this.size = size;
    this.#mask = size - 1;
    let tableEntries = 0;
    if (features.indirect && indirect !== undefined) {
      tableEntries = size * indirect.buffersPerChain;
      this.#indirect = indirect;
      this.#indirectLow = Number(indirect.address & 0xffff_ffffn);
      this.#indirectHigh = Number(indirect.address >> 32n);
      this.#indirectAt = memory.locate(
        this.#indirectLow,
        this.#indirectHigh,
        tableEntries * Descriptor.size,
      );
      if (this.#indirectAt < 0)
        throw new IommuError('EFAULT', 'The indirect tables of a queue are outside memory.');
    }
    this.#low = new Uint32Array(size + tableEntries);
    this.#high = new Uint32Array(size + tableEntries);
    this.#length = new Uint32Array(size + tableEntries);
    this.#flagsAndNext = new Uint32Array(size + tableEntries);
    this.#entries = new Uint16Array(size);
    this.#tokens = new Int32Array(size).fill(FREE);
    this.#positions = new Uint16Array(size);
    this.#free = Uint16Array.from({ length: size }, (_, index) => index);
    this.#freeCount = size;
    const bytes = splitQueueBytes(size);
    clear(memory, this.#table, bytes.descriptorArea);
    clear(memory, this.#available, bytes.driverArea);
    clear(memory, this.#used, bytes.deviceArea);
    clear(memory, this.#indirectAt, tableEntries * Descriptor.size);
  }

  get inFlight(): number {
    return (this.#nextAvailable - this.#nextUsed) & 0xffff;
  }

  add(buffers: BufferList, token: number): boolean {
    const { count } = buffers;
    assert(count > 0 && token >= 0, 'a chain has a buffer and a token that is not negative');
    const tables = this.#indirect;
    const indirect = tables !== undefined && count > 1 && count <= tables.buffersPerChain;
    if (this.#freeCount < (indirect ? 1 : count)) return false;

    const head = this.#takeFree();
    if (indirect) {
      const table = head * tables.buffersPerChain;
      for (let index = 0; index < count; index += 1)
        this.#describe(this.size + table + index, buffers, index, index + 1);
      const low = this.#indirectLow + table * Descriptor.size;
      const carry = low > 0xffff_ffff ? 1 : 0;
      this.#write(head, low >>> 0, this.#indirectHigh + carry, count * Descriptor.size, INDIRECT);
    } else {
      let index = head;
      for (let buffer = 0; buffer < count; buffer += 1) {
        const next = buffer + 1 < count ? this.#takeFree() : 0;
        this.#describe(index, buffers, buffer, next);
        index = next;
      }
    }

    const position = this.#nextAvailable;
    const slot = position & this.#mask;
    if (this.#entries[slot] !== head) {
      this.#entries[slot] = head;
      this.#memory.setUint16(this.#available + AvailableRing.size + slot * RING_ENTRY_SIZE, head);
    }
    this.#tokens[head] = token;
    this.#positions[head] = position;
    this.#nextAvailable = (position + 1) & 0xffff;
    return true;
  }

  publish(): boolean {
    const before = this.#publishedAvailable;
    const now = this.#nextAvailable;
    if (now === before) return false;
    // Pairs with the device's load of the available index: descriptors and buffers are visible after that.
    this.#memory.storeUint16(this.#available + AvailableRing.offset.idx, now);
    this.#publishedAvailable = now;
    // After the store, and ordered with it: a device that arms and then looks again cannot miss both.
    if (this.#features.eventIndex)
      return passesEvent(this.#memory.loadUint16(this.#availableEvent), now, before);
    const flags = this.#memory.loadUint16(this.#used + UsedRing.offset.flags);
    return (flags & UsedFlag.NO_NOTIFY) === 0;
  }

  take(): number {
    if (this.fault !== undefined) return Taken.BROKEN;
    const next = this.#nextUsed;
    if (this.#seenUsed === next) {
      const used = this.#loadUsed();
      const ahead = (used - next) & 0xffff;
      if (ahead === 0) return Taken.EMPTY;
      if (ahead > ((this.#publishedAvailable - next) & 0xffff))
        return this.#break('the device used more chains than were available');
      this.#seenUsed = used;
    }
    const element = this.#used + UsedRing.size + (next & this.#mask) * UsedElement.size;
    const head = this.#memory.getUint32(element + UsedElement.offset.id);
    this.takenBytes = this.#memory.getUint32(element + UsedElement.offset.len);
    if (head >= this.size) return this.#break('a used id lies outside the descriptor table');
    const token = this.#tokens[head]!; // Below the size.
    if (token === FREE) return this.#break('a used id that is no head in flight');
    // How long ago the head was made available; a head that was only added is not yet the device's.
    if (((this.#publishedAvailable - 1 - this.#positions[head]!) & 0xffff) >= this.size)
      return this.#break('a used id that was not available yet');
    this.#nextUsed = (next + 1) & 0xffff;
    this.#tokens[head] = FREE;
    this.#release(head);
    return token;
  }

  ready(): boolean {
    return (
      this.#seenUsed !== this.#nextUsed ||
      this.fault !== undefined ||
      this.#loadUsed() !== this.#nextUsed
    );
  }

  armNotification(): boolean {
    this.#armed = true;
    // Before the load below, and ordered with it: see `publish` of the device's side.
    if (this.#features.eventIndex) this.#memory.storeUint16(this.#usedEvent, this.#nextUsed);
    else this.#memory.storeUint16(this.#available + AvailableRing.offset.flags, 0);
    return !this.ready();
  }

  suppressNotification(): void {
    if (!this.#armed) return;
    this.#armed = false;
    // An event index just passed is the one that comes last.
    if (this.#features.eventIndex)
      this.#memory.storeUint16(this.#usedEvent, (this.#nextUsed - 1) & 0xffff);
    else
      this.#memory.storeUint16(
        this.#available + AvailableRing.offset.flags,
        AvailableFlag.NO_INTERRUPT,
      );
  }

  #loadUsed(): number {
    // Pairs with the device's store of the used index: elements and written buffers are visible after this.
    return this.#memory.loadUint16(this.#used + UsedRing.offset.idx);
  }

  /** Describes one buffer of a chain in entry `index`; `next` is where the following one goes. */
  #describe(index: number, buffers: BufferList, buffer: number, next: number): void {
    const more = buffer + 1 < buffers.count;
    const flags = (more ? NEXT : 0) | (buffer >= buffers.readableCount ? WRITE : 0);
    this.#write(
      index,
      buffers.low[buffer]!, // Below the count.
      buffers.high[buffer]!,
      buffers.length[buffer]!,
      flags | (more ? next << 16 : 0),
    );
  }

  /** Writes one descriptor, of the ring or behind it of a table, unless it stands there already. */
  #write(index: number, low: number, high: number, length: number, flagsAndNext: number): void {
    const word = flagsAndNext >>> 0;
    if (
      this.#flagsAndNext[index] === word &&
      this.#low[index] === low &&
      this.#length[index] === length &&
      this.#high[index] === high
    )
      return;
    this.#low[index] = low;
    this.#high[index] = high;
    this.#length[index] = length;
    this.#flagsAndNext[index] = word;
    const memory = this.#memory;
    const at =
      index < this.size
        ? this.#table + index * Descriptor.size
        : this.#indirectAt + (index - this.size) * Descriptor.size;
    memory.setUint32(at + Descriptor.offset.addr, low);
    memory.setUint32(at + Descriptor.offset.addr + 4, high);
    memory.setUint32(at + Descriptor.offset.len, length);
    memory.setUint32(at + Descriptor.offset.flags, word);
  }

  #takeFree(): number {
    const index = this.#free[this.#freeFirst]!; // Below the size.
    this.#freeFirst = (this.#freeFirst + 1) & this.#mask;
    this.#freeCount -= 1;
    return index;
  }

  /** Gives the descriptors of a chain back, as our own copy links them. */
  #release(head: number): void {
    let index = head;
    for (;;) {
      this.#free[(this.#freeFirst + this.#freeCount) & this.#mask] = index;
      this.#freeCount += 1;
      const word = this.#flagsAndNext[index]!; // Below the size.
      if ((word & NEXT) === 0) return;
      index = word >>> 16;
    }
  }

  #break(fault: string): number {
    this.fault = fault;
    return Taken.BROKEN;
  }
}

function clear(memory: GuestMemory, position: number, bytes: number): void {
  memory.write(position, new Uint8Array(bytes), 0, bytes);
}
