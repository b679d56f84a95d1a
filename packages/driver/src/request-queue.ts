/**
 * The request queue: section "Device operations", from the driver's side.
 *
 * Adding a request never tells the device, although one that polls may find it; a sync tells it once about all that were
 * added and then waits until every one of them is complete. Each request's end is told to its owner, so that the failure of one that nobody waited for
 * is not lost. The device may do anything: leave requests lying, complete them out of order, claim lengths and
 * statuses that make no sense, damage the ring.
 */

import {
  type ErrorCode,
  IommuError,
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
  assert,
} from '@viommu/common';
import { type DriverQueue, Taken } from '@viommu/ring';
import { NO_STATUS } from './completion.ts';
import type { DmaPiece } from './dma-memory.ts';
import type { Clock } from './platform.ts';
import { Reply, errorOfReply, propertiesOfReply } from './reply.ts';
import { NO_PAGE, RequestBook } from './request-book.ts';
import type { RequestOwner, RequestPort, RequestQueueOptions } from './request-port.ts';
import { RequestSlots } from './request-slot.ts';
import { SharedSleep } from './shared-sleep.ts';
import type { DeviceWaiter } from './wait.ts';

const { MAP, UNMAP, PROBE } = RequestType;
const BROKEN_RING = Taken.BROKEN;
const [MAP_BYTES, UNMAP_BYTES] = [MapRequest.size, UnmapRequest.size];
const TIMEOUT_MS = 5000;
/** In a long batch the device is shown so many requests at a time, so that it works on them while others are added. */
const SHOWN_TOGETHER = 16;

/** Sends requests to one device. */
export class RequestQueue {
  /** Why the queue was given up, for good; everything fails with `EIO` then. */
  broken: string | undefined = undefined;
  /** Requests added so far. */
  added = 0;
  /** Requests added and not complete. */
  inFlight = 0;
  /** Those of them that were not yet shown to the device. */
  unsent = 0;

  #queue: DriverQueue;
  #slots: RequestSlots;
  #book: RequestBook;
  /** The slots of those that were not shown, in the order in which they were added. */
  #unsent: Uint16Array;
  /** The device wanted to be told of what it was shown, and was not yet. */
  #untold = false;
  readonly #port: RequestPort;
  readonly #waiter: DeviceWaiter;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #epoch = 0;
  readonly #sleepers: SharedSleep;

  /** @throws {IommuError} `ENOMEM` or `EFAULT` if there is no memory for the requests. */
  constructor(options: RequestQueueOptions) {
    const { queue, dma, slots, probeSize, port, waiter, clock, timeoutMs = TIMEOUT_MS } = options;
    this.#queue = queue;
    this.#slots = new RequestSlots(dma, slots, probeSize);
    this.#port = port;
    this.#waiter = waiter;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    const all = slots + 1; // The PROBE slot is the last.
    this.#book = new RequestBook(all);
    this.#unsent = new Uint16Array(all);
    this.#sleepers = new SharedSleep(
      (leftMs) => waiter.doze(this.#queue, leftMs),
      () => this.#awake(),
    );
    queue.suppressNotification();
  }

  /** The type byte of the request in `slot`. */
  typeOf(slot: number): number {
    return this.#book.types[slot] ?? 0;
  }

  /** The first page of a MAP or UNMAP added as pages, else -1. */
  startPageOf(slot: number): number {
    return this.#book.startPages[slot] ?? NO_PAGE;
  }

  /** The last page of a MAP or UNMAP added as pages, else -1. */
  lastPageOf(slot: number): number {
    return this.#book.lastPages[slot] ?? NO_PAGE;
  }

  /**
   * Adds a request, given as its device-readable bytes, and returns its slot. The bytes are copied.
   *
   * If there is no room this syncs once, and fails if there is none after that.
   *
   * @throws {IommuError} `EINVAL` if there are no bytes or more than any request has, `EIO` if the queue is or becomes
   * broken, `ENOSPC` if the ring cannot hold a request at all.
   */
  addReq(bytes: Uint8Array, owner?: RequestOwner): number {
    const type = bytes[0];
    if (type === undefined) throw new IommuError('EINVAL', 'A request has no bytes.');
    if (bytes.length > (type === PROBE ? ProbeRequest.size : MapRequest.size))
      throw new IommuError('EINVAL', `No request of type ${type} has ${bytes.length} bytes.`);
    const slot = this.#claim(type === PROBE);
    this.#slots.write(slot, bytes);
    this.#add(slot, type, bytes.length, owner, NO_PAGE, NO_PAGE);
    return slot;
  }

  /**
   * Adds a MAP of the whole pages `startPage` to `lastPage`. `flags` are those of the request.
   *
   * @throws {IommuError} as {@link addReq}.
   */
  addMap(
    owner: RequestOwner | undefined,
    domain: number,
    startPage: number,
    lastPage: number,
    physPage: number,
    flags: number,
  ): number {
    const slot = this.#claim(false);
    this.#slots.writeMap(slot, domain, startPage, lastPage, physPage, flags);
    this.#add(slot, MAP, MAP_BYTES, owner, startPage, lastPage);
    return slot;
  }

