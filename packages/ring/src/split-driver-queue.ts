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
import { type BufferList, refuse } from './buffer-list.ts';
import { DescriptorTable, IndirectTables } from './descriptor-table.ts';
import type { GuestMemory } from './guest-memory.ts';
import { clearArea } from './queue-area.ts';
import {
  BROKEN_BEFORE,
  type DriverQueueState,
  chainsInFlight,
  checkDriverQueueState,
  queueState,
} from './queue-state.ts';
import { type DriverQueue, type DriverQueueOptions, type QueueFeatures, Taken } from './queue.ts';
import { locateSplitQueue, passesEvent, splitQueueBytes } from './split-layout.ts';

// Constants of this module cost nothing on the hot path; properties of imported objects are looked up each time.
const { EMPTY, BROKEN } = Taken;
const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const AVAILABLE_ENTRIES = AvailableRing.size;
const AVAILABLE_ENTRY_BYTES = RING_ENTRY_SIZE;
const USED_INDEX = UsedRing.offset.idx;
const USED_ELEMENTS = UsedRing.size;
const USED_ELEMENT_BYTES = UsedElement.size;
const { id: USED_ID, len: USED_LENGTH } = UsedElement.offset;
const FREE = -1;
const NONE = -1;
/** What no entry of the available ring holds, since the largest ring has 32768 descriptors. */
const NO_HEAD = 0xffff;

/** One split queue, as the driver works it. */
export class SplitDriverQueue implements DriverQueue {
  readonly size: number;
  fault: string | undefined = undefined;
  takenBytes = 0;

  readonly #memory: GuestMemory;
  readonly #features: QueueFeatures;
  readonly #inOrder: boolean;
  readonly #available: number;
  readonly #usedEvent: number;
  readonly #used: number;
  readonly #availableEvent: number;
  readonly #mask: number;
  readonly #table: DescriptorTable;
  readonly #indirect: IndirectTables | undefined;
  readonly #buffersPerTable: number;
  /** Our copy of the available entries; of an earlier queue only those that matter. */
  readonly #entries: Uint16Array;
  /** By head: the caller's token, or FREE. */
  readonly #tokens: Int32Array;
  /** By head: the list it describes, as of which revision. */
  readonly #lists: (BufferList | undefined)[];
  readonly #revisions: Uint32Array;
  /** By head: bytes in the writable buffers. */
  readonly #writable: Uint32Array;
  /** By head: its index in the available ring. */
  readonly #positions: Uint16Array;
  /**
   * Free descriptors, first freed first taken. A chain gives back its descriptors in a row and takes them in a row, so
   * that a head which is the first free one has those of its last chain behind it.
   */
  readonly #free: Uint16Array;
  #freeFirst = 0;
  #freeCount: number;

  #nextAvailable = 0;
  #publishedAvailable = 0;
  #nextUsed = 0;
  #seenUsed = 0;
  #armed = true;
  /** The length in the used element read last, and the head it names while a batch is being taken. */
  #usedBytes = 0;
  #batchLast = NONE;

