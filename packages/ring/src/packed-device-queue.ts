/**
 * The device's side of a packed virtqueue: section "Packed Virtqueues".
 *
 * The same rules hold as for split queues: each field of the driver is read once, and every walk is bounded.
 */

import {
  DescriptorFlag,
  EVENT_OFFSET_MASK,
  EVENT_WRAP,
  PackedDescriptor,
  PackedFlag,
} from '@viommu/common';
import type { Chain } from './chain.ts';
import type { GuestMemory } from './guest-memory.ts';
import { armEvent, locatePackedQueue, suppressEvent, wantsNotification } from './packed-layout.ts';
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

// Constants of this module cost nothing on the hot path; properties of imported objects are looked up each time.
const { EMPTY, CHAIN, BROKEN } = Popped;
const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
/** All flags that say what a descriptor is. */
const FLAGS_OF_KIND = NEXT | WRITE | INDIRECT;
const { AVAIL, USED } = PackedFlag;
const SLOT_BYTES = PackedDescriptor.size;
const LOW = PackedDescriptor.offset.addr;
const HIGH = LOW + 4;
const LENGTH = PackedDescriptor.offset.len;
/** `id` and, in the upper half of the same word, `flags`. */
const ID = PackedDescriptor.offset.id;
const FLAGS = PackedDescriptor.offset.flags;
const ID_MASK = 0xffff;
const TOO_MANY = 'more descriptors than the ring has';
/** No flags were seen. */
const NONE = -1;

/** One packed queue, as the device works it. */
export class PackedDeviceQueue implements DeviceQueue {
  readonly size: number;
  fault: string | undefined = undefined;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #batchUsed: boolean;
  readonly #ring: number;
  readonly #driverEvent: number;
  readonly #deviceEvent: number;
  /** The slot where the next chain becomes available, and which of AVAIL and USED its flags have in that lap. */
  #next = 0;
  #lap: number = AVAIL;
  /** The flags there, once a look has found the chain available. */
  #seenFlags = NONE;
  /** The slot where the next used descriptor goes, and the flags of AVAIL and USED that it has in that lap. */
  #nextUsed = 0;
  #usedLap: number = AVAIL | USED;
  /** Slots of chains that were taken and not yet used. */
  #inFlight = 0;
  /** Slots pushed since the last publish; the flags of the first of them are held back. */
  #pushed = 0;
  #heldAt = 0;
  #heldFlags = 0;
  #armed = true;

  /** @throws {IommuError} `EINVAL` or `EFAULT` for a layout or a state that cannot be used. */
  constructor({ memory, layout, features, batchUsed = false, state }: DeviceQueueOptions) {
    const at = locatePackedQueue(memory, layout);
    this.#ring = at.ring;
    this.#driverEvent = at.driverEvent;
    this.#deviceEvent = at.deviceEvent;
    this.#memory = memory;
    this.#features = features;
    this.#batchUsed = batchUsed && features.inOrder === true;
    this.size = layout.size;
    if (state === undefined) return;
    checkQueueState(state, this.size, features, true);
    this.#next = state.position & EVENT_OFFSET_MASK;
    this.#lap = (state.position & EVENT_WRAP) === 0 ? USED : AVAIL;
    this.#nextUsed = this.#next;
    this.#usedLap = this.#lap === AVAIL ? AVAIL | USED : 0;
    if (state.broken) this.fault = BROKEN_BEFORE;
  }

  ready(): boolean {
    return this.fault !== undefined || this.#look();
  }