  /**
   * Adds an UNMAP of the whole pages `startPage` to `lastPage`.
   *
   * @throws {IommuError} as {@link addReq}.
   */
  addUnmap(
    owner: RequestOwner | undefined,
    domain: number,
    startPage: number,
    lastPage: number,
  ): number {
    const slot = this.#claim(false);
    this.#slots.writeUnmap(slot, domain, startPage, lastPage);
    this.#add(slot, UNMAP, UNMAP_BYTES, owner, startPage, lastPage);
    return slot;
  }

  /**
   * Waits until every request in flight is complete, telling the device at most once. Without any this does nothing.
   *
   * Returns `EIO` if the queue is or becomes broken; how the requests ended is told to their owners.
   */
  syncReq(): ErrorCode | undefined {
    if (this.broken !== undefined) return 'EIO';
    if (this.inFlight === 0) return undefined;
    this.#publish();
    while (this.inFlight > 0) {
      if (!this.#waiter.poll(this.#queue) && !this.#sleep()) this.#timeOut();
      this.#reap();
    }
    return this.broken === undefined ? undefined : 'EIO';
  }

  /** Sends a request and waits for it, and so for all before it. Returns what was wrong, or `undefined`. */
  sendReqSync(bytes: Uint8Array): ErrorCode | undefined {
    return errorOfReply(this.#send(bytes));
  }

  /** Sends a PROBE as {@link sendReqSync} does. Returns the properties, or what was wrong. */
  sendProbeSync(bytes: Uint8Array): Uint8Array | ErrorCode {
    return propertiesOfReply(this.#send(bytes));
  }

  /**
   * As {@link syncReq}, for threads that must not block; requests added meanwhile are not waited for.
   *
   * The wait alone does not keep a Node process alive.
   */
  async syncReqAsync(): Promise<ErrorCode | undefined> {
    if (this.broken !== undefined) return 'EIO';
    if (this.inFlight === 0) return undefined;
    const epoch = this.#epoch;
    this.#epoch = (epoch + 1) | 0;
    this.#publish();
    this.#reap();
    let since = this.#clock.now();
    for (let owed = this.#book.owed(epoch); owed > 0;) {
      const leftMs = this.#timeoutMs - (this.#clock.now() - since);
      if (leftMs > 0) await this.#sleepers.join(leftMs);
      else this.#timeOut();
      const now = this.#book.owed(epoch);
      if (now < owed) since = this.#clock.now();
      owed = now;
    }
    return this.broken === undefined ? undefined : 'EIO';
  }

  /** As {@link sendReqSync}, for threads that must not block. */
  async sendReqAsync(bytes: Uint8Array): Promise<ErrorCode | undefined> {
    return errorOfReply(await this.#sendAsync(bytes));
  }

  /** As {@link sendProbeSync}, for threads that must not block. */
  async sendProbeAsync(bytes: Uint8Array): Promise<Uint8Array | ErrorCode> {
    return propertiesOfReply(await this.#sendAsync(bytes));
  }

  /** Gives the queue up: every request in flight has failed, and every later one does. */
  giveUp(reason: string): void {
    if (this.broken !== undefined) return;
    this.broken = reason;
    this.#port.lost(reason);
    this.unsent = 0;
    this.#endSent();
    this.#sleepers.end();
  }

  /**
   * The device has let go of the ring. What it had answered ends as ever; what it was shown and left unanswered ends
   * with `NO_STATUS`, since nobody knows whether it was done. What it was not shown stays for {@link resume}.
   */
  retire(): void {
    while (this.#takeOne() >= 0);
    this.#endSent();
  }

  /**
   * Goes on with a new ring, after {@link retire}; the requests that are left go there, in their order. Returns memory
   * that is of no more use.
   *
   * @param slots - as many as the ring has room for, if they are not as many as before; only without {@link unsent}.
   */
  resume(queue: DriverQueue, slots: RequestSlots = this.#slots): DmaPiece | undefined {
    const before = this.#slots;
    if (slots !== before) {
      assert(this.inFlight === 0, 'requests that are left stay in their slots');
      this.#slots = slots;
      this.#book = new RequestBook(slots.count + 1);
      this.#unsent = new Uint16Array(slots.count + 1);
    }
    this.#queue = queue;
    this.#untold = false;
    queue.suppressNotification();
    for (const slot of this.#unsent.subarray(0, this.unsent)) this.#enter(slot);
    this.#sleepers.end();
    return slots === before ? undefined : before.piece;
  }

  async #sendAsync(bytes: Uint8Array): Promise<Reply | ErrorCode> {
    // A full ring must not block this thread: make room first.
    while (this.inFlight > 0 && this.#isFull(bytes[0] === PROBE)) {
      const error = await this.syncReqAsync();
      if (error !== undefined) return error;
    }
    const reply = this.#tryAdd(bytes);
    return typeof reply === 'string' ? reply : ((await this.syncReqAsync()) ?? reply);
  }

  #send(bytes: Uint8Array): Reply | ErrorCode {
    const reply = this.#tryAdd(bytes);
    return typeof reply === 'string' ? reply : (this.syncReq() ?? reply);
  }

  #tryAdd(bytes: Uint8Array): Reply | ErrorCode {
    const reply = new Reply(this.#slots);
    try {
      this.addReq(bytes, reply);
      return reply;
    } catch (error) {
      if (error instanceof IommuError) return error.code;
      throw error;
    }
  }

  /** Takes a slot, making room once if there is none. */
  #claim(probe: boolean): number {
    if (this.broken !== undefined) throw this.#brokenError();
    if (this.#isFull(probe)) {
      if (this.syncReq() !== undefined) throw this.#brokenError();
      if (this.#isFull(probe))
        throw new IommuError('ENOSPC', 'The ring is too small for a request.');
    }
    return this.#slots.take(probe);
  }

  /** True if a request would find no room in the ring, or a PROBE no slot. */
  #isFull(probe: boolean): boolean {
    return this.inFlight >= this.#slots.count || (probe && !this.#slots.probeFree);
  }

  #brokenError(): IommuError {
    return new IommuError('EIO', `The request queue is broken: ${this.broken}.`);
  }

  /** Puts the request in `slot` into the ring. */
  #add(
    slot: number,
    type: number,
    readableBytes: number,
    owner: RequestOwner | undefined,
    startPage: number,
    lastPage: number,
  ): void {
    if (this.unsent === SHOWN_TOGETHER) this.#show();
    this.#book.set(slot, type, readableBytes, owner, startPage, lastPage, this.#epoch);
    this.#enter(slot);
    this.#unsent[this.unsent] = slot;
    this.unsent += 1;
    this.added += 1;
    this.inFlight += 1;
  }

  #enter(slot: number): void {
    const slots = this.#slots;
    slots.clearReply(slot);
    const readableBytes = this.#book.readableBytes[slot]!; // A slot in use.
    const added = this.#queue.add(slots.buffers(slot, readableBytes), slot);
    assert(added, 'the ring has room for as many requests as the queue was told');
  }

  /** Shows the device what was added. It finds that if it polls, and is told by the next sync if it does not. */
  #show(): void {
    this.unsent = 0;
    if (this.#queue.publish()) this.#untold = true;
  }

  /** Shows the device what was added, and tells it if it wants to be told. */
  #publish(): void {
    this.#show();
    if (this.#untold) this.#port.notify(this.#queue.position);
    this.#untold = false;
  }

  /** Takes back what the device has completed. Bounded: the ring gives each chain back once. */
  #reap(): void {
    const before = this.inFlight;
    let taken = 0;
    while (this.broken === undefined && taken >= 0 && this.inFlight > 0) taken = this.#takeOne();
    if (taken === BROKEN_RING) this.giveUp(this.#queue.fault ?? 'the ring is damaged');
    // Whoever sleeps may have been waiting for what was just taken.
    if (this.inFlight !== before) this.#sleepers.end();
  }

  /** Ends the next request that the device has completed; returns its slot, or a value of `Taken`. */
  #takeOne(): number {
    const queue = this.#queue;
    const slots = this.#slots;
    const slot = queue.take();
    if (slot < 0) return slot;
    // Any other length means that the tail was not written, or that the device does not know what it wrote.
    const written = queue.takenBytes === slots.writableBytes(slot);
    this.#end(slot, written ? slots.status(slot) : NO_STATUS);
    return slot;
  }

