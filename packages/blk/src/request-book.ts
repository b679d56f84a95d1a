/**
 * What the driver knows of its requests, apart from shared memory: which are under way, and which memory is mapped for
 * them. Tokens are slots of this book, the same ones whatever becomes of the device, so that a request is told about
 * exactly once, before or after a reset.
 */

import type { Context, ErrorCode } from '@viommu/common';
import {
  type Device,
  type Direction,
  DmaAddress,
  DmaAttribute,
  type DmaOps,
  ScatterEntry,
} from '@viommu/iommu';

/** Where a request is in its life. */
export const RequestState = {
  FREE: 0,
  /** The device has it, or will get it. */
  IN_FLIGHT: 1,
  /** The device does not have it any more, but its memory may still be mapped. */
  ENDING: 2,
  /** Over, and not yet told. */
  ENDED: 3,
} as const;

/** Nothing. */
const NONE = -1;
const { LATER } = DmaAttribute;

/** The requests of one driver. */
export class RequestBook {
  /** By token, values of {@link RequestState}. */
  readonly states: Uint8Array;
  /** By token: how it ended, once it has. */
  readonly errors: (ErrorCode | undefined)[];
  /** By token: bytes that the device has to write. */
  readonly writableBytes: Uint32Array;
  /** Requests that are neither free nor told about. */
  count = 0;
  readonly #perQueue: number;
  /** By token: a free slot of the same queue behind this one; by queue: the first. */
  readonly #nextFree: Int32Array;
  readonly #firstFree: Int32Array;
  /** Requests that have ended, and behind them those that are ending, each in their order, as a ring. */
  readonly #ended: Int32Array;
  #endedFirst = 0;
  #endedCount = 0;
  #endingCount = 0;
  /**
   * By token: what is mapped. Pieces, 0 for nothing, and segments; for which way; one piece by itself, several in a list.
   */
  readonly #pieces: Uint16Array;
  readonly #segments: Uint16Array;
  readonly #directions: Uint8Array;
  readonly #dmaPages: Float64Array;
  readonly #dmaOffsets: Uint16Array;
  readonly #sizes: Float64Array;
  readonly #lists: ScatterEntry[][];
  readonly #address: DmaAddress = new DmaAddress();

  /** `perQueue` requests for each of `queues` queues. */
  constructor(queues: number, perQueue: number) {
    const count = queues * perQueue;
    this.#perQueue = perQueue;
    this.states = new Uint8Array(count);
    this.errors = Array.from({ length: count }, () => undefined);
    this.writableBytes = new Uint32Array(count);
    this.#nextFree = new Int32Array(count);
    this.#firstFree = Int32Array.from({ length: queues }, (_, queue) => queue * perQueue);
    for (let token = 0; token < count; token += 1)
      this.#nextFree[token] = (token + 1) % perQueue === 0 ? NONE : token + 1;
    this.#ended = new Int32Array(count);
    this.#pieces = new Uint16Array(count);
    this.#segments = new Uint16Array(count);
    this.#directions = new Uint8Array(count);
    this.#dmaPages = new Float64Array(count);
    this.#dmaOffsets = new Uint16Array(count);
    this.#sizes = new Float64Array(count);
    this.#lists = Array.from({ length: count }, () => []);
  }

  /** The slot that {@link claim} takes next for a queue; -1 if there is none. */
  next(queue: number): number {
    return this.#firstFree[queue]!; // A queue.
  }

  /** The request of {@link next} is under way. */
  claim(token: number, writableBytes: number): void {
    this.#firstFree[Math.floor(token / this.#perQueue)] = this.#nextFree[token]!; // A token, as in all of these.
    this.states[token] = RequestState.IN_FLIGHT;
    this.writableBytes[token] = writableBytes;
    this.count += 1;
  }

  /**
   * Maps memory for a slot that is not claimed yet. Returns the number of segments, or 0 if it cannot be mapped. Before
   * the device gets to see them, {@link finishMap} has to be asked.
   */
  map(
    token: number,
    context: Context,
    device: Device,
    ops: DmaOps,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
  ): number {
    this.#directions[token] = direction;
    if (count === 1) {
      const { page, offset, sizeBytes } = list[0]!; // There is one.
      const address = this.#address;
      if (!ops.map(context, device, page, offset, sizeBytes, direction, LATER, address)) return 0;
      this.#dmaPages[token] = address.page;
      this.#dmaOffsets[token] = address.offset;
      this.#sizes[token] = sizeBytes;
      this.#pieces[token] = 1;
      this.#segments[token] = 1;
      return 1;
    }
    const own = this.#lists[token]!;
    while (own.length < count) own.push(new ScatterEntry());
    for (let index = 0; index < count; index += 1) {
      const from = list[index]!; // Below the count, as the next.
      const to = own[index]!;
      to.page = from.page;
      to.offset = from.offset;
      to.sizeBytes = from.sizeBytes;
    }
    const segments = ops.mapList(context, device, own, count, direction, LATER);
    if (typeof segments === 'string') return 0;
    this.#pieces[token] = count;
    this.#segments[token] = segments;
    return segments;
  }

