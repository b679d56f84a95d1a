/**
 * The driver's side of a packed virtqueue: section "Packed Virtqueues".
 *
 * The device may write anything into the ring. The driver keeps what it needs in its own memory, by buffer id, and
 * reads from the ring only the flags, id and length of the next used descriptor, once each.
 */

import {
  Descriptor,
  DescriptorFlag,
  EVENT_OFFSET_MASK,
  EVENT_WRAP,
  PackedDescriptor,
  PackedFlag,
  assert,
} from '@viommu/common';
import { type BufferList, refuse } from './buffer-list.ts';
import { IndirectTables } from './descriptor-table.ts';
import type { GuestMemory } from './guest-memory.ts';
import { PackedListBook } from './packed-list-book.ts';
import {
  armEvent,
  locatePackedQueue,
  packedQueueBytes,
  suppressEvent,
  wantsNotification,
} from './packed-layout.ts';
import { clearArea } from './queue-area.ts';
import {
  BROKEN_BEFORE,
  type DriverQueueState,
  chainsInFlight,
  checkDriverQueueState,
  queueState,
} from './queue-state.ts';
import { type DriverQueue, type DriverQueueOptions, type QueueFeatures, Taken } from './queue.ts';

// Constants of this module cost nothing on the hot path; properties of imported objects are looked up each time.
const { EMPTY, BROKEN } = Taken;
const { WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;
const LOW = PackedDescriptor.offset.addr;
const HIGH = LOW + 4;
const LENGTH = PackedDescriptor.offset.len;
/** `id` and, in the upper half of the same word, `flags`. */
const ID = PackedDescriptor.offset.id;
const FLAGS = PackedDescriptor.offset.flags;
const SLOT_BYTES = PackedDescriptor.size;
const NONE = -1;

/** One packed queue, as the driver works it. */
export class PackedDriverQueue implements DriverQueue {
  readonly size: number;
  fault: string | undefined = undefined;
  takenBytes = 0;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #inOrder: boolean;
  readonly #ring: number;
  readonly #driverEvent: number;
  readonly #deviceEvent: number;
  readonly #indirect: IndirectTables | undefined;
  readonly #buffersPerTable: number;

  readonly #lists: PackedListBook;
  /** Free slots of the ring. */
  #freeSlots: number;

  /** The slot where the next list goes, and the flag that makes it available in that lap: AVAIL, then USED, and so on. */
  #next = 0;
  #lap: number = AVAIL;
  /** The slot of the next used descriptor, and the flags of AVAIL and USED that it has in that lap. */
  #nextUsed = 0;
  #usedLap = AVAIL | USED;
  /** The flags there, once a look has found it used. */
  #seenFlags = NONE;
  /** Slots added since the last publish; the flags of the first of them are held back. */
  #addedSlots = 0;
  #heldAt = 0;
  #heldFlags = 0;
  #armed = true;
  /** The length in the used descriptor read last, and the id it names while a batch is being taken. */
  #usedBytes = 0;
  #batchLast = NONE;

  /**
   * Takes the memory of the layout, and clears it unless there is a state to go on from.
   *
   * @throws {IommuError} `EINVAL` or `EFAULT` for a layout or a state that cannot be used.
   */
  constructor({ memory, layout, features, indirect, state }: DriverQueueOptions) {
    const { size } = layout;
    const at = locatePackedQueue(memory, layout);
    this.#buffersPerTable = features.indirect ? (indirect?.buffersPerChain ?? 0) : 0;
    if (state !== undefined)
      checkDriverQueueState(state, size, features, true, this.#buffersPerTable);
    const content = state === undefined ? 'cleared' : 'kept';
    this.#ring = at.ring;
    this.#driverEvent = at.driverEvent;
    this.#deviceEvent = at.deviceEvent;
    this.#memory = memory;
    this.#features = features;
    this.#inOrder = features.inOrder ?? false;
    this.size = size;
    if (features.indirect && indirect !== undefined)
      this.#indirect = new IndirectTables(memory, indirect, size, content);
    this.#lists = new PackedListBook(size);
    this.#freeSlots = size;
    if (state !== undefined) {
      this.#goOn(state);
      return;
    }
    const bytes = packedQueueBytes(size);
    clearArea(memory, at.ring, bytes.descriptorArea);
    clearArea(memory, at.driverEvent, bytes.driverArea);
    clearArea(memory, at.deviceEvent, bytes.deviceArea);
  }

  get inFlight(): number {
    return this.#lists.inFlight;
  }

  get position(): number {
    return this.#next | (this.#lap === AVAIL ? EVENT_WRAP : 0);
  }

  add(buffers: BufferList, token: number): boolean {
    const { count } = buffers;
    if (count === 0 || token < 0)
      assert(false, 'a chain has a buffer and a token that is not negative');
    const tables = this.#indirect;
    const indirect = tables !== undefined && count > 1 && count <= tables.buffersMax;
    const slots = indirect ? 1 : count;
    // A list takes a slot at least, so there is a free id whenever there is a free slot.
    if (this.#freeSlots < slots) return refuse(buffers, this.size);
    this.#freeSlots -= slots;
    const id = this.#lists.begin(token, slots, buffers.writableBytes);
    const first = this.#ring + this.#next * SLOT_BYTES;
    const flags = indirect
      ? this.#describeTable(buffers, id, tables)
      : this.#describeList(buffers, id);
    // What makes a list available comes last: for the first one since a publish at the next publish, else now.
    if (this.#addedSlots === 0) {
      this.#heldAt = first + FLAGS;
      this.#heldFlags = flags;
    } else {
      this.#memory.setUint16(first + FLAGS, flags);
    }
    this.#addedSlots += slots;
    return true;
  }

  publish(): boolean {
    const count = this.#addedSlots;
    if (count === 0) return false;
    // Pairs with the device's load of these flags: all added lists and their buffers are visible after that.
    this.#memory.storeUint16(this.#heldAt, this.#heldFlags);
    this.#addedSlots = 0;
    this.#lists.publish();
    return wantsNotification(
      this.#memory,
      this.#deviceEvent,
      this.#features.eventIndex,
      this.size,
      this.#next,
      this.#lap === AVAIL,
      count,
    );
  }

  take(): number {
    if (this.fault !== undefined) return BROKEN;
    if (this.#inOrder) return this.#takeInOrder();
    if (!this.#look()) return EMPTY;
    const id = this.#readUsed();
    if (id < 0) return BROKEN;
    this.takenBytes = this.#usedBytes;
    return this.#end(id);
  }

  /** As {@link take}: a descriptor may stand for a batch, and names the last of the lists that became available then. */
  #takeInOrder(): number {
    let named = this.#batchLast;
    if (named === NONE) {
      if (!this.#look()) return EMPTY;
      named = this.#readUsed();
      if (named < 0) return BROKEN;
    }
    const id = this.#lists.oldest();
    const last = id === named;
    this.#batchLast = last ? NONE : named;
    this.takenBytes = last ? this.#usedBytes : this.#lists.writableBytes(id);
    return this.#end(id);
  }

  ready(): boolean {
    return this.fault !== undefined || this.#batchLast !== NONE || this.#look();
  }

  armNotification(): boolean {
    this.#armed = true;
    armEvent(
      this.#memory,
      this.#driverEvent,
      this.#features.eventIndex,
      this.#nextUsed,
      this.#usedLap !== 0,
    );
    return !this.ready();
  }

  suppressNotification(): void {
    if (!this.#armed) return;
    this.#armed = false;
    suppressEvent(this.#memory, this.#driverEvent);
  }

  save(): DriverQueueState {
    const unpublished = this.#lists.held;
    const latest = this.#lists.latest();
    const ids = chainsInFlight(this.#lists.tokens(), latest, unpublished, this.#inOrder);
    return {
      ...queueState(this, this.#features, true, this.position),
      buffersPerTable: this.#buffersPerTable,
      free: this.#lists.free(),
      chains: ids.map((id) => this.#lists.list(id)),
      unpublished,
      heldFlags: unpublished === 0 ? 0 : this.#heldFlags & ~(AVAIL | USED),
      ...(this.#batchLast !== NONE && {
        batch: { last: this.#batchLast, bytes: this.#usedBytes },
      }),
    };
  }

  /** Takes over a state that was checked; what is in shared memory is not looked at. */
  #goOn({ position, free, chains, unpublished, heldFlags, batch, broken }: DriverQueueState): void {
    this.#next = position & EVENT_OFFSET_MASK;
    this.#lap = (position & EVENT_WRAP) === 0 ? USED : AVAIL;
    this.#lists.goOn(free, chains, unpublished);
    for (const [index, { slots }] of chains.entries()) {
      this.#freeSlots -= slots;
      if (index >= chains.length - unpublished) this.#addedSlots += slots;
    }
    const slots = this.size - this.#freeSlots;
    this.#nextUsed = this.#before(slots);
    this.#usedLap = this.#lapBefore(slots) === AVAIL ? AVAIL | USED : 0;
    this.#heldAt = this.#ring + this.#before(this.#addedSlots) * SLOT_BYTES + FLAGS;
    this.#heldFlags = heldFlags | this.#lapBefore(this.#addedSlots);
    this.#batchLast = batch?.last ?? NONE;
    this.#usedBytes = batch?.bytes ?? 0;
    if (broken) this.fault = BROKEN_BEFORE;
  }

  /** The slot so many, and at most a lap, before the next one. */
  #before(slots: number): number {
    return this.#next >= slots ? this.#next - slots : this.#next - slots + this.size;
  }

  /** The flag that made a list available there. */
  #lapBefore(slots: number): number {
    return this.#next >= slots ? this.#lap : this.#lap ^ (AVAIL | USED);
  }

  /** Reads the flags of the next used descriptor, unless they were seen. True if it is used. */
  #look(): boolean {
    if (this.#seenFlags !== NONE) return true;
    // Pairs with the device's store of a used descriptor's flags: its id, length and the buffers are visible after this.
    const flags = this.#memory.loadUint16(this.#ring + this.#nextUsed * SLOT_BYTES + FLAGS);
    // With nothing published in flight, whatever the ring says is not an answer.
    if ((flags & (AVAIL | USED)) !== this.#usedLap || !this.#lists.awaited) return false;
    this.#seenFlags = flags;
    return true;
  }

  /** Reads the used descriptor that was found. Returns its id, or BROKEN. */
  #readUsed(): number {
    const memory = this.#memory;
    const at = this.#ring + this.#nextUsed * SLOT_BYTES;
    const id = memory.getUint16(at + ID);
    const bytes = memory.getUint32(at + LENGTH);
    // The length has a meaning only if the device says that it wrote.
    this.#usedBytes = (this.#seenFlags & WRITE) === 0 ? 0 : bytes;
    this.#seenFlags = NONE;
    if (id >= this.size) return this.#break('a used id lies outside the ring');
    if (this.#lists.token(id) < 0) return this.#break('a used id that is not in flight');
    if (this.#lists.isHeld(id)) return this.#break('a used id that was not available yet');
    return id;
  }

  /** Takes a list back. Returns its token. */
  #end(id: number): number {
    const slots = this.#lists.slots(id);
    this.#freeSlots += slots;
    const next = this.#nextUsed + slots;
    if (next < this.size) {
      this.#nextUsed = next;
    } else {
      this.#nextUsed = next - this.size;
      this.#usedLap ^= AVAIL | USED;
    }
    return this.#lists.end(id);
  }

  /** Writes a list into the next slots, but the flags of the first of them, which it returns. */
  #describeList({ count, words }: BufferList, id: number): number {
    const memory = this.#memory;
    const ring = this.#ring;
    const { size } = this;
    let slot = this.#next;
    let lap = this.#lap;
    const firstFlags = (words[3]! >>> 16) | lap; // There is a first buffer.
    // The id of a list stands in its last descriptor; some devices, QEMU 7.2 among them, take that of the first.
    memory.setUint16(ring + slot * SLOT_BYTES + ID, id);
    for (let word = 0, end = count * 4; word < end; word += 4) {
      const at = ring + slot * SLOT_BYTES;
      const low = words[word]!; // Below the count, as the others.
      const high = words[word + 1]!;
      const length = words[word + 2]!;
      const flags = words[word + 3]! | (lap << 16);
      memory.setUint32(at + LOW, low);
      memory.setUint32(at + HIGH, high);
      memory.setUint32(at + LENGTH, length);
      if (word > 0) memory.setUint32(at + ID, flags | id);
      slot += 1;
      if (slot === size) {
        slot = 0;
        lap ^= AVAIL | USED;
      }
    }
    this.#next = slot;
    this.#lap = lap;
    return firstFlags;
  }

  /** Likewise, into the table of `id` and one slot. */
  #describeTable(buffers: BufferList, id: number, tables: IndirectTables): number {
    const memory = this.#memory;
    const { count, words } = buffers;
    const entry = tables.first(id);
    for (let index = 0; index < count; index += 1) {
      const word = index * 4;
      tables.entries.set(
        entry + index,
        words[word]!, // Below the count, as the others.
        words[word + 1]!,
        words[word + 2]!,
        words[word + 3]! & (WRITE << 16), // Neither an id nor NEXT has a meaning.
      );
    }
    const at = this.#ring + this.#next * SLOT_BYTES;
    memory.setUint32(at + LOW, tables.low(id));
    memory.setUint32(at + HIGH, tables.high(id));
    memory.setUint32(at + LENGTH, count * Descriptor.size);
    memory.setUint16(at + ID, id);
    const flags = INDIRECT | this.#lap;
    this.#next += 1;
    if (this.#next === this.size) {
      this.#next = 0;
      this.#lap ^= AVAIL | USED;
    }
    return flags;
  }

  #break(fault: string): number {
    this.fault = fault;
    return BROKEN;
  }
}