  /** Ends, without a status, everything in flight that the device was shown. */
  #endSent(): void {
    const { pending } = this.#book;
    const unsent = new Set(this.#unsent.subarray(0, this.unsent));
    for (let slot = 0; slot < pending.length; slot += 1)
      if (pending[slot] === 1 && !unsent.has(slot)) this.#end(slot, NO_STATUS);
  }

  #end(slot: number, status: number): void {
    const { pending, owners } = this.#book;
    pending[slot] = 0;
    this.inFlight -= 1;
    this.#slots.release(slot);
    const owner = owners[slot];
    if (owner !== undefined) owner.requestDone(slot, status);
  }

  /** Sleeps until something is used. False if the time limit passed without. */
  #sleep(): boolean {
    const since = this.#clock.now();
    for (let leftMs = this.#timeoutMs; leftMs > 0;) {
      const ready = this.#waiter.sleep(this.#queue, leftMs);
      this.#port.acknowledge();
      // The acknowledgement may have found that the device is lost.
      if (ready || this.inFlight === 0) return true;
      leftMs = this.#timeoutMs - (this.#clock.now() - since);
    }
    return false;
  }

  /** After an asynchronous sleep. */
  #awake(): void {
    this.#queue.suppressNotification();
    this.#port.acknowledge();
    this.#reap();
  }

  #timeOut(): void {
    this.giveUp(`the device made no progress for ${this.#timeoutMs} ms`);
  }
}