  /** Waits until the device reaches what {@link map} mapped. False if it was refused. */
  finishMap(token: number, device: Device, ops: DmaOps): boolean {
    if (this.#pieces[token] === 0) return true;
    const address = this.#address;
    const segments = this.#segments[token]!;
    for (let index = 0; index < segments; index += 1) {
      const sizeBytes = this.segment(token, index, address);
      if (!ops.finishMap(device, address.page, address.offset, sizeBytes)) return false;
    }
    return true;
  }

  /** The device's address and the size of a segment. `into` gets the address. */
  segment(token: number, index: number, into: DmaAddress): number {
    if (this.#pieces[token] === 1) {
      into.page = this.#dmaPages[token]!;
      into.offset = this.#dmaOffsets[token]!;
      return this.#sizes[token]!;
    }
    const entry = this.#lists[token]![index]!; // Below the segments.
    into.page = entry.dmaPage;
    into.offset = entry.dmaOffset;
    return entry.dmaSizeBytes;
  }

  /** Ends what {@link map} made, once {@link DmaOps.finishUnmaps} was called. */
  unmap(token: number, context: Context, device: Device, ops: DmaOps): void {
    const count = this.#pieces[token]!;
    if (count === 0) return;
    const direction = this.#directions[token]! as Direction; // One was put there.
    if (count > 1) ops.unmapList(context, device, this.#lists[token]!, count, direction, LATER);
    else
      ops.unmap(
        context,
        device,
        this.#dmaPages[token]!,
        this.#dmaOffsets[token]!,
        this.#sizes[token]!,
        direction,
        LATER,
      );
    // Not before: a context that has to wait in there comes back.
    this.#pieces[token] = 0;
  }

  /** Gives up what is mapped for a request, since the device may still use it. True if that was something. */
  abandon(token: number): boolean {
    const mapped = this.#pieces[token] !== 0;
    this.#pieces[token] = 0;
    return mapped;
  }

  /** The device does not have a request any more; it goes behind the others of which that is true. */
  ending(token: number): void {
    this.states[token] = RequestState.ENDING;
    this.#ended[this.#at(this.#endedCount + this.#endingCount)] = token;
    this.#endingCount += 1;
  }

  /** Requests that are ending. */
  get endingCount(): number {
    return this.#endingCount;
  }

  /** One of them, the first of which is 0. */
  endingAt(index: number): number {
    return this.#ended[this.#at(this.#endedCount + index)]!; // Below the count.
  }

  /** The first `count` of those that are ending have ended: nothing is mapped for them. */
  endedFirst(count: number): void {
    for (let left = count; left > 0; left -= 1) {
      this.states[this.endingAt(0)] = RequestState.ENDED;
      this.#endedCount += 1;
      this.#endingCount -= 1;
    }
  }

  /** True if a request is over or ending, and not yet told. */
  get anyEnded(): boolean {
    return this.#endedCount + this.#endingCount > 0;
  }

  /** The request that was over first; its slot is free from now on. -1 if there is none. */
  takeEnded(): number {
    if (this.#endedCount === 0) return NONE;
    const token = this.#ended[this.#endedFirst]!; // Below the length.
    this.#endedFirst = this.#at(1);
    this.#endedCount -= 1;
    this.free(token);
    return token;
  }

  /** Takes one request in particular, likewise. False if it is not over. */
  takeThis(token: number): boolean {
    if (this.states[token] !== RequestState.ENDED) return false;
    let at = 0;
    while (this.#ended[this.#at(at)] !== token) at += 1;
    // Those before it move up.
    for (; at > 0; at -= 1) this.#ended[this.#at(at)] = this.#ended[this.#at(at - 1)]!; // Below the count.
    this.#ended[this.#endedFirst] = token;
    this.takeEnded();
    return true;
  }

  /** The slot of a request that is told about. */
  free(token: number): void {
    const queue = Math.floor(token / this.#perQueue);
    this.states[token] = RequestState.FREE;
    this.#nextFree[token] = this.#firstFree[queue]!;
    this.#firstFree[queue] = token;
    this.count -= 1;
  }

  /** Where the entry `index` behind the first of the ring is. */
  #at(index: number): number {
    const at = this.#endedFirst + index;
    return at >= this.#ended.length ? at - this.#ended.length : at;
  }
}