  /**
   * Takes the memory of the layout, and clears it unless there is a state to go on from.
   *
   * @throws {IommuError} `EINVAL` or `EFAULT` for a layout or a state that cannot be used.
   */
  constructor({ memory, layout, features, indirect, state }: DriverQueueOptions) {
    const { size } = layout;
    const at = locateSplitQueue(memory, layout);
    this.#buffersPerTable = features.indirect ? (indirect?.buffersPerChain ?? 0) : 0;
    if (state !== undefined)
      checkDriverQueueState(state, size, features, false, this.#buffersPerTable);
    const content = state === undefined ? 'cleared' : 'kept';
    this.#available = at.available;
    this.#usedEvent = at.usedEvent;
    this.#used = at.used;
    this.#availableEvent = at.availableEvent;
    this.#memory = memory;
    this.#features = features;
    this.#inOrder = features.inOrder ?? false;
    this.size = size;
    this.#mask = size - 1;
    this.#table = new DescriptorTable(memory, at.table, size, content);
    if (features.indirect && indirect !== undefined)
      this.#indirect = new IndirectTables(memory, indirect, size, content);
    this.#entries = new Uint16Array(size);
    this.#tokens = new Int32Array(size).fill(FREE);
    this.#lists = Array.from({ length: size }, () => undefined);
    this.#revisions = new Uint32Array(size);
    this.#writable = new Uint32Array(size);
    this.#positions = new Uint16Array(size);
    this.#free = Uint16Array.from({ length: size }, (_, index) => index);
    this.#freeCount = size;
    if (state !== undefined) {
      this.#goOn(state);
      return;
    }
    const bytes = splitQueueBytes(size);
    clearArea(memory, this.#available, bytes.driverArea);
    clearArea(memory, this.#used, bytes.deviceArea);
  }

  get inFlight(): number {
    return (this.#nextAvailable - this.#nextUsed) & 0xffff;
  }

  get position(): number {
    return this.#nextAvailable;
  }

  add(buffers: BufferList, token: number): boolean {
    const { count } = buffers;
    assert(count > 0 && token >= 0, 'a chain has a buffer and a token that is not negative');
    const tables = this.#indirect;
    const indirect = tables !== undefined && count > 1 && count <= tables.buffersMax;
    const slots = indirect ? 1 : count;
    if (this.#freeCount < slots) return refuse(buffers, this.size);

    const head = this.#free[this.#freeFirst]!; // Below the size.
    // A list that comes back to the head it had, unchanged, is described there already.
    if (this.#lists[head] !== buffers || this.#revisions[head] !== buffers.revision) {
      if (indirect) this.#describeTable(head, buffers, tables);
      else this.#describeChain(head, buffers);
      this.#lists[head] = buffers;
      this.#revisions[head] = buffers.revision;
    }
    this.#freeFirst = (this.#freeFirst + slots) & this.#mask;
    this.#freeCount -= slots;

    const position = this.#nextAvailable;
    const slot = position & this.#mask;
    if (this.#entries[slot] !== head) {
      this.#entries[slot] = head;
      this.#memory.setUint16(
        this.#available + AVAILABLE_ENTRIES + slot * AVAILABLE_ENTRY_BYTES,
        head,
      );
    }
    this.#tokens[head] = token;
    this.#positions[head] = position;
    this.#writable[head] = buffers.writableBytes;
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
    const next = this.#nextUsed;
    if (this.#seenUsed === next && !this.#look()) return EMPTY;
    // From before, or because the look found an index that makes no sense.
    if (this.fault !== undefined) return BROKEN;
    let head = this.#batchLast;
    if (head === NONE) {
      const element = this.#used + USED_ELEMENTS + (next & this.#mask) * USED_ELEMENT_BYTES;
      head = this.#memory.getUint32(element + USED_ID);
      this.#usedBytes = this.#memory.getUint32(element + USED_LENGTH);
      if (head >= this.size) return this.#break('a used id lies outside the descriptor table');
      if (this.#tokens[head] === FREE) return this.#break('a used id that is no head in flight');
      if (this.#isHeldBack(head)) return this.#break('a used id that was not available yet');
    }
    this.takenBytes = this.#usedBytes;
    if (this.#inOrder) {
      // The element may stand for a batch: then it names the last of the heads that became available from here on.
      const first = this.#entries[next & this.#mask]!; // Below the size.
      const last = first === head;
      this.#batchLast = last ? NONE : head;
      if (!last) {
        if (((next + 1) & 0xffff) === this.#seenUsed)
          return this.#break('a batch that ends behind the used index');
        head = first;
        this.takenBytes = this.#writable[head]!; // Below the size.
      }
    }
    const token = this.#tokens[head]!; // Below the size.
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

  save(): DriverQueueState {
    const { inFlight } = this;
    const unpublished = (this.#nextAvailable - this.#publishedAvailable) & 0xffff;
    const latest = Array.from(
      { length: inFlight },
      (_, index) => this.#entries[(this.#nextUsed + index) & this.#mask]!, // Below the size.
    );
    const heads = chainsInFlight(this.#tokens, latest, unpublished, this.#inOrder);
    return {
      ...queueState(this, this.#features, false, this.#nextAvailable),
      buffersPerTable: this.#buffersPerTable,
      free: Array.from(
        { length: this.#freeCount },
        (_, index) => this.#free[(this.#freeFirst + index) & this.#mask]!, // Below the size.
      ),
      chains: heads.map((head) => {
        const ids = this.#descriptorsOf(head);
        const writableBytes = this.#writable[head]!; // Below the size, as in the next line.
        return { token: this.#tokens[head]!, writableBytes, ids, slots: ids.length };
      }),
      unpublished,
      heldFlags: 0,
      ...(this.#batchLast !== NONE && {
        batch: { last: this.#batchLast, bytes: this.#usedBytes },
      }),
    };
  }

  /** Takes over a state that was checked; what is in shared memory is not looked at. */
  #goOn({ position, free, chains, unpublished, batch, broken }: DriverQueueState): void {
    this.#nextAvailable = position;
    this.#publishedAvailable = (position - unpublished) & 0xffff;
    this.#nextUsed = (position - chains.length) & 0xffff;
    this.#seenUsed = this.#nextUsed;
    this.#free.set(free);
    this.#freeCount = free.length;
    this.#entries.fill(NO_HEAD);
    for (const [index, { token, writableBytes, ids }] of chains.entries()) {
      const head = ids[0]!; // A chain has a descriptor.
      const at = (this.#nextUsed + index) & 0xffff;
      this.#tokens[head] = token;
      this.#writable[head] = writableBytes;
      this.#positions[head] = at;
      // Where a published chain stands in the ring matters only if they are used in order, and is known only then.
      if (this.#inOrder || index >= chains.length - unpublished)
        this.#entries[at & this.#mask] = head;
      for (const [link, id] of ids.entries()) this.#table.link(id, ids[link + 1]);
    }
    this.#batchLast = batch?.last ?? NONE;
    this.#usedBytes = batch?.bytes ?? 0;
    if (broken) this.fault = BROKEN_BEFORE;
  }

  /** Reads the used index. True if it shows something to do, be it only a fault. */
  #look(): boolean {
    // Pairs with the device's store of the used index: elements and written buffers are visible after this.
    const used = this.#memory.loadUint16(this.#used + USED_INDEX);
    const ahead = (used - this.#nextUsed) & 0xffff;
    if (ahead === 0) return this.fault !== undefined;
    if (ahead > ((this.#publishedAvailable - this.#nextUsed) & 0xffff))
      this.#break('the device used more chains than were available');
    else this.#seenUsed = used;
    return true;
  }

  /** True if `head` was added and not yet published, so that the device cannot have used it. */
  #isHeldBack(head: number): boolean {
    const position = this.#positions[head]!; // Below the size.
    const since = (position - this.#publishedAvailable) & 0xffff;
    const added = (this.#nextAvailable - this.#publishedAvailable) & 0xffff;
    // A head that is in flight since 65536 chains has an equal position, but no longer the entry there.
    return since < added && this.#entries[position & this.#mask] === head;
  }

  /** Describes a chain in the descriptors that are free next, of which `head` is the first. */
  #describeChain(head: number, buffers: BufferList): void {
    let index = head;
    for (let buffer = 0; buffer < buffers.count; buffer += 1) {
      const next = this.#free[(this.#freeFirst + buffer + 1) & this.#mask]!; // Below the size.
      describe(this.#table, index, buffers, buffer, next);
      this.#lists[index] = undefined; // As a head it has to be described anew.
      index = next;
    }
  }

  /** Describes a chain in the indirect table of `head`. */
  #describeTable(head: number, buffers: BufferList, tables: IndirectTables): void {
    const { count } = buffers;
    const first = tables.first(head);
    for (let buffer = 0; buffer < count; buffer += 1)
      describe(tables.entries, first + buffer, buffers, buffer, buffer + 1);
    this.#table.set(head, tables.low(head), tables.high(head), count * Descriptor.size, INDIRECT);
  }

  /** The descriptors of a chain, as our own copy links them. */
  #descriptorsOf(head: number): number[] {
    const ids = [head];
    for (let word = this.#table.lastWord(head); (word & NEXT) !== 0;) {
      ids.push(word >>> 16);
      word = this.#table.lastWord(word >>> 16);
    }
    return ids;
  }

  /** Gives the descriptors of a chain back, likewise. */
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
    return BROKEN;
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
