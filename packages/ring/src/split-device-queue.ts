/**
 * The device's side of a split virtqueue: section "Split Virtqueues".
 *
 * The driver may write anything into its rings at any time. Each of its fields is read once, into a local, and checked
 * there; every walk is bounded by the queue size. What breaks a rule that makes the ring unusable breaks the queue,
 * for good: the device then needs a reset.
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
} from '@viommu/common';
import type { Chain } from './chain.ts';
import type { GuestMemory } from './guest-memory.ts';
import {
  BROKEN_BEFORE,
  type DeviceQueueState,
  checkIdle,
  checkQueueState,
  queueState,
} from './queue-state.ts';
import {
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueOptions,
  Popped,
  type QueueFeatures,
} from './queue.ts';
import { locateSplitQueue, passesEvent } from './split-layout.ts';

// Constants of this module cost nothing on the hot path; properties of imported objects are looked up each time.
const { EMPTY, CHAIN, BROKEN } = Popped;
const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
/** All flags that there are. */
const FLAGS = NEXT | WRITE | INDIRECT;
const ENTRY_BYTES = Descriptor.size;
const LOW = Descriptor.offset.addr;
const HIGH = LOW + 4;
const LENGTH = Descriptor.offset.len;
/** `flags` and, in the upper half of the same word, `next`. */
const FLAGS_AND_NEXT = Descriptor.offset.flags;
const AVAILABLE_INDEX = AvailableRing.offset.idx;
const AVAILABLE_ENTRIES = AvailableRing.size;
const AVAILABLE_ENTRY_BYTES = RING_ENTRY_SIZE;
const USED_ELEMENTS = UsedRing.size;
const USED_ELEMENT_BYTES = UsedElement.size;
const { id: USED_ID, len: USED_LENGTH } = UsedElement.offset;
const HEAD_OUTSIDE = 'a head lies outside the descriptor table';

/** One split queue, as the device works it. */
export class SplitDeviceQueue implements DeviceQueue {
  readonly size: number;
  fault: string | undefined = undefined;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #batchUsed: boolean;
  readonly #table: number;
  readonly #available: number;
  readonly #usedEvent: number;
  readonly #used: number;
  readonly #availableEvent: number;
  readonly #mask: number;
  /** Index of the next entry to take from the available ring. */
  #nextAvailable = 0;
  /** The available index as it was last read; entries before it need no further look at the index. */
  #seenAvailable = 0;
  /** Index of the next element to write in the used ring. */
  #nextUsed = 0;
  /** The used index as the driver sees it. */
  #publishedUsed = 0;
  /** What our event index or flag says now, so that it is written only when it changes. */
  #armed = true;

  /** @throws {IommuError} `EINVAL` or `EFAULT` for a layout or a state that cannot be used. */
  constructor({ memory, layout, features, batchUsed = false, state }: DeviceQueueOptions) {
    const at = locateSplitQueue(memory, layout);
    this.#table = at.table;
    this.#available = at.available;
    this.#usedEvent = at.usedEvent;
    this.#used = at.used;
    this.#availableEvent = at.availableEvent;
    this.#memory = memory;
    this.#features = features;
    this.#batchUsed = batchUsed && features.inOrder === true;
    this.size = layout.size;
    this.#mask = layout.size - 1;
    if (state === undefined) return;
    checkQueueState(state, this.size, features, false);
    this.#nextAvailable = state.position;
    this.#seenAvailable = state.position;
    this.#nextUsed = state.position;
    this.#publishedUsed = state.position;
    if (state.broken) this.fault = BROKEN_BEFORE;
  }

  ready(): boolean {
    return this.#seenAvailable !== this.#nextAvailable || this.#look();
  }

