/**
 * The request queue: section "Device operations", from the driver's side.
 *
 * Adding a request never tells the device; a sync tells it once about all that were added and then waits until every
 * one of them is complete. Each request's end is told to its owner, so that the failure of one that nobody waited for
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
import { NO_STATUS, errorOfStatus } from './completion.ts';
import type { DmaMemory } from './dma-memory.ts';
import type { Clock } from './platform.ts';
import { Reply } from './reply.ts';
import { RequestSlots } from './request-slot.ts';
import { SharedSleep } from './shared-sleep.ts';
import type { DeviceWaiter } from './wait.ts';

const { MAP, UNMAP, PROBE } = RequestType;
const BROKEN_RING = Taken.BROKEN;
const MAP_BYTES = MapRequest.size;
const UNMAP_BYTES = UnmapRequest.size;
const TIMEOUT_MS = 5000;
/** No page: the request was not added as a MAP or an UNMAP of whole pages. */
const NO_PAGE = -1;

/** Who is told how a request ended. */
export interface RequestOwner {
  /**
   * The request in `slot` ended with the status byte `status`, or with `NO_STATUS`. Until the next request is added,
   * the queue knows what the request was. Must not add requests itself.
   */
  requestDone(slot: number, status: number): void;
}

/** What the queue needs of the device besides the ring. */
export interface RequestPort {
  /** Tells the device that requests are available. */
  notify(): void;
  /** Acknowledges interrupts after a sleep. */
  acknowledge(): void;
  /** Told once, when the queue is given up. */
  lost(reason: string): void;
}

export interface RequestQueueOptions {
  readonly queue: DriverQueue;
  /** Takes the memory for the requests. */
  readonly dma: DmaMemory;
  /** The most ordinary requests that the ring has room for. */
  readonly slots: number;
  /** Bytes of properties that a PROBE asks for. */
  readonly probeSize: number;
  readonly port: RequestPort;
  readonly waiter: DeviceWaiter;
  readonly clock: Clock;
  /** How long the device may make no progress before the queue is given up; 5 s if absent. */
  readonly timeoutMs?: number;
}

/** Sends requests to one device. */
export class RequestQueue {
  /** Why the queue was given up, for good; everything fails with `EIO` then. */
  broken: string | undefined = undefined;
  /** Requests added and not complete. */
  inFlight = 0;

