/**
 * The driver's side of a split virtqueue: section "Split Virtqueues".
 *
 * The device may write anything into the used ring, and into everything else it can reach. The driver therefore never
 * reads back what it wrote: it keeps its own copy of descriptors, available entries and tokens.
 */

import {
  AvailableFlag,
  AvailableRing,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedFlag,
  UsedRing,
  assert,
} from '@viommu/common';
import { type BufferList, refuse } from './buffer-list.ts';
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
import { SplitChainBook } from './split-chain-book.ts';
import { locateSplitQueue, passesEvent, splitQueueBytes } from './split-layout.ts';

// Constants of this module cost nothing on the hot path; properties of imported objects are looked up each time.
const { EMPTY, BROKEN } = Taken;
const AVAILABLE_INDEX = AvailableRing.offset.idx;
const AVAILABLE_ENTRIES = AvailableRing.size;
const AVAILABLE_ENTRY_BYTES = RING_ENTRY_SIZE;
const USED_INDEX = UsedRing.offset.idx;
const USED_ELEMENTS = UsedRing.size;
const USED_ELEMENT_BYTES = UsedElement.size;
const { id: USED_ID, len: USED_LENGTH } = UsedElement.offset;
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
  readonly #chains: SplitChainBook;
  readonly #buffersPerTable: number;
  /** Our copy of the available entries; of an earlier queue only those that matter. */
  readonly #entries: Uint16Array;

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
    const tables = features.indirect ? indirect : undefined;
    this.#chains = new SplitChainBook(memory, at.table, size, tables, content);
    this.#entries = new Uint16Array(size);
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
    if (token < 0) assert(false, 'a token is not negative');
    const position = this.#nextAvailable;
    const head = this.#chains.begin(buffers, token, position);
    if (head < 0) return refuse(buffers, this.size);
    const slot = position & this.#mask;
    if (this.#entries[slot] !== head) {
      this.#entries[slot] = head;
      this.#memory.setUint16(
        this.#available + AVAILABLE_ENTRIES + slot * AVAILABLE_ENTRY_BYTES,
        head,
      );
    }
    this.#nextAvailable = (position + 1) & 0xffff;
    return true;
  }

  publish(): boolean {
    const before = this.#publishedAvailable;
    const now = this.#nextAvailable;
    if (now === before) return false;
    // Pairs with the device's load of the available index: descriptors and buffers are visible after that.
    this.#memory.storeUint16(this.#available + AVAILABLE_INDEX, now);
    this.#publishedAvailable = now;
    // After the store, and ordered with it: a device that arms and then looks again cannot miss both.
    if (this.#features.eventIndex)
      return passesEvent(this.#memory.loadUint16(this.#availableEvent), now, before);
    const flags = this.#memory.loadUint16(this.#used + UsedRing.offset.flags);
    return (flags & UsedFlag.NO_NOTIFY) === 0;
  }

  take(): number {
    const next = this.#nextUsed;
    if (this.#seenUsed === next) {
      if (!this.#look()) return EMPTY;
      // From before, or because the look found an index that makes no sense.
      if (this.fault !== undefined) return BROKEN;
    }
    if (this.#inOrder) return this.#takeInOrder(next);
    const element = this.#used + USED_ELEMENTS + (next & this.#mask) * USED_ELEMENT_BYTES;
    const head = this.#memory.getUint32(element + USED_ID);
    const bytes = this.#memory.getUint32(element + USED_LENGTH);
    const token = this.#tokenOf(head);
    if (token < 0) return BROKEN;
    this.takenBytes = bytes;
    this.#end(head);
    return token;
  }

  /** As {@link take}: an element may stand for a batch, and names the last of the heads that became available then. */
  #takeInOrder(next: number): number {
    let named = this.#batchLast;
    if (named === NONE) {
      const element = this.#used + USED_ELEMENTS + (next & this.#mask) * USED_ELEMENT_BYTES;
      named = this.#memory.getUint32(element + USED_ID);
      this.#usedBytes = this.#memory.getUint32(element + USED_LENGTH);
      if (this.#tokenOf(named) < 0) return BROKEN;
    }
    const head = this.#entries[next & this.#mask]!; // Below the size.
    const last = head === named;
    this.#batchLast = last ? NONE : named;
    if (!last && ((next + 1) & 0xffff) === this.#seenUsed)
      return this.#break('a batch that ends behind the used index');
    this.takenBytes = last ? this.#usedBytes : this.#chains.writableBytes(head);
    const token = this.#chains.token(head);
    this.#end(head);
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
    const heads = chainsInFlight(this.#chains.tokens(), latest, unpublished, this.#inOrder);
    return {
      ...queueState(this, this.#features, false, this.#nextAvailable),
      buffersPerTable: this.#buffersPerTable,
      free: this.#chains.free(),
      chains: heads.map((head) => this.#chains.chain(head)),
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
    this.#chains.goOn(free, chains, this.#nextUsed);
    this.#entries.fill(NO_HEAD);
    for (const [index, { ids }] of chains.entries()) {
      const at = (this.#nextUsed + index) & this.#mask;
      // Where a published chain stands in the ring matters only if they are used in order, and is known only then.
      if (this.#inOrder || index >= chains.length - unpublished) this.#entries[at] = ids[0]!; // It has a descriptor.
    }
    this.#batchLast = batch?.last ?? NONE;
    this.#usedBytes = batch?.bytes ?? 0;
    if (broken) this.fault = BROKEN_BEFORE;
  }

  /** Takes a chain back. */
  #end(head: number): void {
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    this.#chains.end(head);
  }

  /** Reads the used index. True if it shows something to do, be it only a fault. */
  #look(): boolean {
    if (this.fault !== undefined) return true;
    // Pairs with the device's store of the used index: elements and written buffers are visible after this.
    const used = this.#memory.loadUint16(this.#used + USED_INDEX);
    const ahead = (used - this.#nextUsed) & 0xffff;
    if (ahead === 0) return false;
    if (ahead > ((this.#publishedAvailable - this.#nextUsed) & 0xffff))
      this.#break('the device used more chains than were available');
    else this.#seenUsed = used;
    return true;
  }

  /** The token of the chain that the device used under `head`; BROKEN if it may not have, and the queue is then. */
  #tokenOf(head: number): number {
    if (head >= this.size) return this.#break('a used id lies outside the descriptor table');
    const token = this.#chains.token(head);
    if (token < 0) return this.#break('a used id that is no head in flight');
    // Mostly nothing is held back.
    if (this.#publishedAvailable !== this.#nextAvailable && this.#isHeldBack(head))
      return this.#break('a used id that was not available yet');
    return token;
  }

  /** True if `head` was added and not yet published, so that the device cannot have used it. */
  #isHeldBack(head: number): boolean {
    const position = this.#chains.position(head);
    const since = (position - this.#publishedAvailable) & 0xffff;
    const added = (this.#nextAvailable - this.#publishedAvailable) & 0xffff;
    // A head that is in flight since 65536 chains has an equal position, but no longer the entry there.
    return since < added && this.#entries[position & this.#mask] === head;
  }

  #break(fault: string): number {
    this.fault = fault;
    // So that the next take looks, and finds the fault.
    this.#seenUsed = this.#nextUsed;
    return BROKEN;
  }
}