  pop(chain: Chain): Popped {
    const next = this.#nextAvailable;
    if (this.#seenAvailable === next && !this.#look()) return EMPTY;
    // From before, or because the look found an index that makes no sense.
    if (this.fault !== undefined) return BROKEN;
    const memory = this.#memory;
    const size = this.size;
    const entry = this.#available + AVAILABLE_ENTRIES + (next & this.#mask) * AVAILABLE_ENTRY_BYTES;
    const head = memory.getUint16(entry);
    if (head >= size) return this.#break(HEAD_OUTSIDE);
    const table = this.#table;
    const at = table + head * ENTRY_BYTES;
    const low = memory.getUint32(at + LOW);
    const high = memory.getUint32(at + HIGH);
    const length = memory.getUint32(at + LENGTH);
    const word = memory.getUint32(at + FLAGS_AND_NEXT);
    chain.begin(head);
    const popped = this.#walk(chain, low, high, length, word, table, size, true, size);
    if (popped === CHAIN) this.#nextAvailable = (next + 1) & 0xffff;
    return popped;
  }

  /**
   * Takes half the time of `pop` and `push` (bench `ring`): one loop with everything in locals, in which the chains that
   * nearly all are, one readable buffer and one writable, need no `Chain`. It knows only how such a pair looks when
   * nothing is wrong with it; all else goes on in `#walk`, from the words read here.
   */
  serve(handler: ChainHandler, chain: Chain, most: number): number {
    if (!this.ready() || this.fault !== undefined) return 0;
    const memory = this.#memory;
    const size = this.size;
    const mask = this.#mask;
    const ring = this.#table;
    const heads = this.#available + AVAILABLE_ENTRIES;
    const elements = this.#used + USED_ELEMENTS;
    const batchUsed = this.#batchUsed;
    const batchSlot = this.#publishedUsed;
    const seen = this.#seenAvailable;
    let next = this.#nextAvailable;
    let used = this.#nextUsed;
    let count = 0;
    for (; count < most && next !== seen; count += 1) {
      const head = memory.getUint16(heads + (next & mask) * AVAILABLE_ENTRY_BYTES);
      if (head >= size) {
        this.#break(HEAD_OUTSIDE);
        break;
      }
      let table = ring;
      let entries = size;
      let at = table + head * ENTRY_BYTES;
      let low = memory.getUint32(at + LOW);
      let high = memory.getUint32(at + HIGH);
      let length = memory.getUint32(at + LENGTH);
      let word = memory.getUint32(at + FLAGS_AND_NEXT);
      const direct = (word & INDIRECT) === 0;
      if (!direct) {
        at = this.#locateTable(low, high, length, word);
        if (at < 0) break;
        table = at;
        entries = length / ENTRY_BYTES;
        low = memory.getUint32(at + LOW);
        high = memory.getUint32(at + HIGH);
        length = memory.getUint32(at + LENGTH);
        word = memory.getUint32(at + FLAGS_AND_NEXT);
      }
      let left = size;
      let written = -1;
      const second = word >>> 16;
      if ((word & FLAGS) === NEXT && length !== 0 && second < entries && size > 1) {
        const readable = memory.locate(low, high, length);
        const readableBytes = length;
        at = table + second * ENTRY_BYTES;
        low = memory.getUint32(at + LOW);
        high = memory.getUint32(at + HIGH);
        length = memory.getUint32(at + LENGTH);
        word = memory.getUint32(at + FLAGS_AND_NEXT);
        const writable = memory.locate(low, high, length);
        if ((word & FLAGS) === WRITE && length !== 0 && readable >= 0 && writable >= 0) {
          written = handler.handlePair(readable, readableBytes, writable, length);
        } else {
          chain.begin(head);
          chain.append(readable, readableBytes, false);
          left -= 1;
        }
      } else chain.begin(head);
      if (written < 0) {
        if (this.#walk(chain, low, high, length, word, table, entries, direct, left) !== CHAIN)
          break;
        written = handler.handleChain(chain);
      }
      const slot = batchUsed ? batchSlot : used;
      const element = elements + (slot & mask) * USED_ELEMENT_BYTES;
      memory.setUint32(element + USED_ID, head);
      memory.setUint32(element + USED_LENGTH, written);
      next = (next + 1) & 0xffff;
      used = (used + 1) & 0xffff;
    }
    this.#nextAvailable = next;
    this.#nextUsed = used;
    return count;
  }

  push(chain: Chain, writtenBytes: number): void {
    // A batch has one element, in the slot of its first chain and with the id and length of its last.
    const slot = this.#batchUsed ? this.#publishedUsed : this.#nextUsed;
    const element = this.#used + USED_ELEMENTS + (slot & this.#mask) * USED_ELEMENT_BYTES;
    this.#memory.setUint32(element + USED_ID, chain.id);
    this.#memory.setUint32(element + USED_LENGTH, writtenBytes);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
  }

  publish(): boolean {
    const before = this.#publishedUsed;
    const now = this.#nextUsed;
    if (now === before) return false;
    // Pairs with the driver's load of the used index: elements and written buffers are visible after that.
    this.#memory.storeUint16(this.#used + UsedRing.offset.idx, now);
    this.#publishedUsed = now;
    // After the store, and ordered with it: a driver that arms and then looks again cannot miss both.
    if (this.#features.eventIndex)
      return passesEvent(this.#memory.loadUint16(this.#usedEvent), now, before);
    const flags = this.#memory.loadUint16(this.#available + AvailableRing.offset.flags);
    return (flags & AvailableFlag.NO_INTERRUPT) === 0;
  }

  armNotification(): boolean {
    this.#armed = true;
    // Before the load below, and ordered with it: see `publish` of the driver's side.
    if (this.#features.eventIndex)
      this.#memory.storeUint16(this.#availableEvent, this.#nextAvailable);
    else this.#memory.storeUint16(this.#used + UsedRing.offset.flags, 0);
    return !this.ready();
  }

  suppressNotification(): void {
    if (!this.#armed) return;
    this.#armed = false;
    // An event index just passed is the one that comes last.
    if (this.#features.eventIndex)
      this.#memory.storeUint16(this.#availableEvent, (this.#nextAvailable - 1) & 0xffff);
    else this.#memory.storeUint16(this.#used + UsedRing.offset.flags, UsedFlag.NO_NOTIFY);
  }

  save(): DeviceQueueState {
    const position = this.#nextAvailable;
    // With nothing in flight and nothing held back all positions are one.
    checkIdle(this.#nextUsed === position && this.#publishedUsed === position);
    return queueState(this, this.#features, false, position);
  }

  /** Reads the available index. True if it shows something to do, be it only a fault. */
  #look(): boolean {
    if (this.fault !== undefined) return true;
    // Pairs with the driver's store of the available index: descriptors and buffers are visible after this.
    const available = this.#memory.loadUint16(this.#available + AVAILABLE_INDEX);
    const ahead = (available - this.#nextAvailable) & 0xffff;
    if (ahead === 0) return false;
    // Each chain that is taken and not yet used still holds a descriptor.
    const inFlight = (this.#nextAvailable - this.#nextUsed) & 0xffff;
    if (ahead + inFlight > this.size)
      this.#break('the available index is ahead by more than the queue size');
    else this.#seenAvailable = available;
    return true;
  }

  /**
   * Section "The Virtqueue Descriptor Table": from a descriptor that was read, for at most `most` buffers, to the first
   * one without NEXT. The descriptor lies in a table of `ownEntries`, which is the queue's own if `ownDirect`.
   */
  #walk(
    chain: Chain,
    firstLow: number,
    firstHigh: number,
    firstLength: number,
    firstWord: number,
    ownTable: number,
    ownEntries: number,
    ownDirect: boolean,
    most: number,
  ): Popped {
    const memory = this.#memory;
    let low = firstLow;
    let high = firstHigh;
    let length = firstLength;
    let word = firstWord;
    let table = ownTable;
    let entries = ownEntries;
    let direct = ownDirect;
    let writing = false;
    for (let left = most; left > 0;) {
      let index = 0;
      if ((word & INDIRECT) !== 0) {
        if (!direct) return this.#break('an indirect table inside another');
        table = this.#locateTable(low, high, length, word);
        if (table < 0) return BROKEN;
        entries = length / ENTRY_BYTES;
        direct = false;
      } else {
        const writable = (word & WRITE) !== 0;
        if (writing && !writable) return this.#break('a readable buffer behind a writable one');
        writing = writable;
        if (length !== 0) chain.append(memory.locate(low, high, length), length, writable);
        left -= 1;
        if ((word & NEXT) === 0) return CHAIN;
        index = word >>> 16;
        if (index >= entries) return this.#break('a next index outside its table');
      }
      // A cycle ends here, so that no more is read than the queue has descriptors.
      if (left === 0) break;
      const at = table + index * ENTRY_BYTES;
      low = memory.getUint32(at + LOW);
      high = memory.getUint32(at + HIGH);
      length = memory.getUint32(at + LENGTH);
      word = memory.getUint32(at + FLAGS_AND_NEXT);
    }
    return this.#break('a chain longer than the queue');
  }

  /** Section "Indirect Descriptors": the table that a descriptor names, or -1 if the queue is broken now. */
  #locateTable(low: number, high: number, length: number, word: number): number {
    if (!this.#features.indirect) this.#break('an indirect table without the feature');
    else if ((word & NEXT) !== 0) this.#break('an indirect descriptor with a next one');
    else if (length === 0 || length % ENTRY_BYTES !== 0)
      this.#break('an indirect table that is not a whole number of descriptors');
    else {
      const table = this.#memory.locate(low, high, length);
      if (table >= 0) return table;
      this.#break('an indirect table outside memory');
    }
    return -1;
  }

  #break(fault: string): Popped {
    this.fault = fault;
    return BROKEN;
  }
}
