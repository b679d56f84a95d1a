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

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;
const { addr, len, id: bufferId, flags: slotFlags } = PackedDescriptor.offset;
const SLOT_BYTES = PackedDescriptor.size;
const FREE = -1;
const NONE = -1;

/** One packed queue, as the driver works it. */
export class PackedDriverQueue implements DriverQueue {
  readonly size: number;
  fault: string | undefined = undefined;
  takenBytes = 0;
  inFlight = 0;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #inOrder: boolean;
  readonly #ring: number;
  readonly #driverEvent: number;
  readonly #deviceEvent: number;
  readonly #indirect: IndirectTables | undefined;
  readonly #buffersPerTable: number;

  /** By buffer id: the caller's token, or FREE. */
  readonly #tokens: Int32Array;
  /** By buffer id: the number of its list. */
  readonly #numbers: Uint16Array;
  /** By buffer id: bytes in the writable buffers. */
  readonly #writable: Uint32Array;
  /** By buffer id: slots of the ring that its list occupies. */
  readonly #slots: Uint16Array;
  /** Free buffer ids, first freed first taken, so that an indirect table comes back to the buffers it had. */
  readonly #freeIds: Uint16Array;
  #freeFirst = 0;
  /** Free slots of the ring. */
  #freeSlots: number;

  /** The slot where the next list goes, and the wrap counter of that lap. */
  #next = 0;
  #wrap = true;
  /** The slot of the next used descriptor, and the wrap counter of that lap. */
  #nextUsed = 0;
  #usedWrap = true;
  /** Lists added and lists published so far, modulo 2^16. */
  #addedLists = 0;
  #publishedLists = 0;
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
    this.#tokens = new Int32Array(size).fill(FREE);
    this.#numbers = new Uint16Array(size);
    this.#writable = new Uint32Array(size);
    this.#slots = new Uint16Array(size);
    this.#freeIds = Uint16Array.from({ length: size }, (_, id) => id);
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

  get position(): number {
    return this.#next | (this.#wrap ? EVENT_WRAP : 0);
  }

  add(buffers: BufferList, token: number): boolean {
    const { count } = buffers;
    assert(count > 0 && token >= 0, 'a chain has a buffer and a token that is not negative');
    const tables = this.#indirect;
    const indirect = tables !== undefined && count > 1 && count <= tables.buffersMax;
    const slots = indirect ? 1 : count;
    // A list takes a slot at least, so there is a free id whenever there is a free slot.
    if (this.#freeSlots < slots) return refuse(buffers, this.size);

    const id = this.#freeIds[this.#freeFirst]!; // Below the size.
    this.#freeFirst = this.#freeFirst + 1 === this.size ? 0 : this.#freeFirst + 1;
    const firstAt = this.#ring + this.#next * SLOT_BYTES + slotFlags;
    let firstFlags = 0;
    if (indirect) {
      const entry = tables.first(id);
      for (let index = 0; index < count; index += 1) {
        const flags = index >= buffers.readableCount ? WRITE : 0;
        tables.entries.set(
          entry + index,
          buffers.low[index]!, // Below the count, as the two others.
          buffers.high[index]!,
          buffers.length[index]!,
          flags << 16, // The id of an entry has no meaning.
        );
      }
      const bytes = count * Descriptor.size;
      firstFlags = this.#describe(0, tables.low(id), tables.high(id), bytes, id, INDIRECT);
    } else {
      for (let index = 0; index < count; index += 1) {
        const more = index + 1 < count ? NEXT : 0;
        const flags = more | (index >= buffers.readableCount ? WRITE : 0);
        const word = this.#describe(
          index,
          buffers.low[index]!, // Below the count, as the two others.
          buffers.high[index]!,
          buffers.length[index]!,
          id,
          flags,
        );
        if (index === 0) firstFlags = word;
      }
    }
    // What makes a list available comes last: for the first one since a publish at the next publish, else now.
    if (this.#addedSlots === 0) {
      this.#heldAt = firstAt;
      this.#heldFlags = firstFlags;
    } else {
      this.#memory.setUint16(firstAt, firstFlags);
    }
    this.#addedSlots += slots;
    this.#tokens[id] = token;
    this.#numbers[id] = this.#addedLists;
    this.#writable[id] = buffers.writableBytes;
    this.#slots[id] = slots;
    this.#freeSlots -= slots;
    this.#addedLists = (this.#addedLists + 1) & 0xffff;
    this.inFlight += 1;
    return true;
  }

