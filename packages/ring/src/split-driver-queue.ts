/**
 * The driver's side of a split virtqueue: section "Split Virtqueues".
 *
 * The device may write anything into the used ring, and into everything else it can reach. The driver therefore never
 * reads back what it wrote: it keeps its own copy of descriptors, available entries and tokens.
 */

import {
  AvailableFlag,
  AvailableRing,
  Descriptor,
  DescriptorFlag,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedFlag,
  UsedRing,
  assert,
} from '@viommu/common';
import type { BufferList } from './buffer-list.ts';
import { DescriptorTable, IndirectTables, type IndirectTablesOptions } from './descriptor-table.ts';
import type { GuestMemory } from './guest-memory.ts';
import { clearArea } from './queue-area.ts';
import { type DriverQueue, type QueueFeatures, type QueueLayout, Taken } from './queue.ts';
import { locateSplitQueue, passesEvent, splitQueueBytes } from './split-layout.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const FREE = -1;

export interface DriverQueueOptions {
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly features: QueueFeatures;
  /** Used if the feature is on; without it all chains are direct. */
  readonly indirect?: IndirectTablesOptions;
}

/** One split queue, as the driver works it. */
export class SplitDriverQueue implements DriverQueue {
  readonly size: number;
  fault: string | undefined = undefined;
  takenBytes = 0;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #available: number;
  readonly #usedEvent: number;
  readonly #used: number;
  readonly #availableEvent: number;
  readonly #mask: number;
  readonly #table: DescriptorTable;
  readonly #indirect: IndirectTables | undefined;
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
    this.#available = at.available;
    this.#usedEvent = at.usedEvent;
    this.#used = at.used;
    this.#availableEvent = at.availableEvent;
    this.#memory = memory;
    this.#features = features;
    this.size = size;
    this.#mask = size - 1;
    this.#table = new DescriptorTable(memory, at.table, size);
    if (features.indirect && indirect !== undefined)
      this.#indirect = new IndirectTables(memory, indirect, size);
    this.#entries = new Uint16Array(size);
    this.#tokens = new Int32Array(size).fill(FREE);
    this.#positions = new Uint16Array(size);
    this.#free = Uint16Array.from({ length: size }, (_, index) => index);
    this.#freeCount = size;
    const bytes = splitQueueBytes(size);
    clearArea(memory, this.#available, bytes.driverArea);
    clearArea(memory, this.#used, bytes.deviceArea);
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
      const first = tables.first(head);
      for (let index = 0; index < count; index += 1)
        describe(tables.entries, first + index, buffers, index, index + 1);
      const bytes = count * Descriptor.size;
      this.#table.set(head, tables.low(head), tables.high(head), bytes, INDIRECT);
    } else {
      let index = head;
      for (let buffer = 0; buffer < count; buffer += 1) {
        const next = buffer + 1 < count ? this.#takeFree() : 0;
        describe(this.#table, index, buffers, buffer, next);
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
    if (this.#seenUsed === next && !this.#look()) return Taken.EMPTY;
    // The look may have found an index that makes no sense.
    if (this.fault !== undefined) return Taken.BROKEN;
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
    return this.#seenUsed !== this.#nextUsed || this.#look();
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

  /** Reads the used index. True if it shows something to do, be it only a fault. */
  #look(): boolean {
    // Pairs with the device's store of the used index: elements and written buffers are visible after this.
    const used = this.#memory.loadUint16(this.#used + UsedRing.offset.idx);
    const ahead = (used - this.#nextUsed) & 0xffff;
    if (ahead === 0) return this.fault !== undefined;
    if (ahead > ((this.#publishedAvailable - this.#nextUsed) & 0xffff))
      this.#break('the device used more chains than were available');
    else this.#seenUsed = used;
    return true;
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
      const word = this.#table.lastWord(index);
      if ((word & NEXT) === 0) return;
      index = word >>> 16;
    }
  }

  #break(fault: string): number {
    this.fault = fault;
    return Taken.BROKEN;
  }
}

/** Describes one buffer of a chain in entry `index`; `next` is where the following one goes. */
function describe(
  table: DescriptorTable,
  index: number,
  buffers: BufferList,
  buffer: number,
  next: number,
): void {
  const more = buffer + 1 < buffers.count;
  const flags = (more ? NEXT : 0) | (buffer >= buffers.readableCount ? WRITE : 0);
  table.set(
    index,
    buffers.low[buffer]!, // Below the count, as the two others.
    buffers.high[buffer]!,
    buffers.length[buffer]!,
    flags | (more ? next << 16 : 0),
  );
}