  pop(chain: Chain): Popped {
    if (this.fault !== undefined) return BROKEN;
    if (!this.#look()) return EMPTY;
    const memory = this.#memory;
    const at = this.#ring + this.#next * SLOT_BYTES;
    const low = memory.getUint32(at + LOW);
    const high = memory.getUint32(at + HIGH);
    const length = memory.getUint32(at + LENGTH);
    const word = this.#seenFlags << 16;
    chain.begin(0);
    const popped = this.#walk(chain, 1, low, high, length, word | this.#onlyId(at, word));
    if (popped === CHAIN && !this.#advance(chain.slots)) return BROKEN;
    return popped;
  }

  /**
   * As in split queues: a loop for chains of one readable and one writable buffer, which need no `Chain`. All else goes
   * on in `#walk`, from the words read here.
   */
  serve(handler: ChainHandler, chain: Chain, most: number): number {
    if (most < 1 || this.fault !== undefined || !this.#look()) return 0;
    const memory = this.#memory;
    const size = this.size;
    const ring = this.#ring;
    // Each is used before the next is taken, so that all pairs fit if one does.
    const fits = size > 1 && this.#inFlight + 2 <= size;
    let next = this.#next;
    let lap = this.#lap;
    let nextUsed = this.#nextUsed;
    let usedLap = this.#usedLap;
    let pushed = this.#pushed;
    let flags = this.#seenFlags;
    this.#seenFlags = NONE;
    let count = 0;
    for (;;) {
      const at = ring + next * SLOT_BYTES;
      let low = memory.getUint32(at + LOW);
      let high = memory.getUint32(at + HIGH);
      let length = memory.getUint32(at + LENGTH);
      let word = flags << 16;
      let number = 1;
      let written = -1;
      if ((flags & FLAGS_OF_KIND) === NEXT && length !== 0 && fits) {
        const readable = memory.locate(low, high, length);
        const readableBytes = length;
        const second = next + 1 === size ? ring : at + SLOT_BYTES;
        low = memory.getUint32(second + LOW);
        high = memory.getUint32(second + HIGH);
        length = memory.getUint32(second + LENGTH);
        word = memory.getUint32(second + ID);
        const writable = memory.locate(low, high, length);
        if (
          ((word >>> 16) & FLAGS_OF_KIND) === WRITE &&
          length !== 0 &&
          readable >= 0 &&
          writable >= 0
        ) {
          written = handler.handlePair(readable, readableBytes, writable, length);
          this.#writeUsed(nextUsed, usedLap, pushed === 0, word & ID_MASK, written);
          pushed += 2;
          next += 2;
          if (next >= size) {
            next -= size;
            lap ^= AVAIL | USED;
          }
          nextUsed += 2;
          if (nextUsed >= size) {
            nextUsed -= size;
            usedLap ^= AVAIL | USED;
          }
        } else {
          chain.begin(0);
          chain.append(readable, readableBytes, false);
          number = 2;
        }
      } else {
        word |= this.#onlyId(at, word);
        chain.begin(0);
      }
      if (written < 0) {
        this.#next = next;
        this.#lap = lap;
        this.#nextUsed = nextUsed;
        this.#usedLap = usedLap;
        this.#pushed = pushed;
        if (this.#walk(chain, number, low, high, length, word) !== CHAIN) break;
        if (!this.#advance(chain.slots)) break;
        this.#use(chain.id, chain.slots, handler.handleChain(chain));
        next = this.#next;
        lap = this.#lap;
        nextUsed = this.#nextUsed;
        usedLap = this.#usedLap;
        pushed = this.#pushed;
      }
      count += 1;
      if (count === most) break;
      const nextFlags = ring + next * SLOT_BYTES + FLAGS;
      // A plain read is quick but orders nothing: it says whether there is a point in the load, and no more. The load is
      // needed for each chain, since any of them may be the first that a publish of the driver made available.
      if ((memory.getUint16(nextFlags) & (AVAIL | USED)) !== lap) break;
      flags = memory.loadUint16(nextFlags);
      if ((flags & (AVAIL | USED)) !== lap) break;
    }
    this.#next = next;
    this.#lap = lap;
    this.#nextUsed = nextUsed;
    this.#usedLap = usedLap;
    this.#pushed = pushed;
    return count;
  }

  push(chain: Chain, writtenBytes: number): void {
    this.#use(chain.id, chain.slots, writtenBytes);
  }

  publish(): boolean {
    const count = this.#pushed;
    if (count === 0) return false;
    // Pairs with the driver's load of these flags: all pushed descriptors and written buffers are visible after that.
    this.#memory.storeUint16(this.#heldAt + FLAGS, this.#heldFlags);
    this.#pushed = 0;
    return wantsNotification(
      this.#memory,
      this.#driverEvent,
      this.#features.eventIndex,
      this.size,
      this.#nextUsed,
      this.#usedLap !== 0,
      count,
    );
  }

  armNotification(): boolean {
    this.#armed = true;
    armEvent(
      this.#memory,
      this.#deviceEvent,
      this.#features.eventIndex,
      this.#next,
      this.#lap === AVAIL,
    );
    return !this.ready();
  }

  suppressNotification(): void {
    if (!this.#armed) return;
    this.#armed = false;
    suppressEvent(this.#memory, this.#deviceEvent);
  }

  save(): DeviceQueueState {
    // With nothing in flight and nothing held back both positions are one.
    checkIdle(this.#inFlight === 0 && this.#pushed === 0);
    return queueState(
      this,
      this.#features,
      true,
      this.#next | (this.#lap === AVAIL ? EVENT_WRAP : 0),
    );
  }

  /** Reads the flags of the next chain, unless they were seen. True if it is available. */
  #look(): boolean {
    if (this.#seenFlags !== NONE) return true;
    // Pairs with the driver's store of a chain's first flags: the whole chain and its buffers are visible after this.
    const flags = this.#memory.loadUint16(this.#ring + this.#next * SLOT_BYTES + FLAGS);
    if ((flags & (AVAIL | USED)) !== this.#lap) return false;
    this.#seenFlags = flags;
    return true;
  }

  /** The id of a list of one descriptor, whose flags were read: a longer one has it in its last. */
  #onlyId(at: number, word: number): number {
    return (word & (NEXT << 16)) === 0 ? this.#memory.getUint16(at + ID) : 0;
  }

  /** Takes a chain of so many slots. False if the queue is broken now. */
  #advance(slots: number): boolean {
    if (this.#inFlight + slots > this.size) {
      this.#break(TOO_MANY);
      return false;
    }
    this.#seenFlags = NONE;
    this.#inFlight += slots;
    this.#next += slots;
    if (this.#next >= this.size) {
      this.#next -= this.size;
      this.#lap ^= AVAIL | USED;
    }
    return true;
  }

  /** Marks a chain of so many slots as used. */
  #use(id: number, slots: number, writtenBytes: number): void {
    this.#writeUsed(this.#nextUsed, this.#usedLap, this.#pushed === 0, id, writtenBytes);
    this.#pushed += slots;
    this.#inFlight -= slots;
    this.#nextUsed += slots;
    if (this.#nextUsed >= this.size) {
      this.#nextUsed -= this.size;
      this.#usedLap ^= AVAIL | USED;
    }
  }

  /** Writes a used descriptor into `slot`; the flags of the first one since a publish are held back. */
  #writeUsed(slot: number, lap: number, first: boolean, id: number, writtenBytes: number): void {
    const memory = this.#memory;
    const flags = writtenBytes > 0 ? lap | WRITE : lap;
    if (!first && !this.#batchUsed) {
      const at = this.#ring + slot * SLOT_BYTES;
      memory.setUint32(at + LENGTH, writtenBytes);
      // The driver takes used descriptors in ring order, so the first one hides this one until it is published.
      memory.setUint32(at + ID, id | (flags << 16));
      return;
    }
    // A batch has one descriptor, in the slot of its first list and with the id, length and flags of its last.
    const at = first ? this.#ring + slot * SLOT_BYTES : this.#heldAt;
    memory.setUint32(at + LENGTH, writtenBytes);
    memory.setUint16(at + ID, id);
    this.#heldAt = at;
    this.#heldFlags = first ? flags : (this.#heldFlags & (AVAIL | USED)) | (flags & WRITE);
  }

  /** From a descriptor that was read, number `firstNumber` of its list, to the first without NEXT; `firstWord` is id and flags. */
  #walk(
    chain: Chain,
    firstNumber: number,
    firstLow: number,
    firstHigh: number,
    firstLength: number,
    firstWord: number,
  ): Popped {
    const memory = this.#memory;
    const size = this.size;
    let low = firstLow;
    let high = firstHigh;
    let length = firstLength;
    let word = firstWord;
    let writing = false;
    for (let number = firstNumber; ; number += 1) {
      if ((word & (INDIRECT << 16)) !== 0) {
        if (!this.#features.indirect) return this.#break('an indirect table without the feature');
        if (number > 1 || (word & (NEXT << 16)) !== 0)
          return this.#break('an indirect table in a list with other descriptors');
        chain.id = word & ID_MASK;
        return this.#walkTable(memory.locate(low, high, length), length, chain);
      }
      const writable = (word & (WRITE << 16)) !== 0;
      if (writing && !writable) return this.#break('a readable buffer behind a writable one');
      writing = writable;
      if (length !== 0) chain.append(memory.locate(low, high, length), length, writable);
      if ((word & (NEXT << 16)) === 0) {
        chain.id = word & ID_MASK;
        chain.slots = number;
        return CHAIN;
      }
      if (number === size) return this.#break('a chain longer than the queue');
      const slot = this.#next + number;
      const at = this.#ring + (slot < size ? slot : slot - size) * SLOT_BYTES;
      low = memory.getUint32(at + LOW);
      high = memory.getUint32(at + HIGH);
      length = memory.getUint32(at + LENGTH);
      word = memory.getUint32(at + ID);
    }
  }

  /** An indirect table: its descriptors in a row, of whose flags only WRITE has a meaning. */
  #walkTable(table: number, bytes: number, chain: Chain): Popped {
    if (bytes === 0 || bytes % SLOT_BYTES !== 0)
      return this.#break('an indirect table that is not a whole number of descriptors');
    if (table < 0) return this.#break('an indirect table outside memory');
    if (bytes > this.size * SLOT_BYTES) return this.#break('a chain longer than the queue');
    const memory = this.#memory;
    let writing = false;
    for (let at = table; at < table + bytes; at += SLOT_BYTES) {
      const low = memory.getUint32(at + LOW);
      const high = memory.getUint32(at + HIGH);
      const length = memory.getUint32(at + LENGTH);
      const flags = memory.getUint16(at + FLAGS);
      if ((flags & INDIRECT) !== 0) return this.#break('an indirect table inside another');
      const writable = (flags & WRITE) !== 0;
      if (writing && !writable) return this.#break('a readable buffer behind a writable one');
      writing = writable;
      if (length !== 0) chain.append(memory.locate(low, high, length), length, writable);
    }
    chain.slots = 1;
    return CHAIN;
  }

  #break(fault: string): Popped {
    this.fault = fault;
    return BROKEN;
  }
}