  publish(): boolean {
    const count = this.#addedSlots;
    if (count === 0) return false;
    // Pairs with the device's load of these flags: all added lists and their buffers are visible after that.
    this.#memory.storeUint16(this.#heldAt, this.#heldFlags);
    this.#addedSlots = 0;
    this.#publishedLists = this.#addedLists;
    return wantsNotification(
      this.#memory,
      this.#deviceEvent,
      this.#features.eventIndex,
      this.size,
      this.#next,
      this.#wrap,
      count,
    );
  }

  take(): number {
    if (this.fault !== undefined) return Taken.BROKEN;
    let id = this.#batchLast;
    if (id === NONE) {
      const flags = this.#loadFlags();
      if (!this.#isUsed(flags)) return Taken.EMPTY;
      const at = this.#ring + this.#nextUsed * SLOT_BYTES;
      id = this.#memory.getUint16(at + bufferId);
      const bytes = this.#memory.getUint32(at + len);
      // The length has a meaning only if the device says that it wrote.
      this.#usedBytes = (flags & WRITE) === 0 ? 0 : bytes;
      if (id >= this.size) return this.#break('a used id lies outside the ring');
      if (this.#tokens[id] === FREE) return this.#break('a used id that is not in flight');
      if (this.#isHeldBack(id)) return this.#break('a used id that was not available yet');
    }
    this.takenBytes = this.#usedBytes;
    if (this.#inOrder) {
      // The descriptor may stand for a batch: then it names the last of the lists that became available from here on.
      // Ids come back in the order in which they were given out, so the oldest is the first behind the free ones.
      const first = this.#freeIds[this.#oldestId()]!; // Below the size.
      const last = first === id;
      this.#batchLast = last ? NONE : id;
      if (!last) {
        id = first;
        this.takenBytes = this.#writable[id]!; // Below the size.
      }
    }
    const token = this.#tokens[id]!; // Below the size.
    const slots = this.#slots[id]!; // Below the size.
    this.#nextUsed += slots;
    if (this.#nextUsed >= this.size) {
      this.#nextUsed -= this.size;
      this.#usedWrap = !this.#usedWrap;
    }
    this.#tokens[id] = FREE;
    this.#freeIds[this.#oldestId()] = id;
    this.#freeSlots += slots;
    this.inFlight -= 1;
    return token;
  }

  ready(): boolean {
    return this.fault !== undefined || this.#batchLast !== NONE || this.#isUsed(this.#loadFlags());
  }

  armNotification(): boolean {
    this.#armed = true;
    armEvent(
      this.#memory,
      this.#driverEvent,
      this.#features.eventIndex,
      this.#nextUsed,
      this.#usedWrap,
    );
    return !this.ready();
  }

  suppressNotification(): void {
    if (!this.#armed) return;
    this.#armed = false;
    suppressEvent(this.#memory, this.#driverEvent);
  }

  save(): DriverQueueState {
    const { inFlight } = this;
    const unpublished = (this.#addedLists - this.#publishedLists) & 0xffff;
    const latest = Array.from(
      { length: inFlight },
      (_, index) => this.#freeIds[(this.#oldestId() + index) % this.size]!, // Below the size.
    );
    const ids = chainsInFlight(this.#tokens, latest, unpublished, this.#inOrder);
    return {
      ...queueState(this, this.#features, true, this.position),
      buffersPerTable: this.#buffersPerTable,
      free: Array.from(
        { length: this.size - inFlight },
        (_, index) => this.#freeIds[(this.#freeFirst + index) % this.size]!, // Below the size.
      ),
      chains: ids.map((id) => ({
        token: this.#tokens[id]!, // Below the size, as the others.
        writableBytes: this.#writable[id]!,
        ids: [id],
        slots: this.#slots[id]!,
      })),
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
    this.#wrap = (position & EVENT_WRAP) !== 0;
    this.inFlight = chains.length;
    this.#addedLists = chains.length;
    this.#publishedLists = chains.length - unpublished;
    let slots = 0;
    for (const [index, chain] of chains.entries()) {
      const id = chain.ids[0]!; // A chain has a buffer id.
      // As if they had been given out in this order: the oldest behind the last free one.
      this.#freeIds[free.length + index] = id;
      this.#tokens[id] = chain.token;
      this.#numbers[id] = index;
      this.#writable[id] = chain.writableBytes;
      this.#slots[id] = chain.slots;
      slots += chain.slots;
      if (index >= this.#publishedLists) this.#addedSlots += chain.slots;
    }
    this.#freeIds.set(free);
    this.#freeSlots = this.size - slots;
    this.#nextUsed = this.#before(slots);
    this.#usedWrap = this.#wrap === this.#next >= slots;
    const held = this.#before(this.#addedSlots);
    this.#heldAt = this.#ring + held * SLOT_BYTES + slotFlags;
    this.#heldFlags = heldFlags | (this.#wrap === this.#next >= this.#addedSlots ? AVAIL : USED);
    this.#batchLast = batch?.last ?? NONE;
    this.#usedBytes = batch?.bytes ?? 0;
    if (broken) this.fault = BROKEN_BEFORE;
  }

  /** The slot so many, and at most a lap, before the next one. */
  #before(slots: number): number {
    return this.#next >= slots ? this.#next - slots : this.#next - slots + this.size;
  }

  /** True if the list of `id` was added and not yet published, so that the device cannot have used it. */
  #isHeldBack(id: number): boolean {
    // Lists added since, with this one; for a list in flight since 65536 others that may be any number.
    const back = (this.#addedLists - this.#numbers[id]!) & 0xffff; // Below the size.
    const added = (this.#addedLists - this.#publishedLists) & 0xffff;
    if (back === 0 || back > added) return false;
    const index = this.#freeFirst - back;
    return this.#freeIds[index < 0 ? index + this.size : index] === id;
  }

  /** Where the id that is freed next goes: behind the free ones. There the oldest id in flight was taken from. */
  #oldestId(): number {
    const index = this.#freeFirst + this.size - this.inFlight;
    return index >= this.size ? index - this.size : index;
  }

  #loadFlags(): number {
    // Pairs with the device's store of a used descriptor's flags: its id, length and the buffers are visible after this.
    return this.#memory.loadUint16(this.#ring + this.#nextUsed * SLOT_BYTES + slotFlags);
  }

  #isUsed(flags: number): boolean {
    // With nothing published in flight, whatever the ring says is not an answer.
    if (this.inFlight === ((this.#addedLists - this.#publishedLists) & 0xffff)) return false;
    const expected = this.#usedWrap ? AVAIL | USED : 0;
    return (flags & (AVAIL | USED)) === expected;
  }

  /** Writes the next slot, for buffer `index` of a list. Returns its flags, which are not yet there for the first one. */
  #describe(
    index: number,
    low: number,
    high: number,
    length: number,
    id: number,
    flags: number,
  ): number {
    const memory = this.#memory;
    const at = this.#ring + this.#next * SLOT_BYTES;
    const word = flags | (this.#wrap ? AVAIL : USED);
    memory.setUint32(at + addr, low);
    memory.setUint32(at + addr + 4, high);
    memory.setUint32(at + len, length);
    // The id of a list stands in its last descriptor.
    if ((flags & NEXT) === 0) memory.setUint16(at + bufferId, id);
    if (index > 0) memory.setUint16(at + slotFlags, word);
    this.#next += 1;
    if (this.#next === this.size) {
      this.#next = 0;
      this.#wrap = !this.#wrap;
    }
    return word;
  }

  #break(fault: string): number {
    this.fault = fault;
    return Taken.BROKEN;
  }
}