  readonly #queue: DriverQueue;
  readonly #slots: RequestSlots;
  readonly #port: RequestPort;
  readonly #waiter: DeviceWaiter;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  // By slot: what is in it.
  readonly #pending: Uint8Array;
  readonly #types: Uint8Array;
  readonly #startPages: Float64Array;
  readonly #lastPages: Float64Array;
  readonly #owners: (RequestOwner | undefined)[];
  /** By slot: how many asynchronous syncs had begun when the request was added. */
  readonly #epochs: Int32Array;
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
    this.#pending = new Uint8Array(all);
    this.#types = new Uint8Array(all);
    this.#startPages = new Float64Array(all).fill(NO_PAGE);
    this.#lastPages = new Float64Array(all).fill(NO_PAGE);
    this.#owners = Array.from({ length: all }, () => undefined);
    this.#epochs = new Int32Array(all);
    this.#sleepers = new SharedSleep(
      (leftMs) => waiter.doze(queue, leftMs),
      () => this.#awake(),
    );
    queue.suppressNotification();
  }

  /** The type byte of the request in `slot`. */
  typeOf(slot: number): number {
    return this.#types[slot] ?? 0;
  }

  /** The first page of a MAP or UNMAP added as pages, else -1. */
  startPageOf(slot: number): number {
    return this.#startPages[slot] ?? NO_PAGE;
  }

  /** The last page of a MAP or UNMAP added as pages, else -1. */
  lastPageOf(slot: number): number {
    return this.#lastPages[slot] ?? NO_PAGE;
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
    if (this.#queue.publish()) this.#port.notify();
    for (;;) {
      this.#reap();
      if (this.inFlight === 0) break;
      if (!this.#waiter.poll(this.#queue) && !this.#sleep()) this.#timeOut();
    }
    return this.#outcome();
  }

  /** Sends a request and waits for it, and so for all before it. Returns what was wrong, or `undefined`. */
  sendReqSync(bytes: Uint8Array): ErrorCode | undefined {
    const reply = this.#send(bytes);
    return typeof reply === 'string' ? reply : errorOfStatus(reply.status);
  }

  /** Sends a PROBE as {@link sendReqSync} does. Returns the properties, or what was wrong. */
  sendProbeSync(bytes: Uint8Array): Uint8Array | ErrorCode {
    const reply = this.#send(bytes);
    return typeof reply === 'string' ? reply : (errorOfStatus(reply.status) ?? reply.properties);
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
    if (this.#queue.publish()) this.#port.notify();
    this.#reap();
    let since = this.#clock.now();
    for (let owed = this.#owed(epoch); owed > 0;) {
      const leftMs = this.#timeoutMs - (this.#clock.now() - since);
      if (leftMs > 0) await this.#sleepers.join(leftMs);
      else this.#timeOut();
      const now = this.#owed(epoch);
      if (now < owed) since = this.#clock.now();
      owed = now;
    }
    return this.#outcome();
  }

  /** As {@link sendReqSync}, for threads that must not block. */
  async sendReqAsync(bytes: Uint8Array): Promise<ErrorCode | undefined> {
    const reply = await this.#sendAsync(bytes);
    return typeof reply === 'string' ? reply : errorOfStatus(reply.status);
  }

  /** As {@link sendProbeSync}, for threads that must not block. */
  async sendProbeAsync(bytes: Uint8Array): Promise<Uint8Array | ErrorCode> {
    const reply = await this.#sendAsync(bytes);
    return typeof reply === 'string' ? reply : (errorOfStatus(reply.status) ?? reply.properties);
  }

  /** Gives the queue up: every request in flight has failed, and every later one does. */
  giveUp(reason: string): void {
    if (this.broken !== undefined) return;
    this.broken = reason;
    this.#port.lost(reason);
    for (let slot = 0; slot < this.#pending.length; slot += 1)
      if (this.#pending[slot] === 1) this.#end(slot, NO_STATUS);
    this.#sleepers.end();
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
    this.#slots.clearReply(slot);
    const added = this.#queue.add(this.#slots.buffers(slot, readableBytes), slot);
    assert(added, 'the ring has room for as many requests as the queue was told');
    this.#pending[slot] = 1;
    this.#types[slot] = type;
    this.#owners[slot] = owner;
    this.#startPages[slot] = startPage;
    this.#lastPages[slot] = lastPage;
    this.#epochs[slot] = this.#epoch;
    this.inFlight += 1;
  }

  /** Takes back what the device has completed. Bounded: the ring gives each chain back once. */
  #reap(): void {
    const slots = this.#slots;
    const before = this.inFlight;
    while (this.broken === undefined) {
      const slot = this.#queue.take();
      if (slot < 0) {
        if (slot === BROKEN_RING) this.giveUp(this.#queue.fault ?? 'the ring is damaged');
        break;
      }
      // Any other length means that the tail was not written, or that the device does not know what it wrote.
      const written = this.#queue.takenBytes === slots.writableBytes(slot);
      this.#end(slot, written ? slots.status(slot) : NO_STATUS);
    }
    // Whoever sleeps may have been waiting for what was just taken.
    if (this.inFlight !== before) this.#sleepers.end();
  }

  #end(slot: number, status: number): void {
    this.#pending[slot] = 0;
    this.inFlight -= 1;
    this.#slots.release(slot);
    const owner = this.#owners[slot];
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

  #outcome(): ErrorCode | undefined {
    return this.broken === undefined ? undefined : 'EIO';
  }

  /** Requests in flight that were added before the asynchronous sync of `epoch` began. */
  #owed(epoch: number): number {
    let owed = 0;
    for (let slot = 0; slot < this.#pending.length; slot += 1)
      if (this.#pending[slot] === 1 && ((epoch - this.#epochs[slot]!) | 0) >= 0) owed += 1; // As long as the other.
    return owed;
  }
}
