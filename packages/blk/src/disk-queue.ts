/**
 * One request queue of the driver: the ring, and a head, a status and a little more for each request.
 *
 * All of it is one piece of coherent memory. The driver reaches it where it lies; the device is told its own address.
 */

import {
  type Context,
  Descriptor,
  IommuError,
  assert,
  guestPhysical,
  highWord,
  lowWord,
} from '@viommu/common';
import { type CoherentMemory, type Device, DmaAddress, type DmaOps } from '@viommu/iommu';
import {
  BufferList,
  type DriverQueue,
  type GuestMemory,
  type QueueFeatures,
  type QueueLayout,
  createDriverQueue,
  queueBytes,
} from '@viommu/ring';
import type { RequestBook } from './request-book.ts';
import { BLK_NAME_BYTES } from './spec/identity.ts';
import { BLK_STATUS_BYTES, BlkRange, BlkRequestHead } from './spec/request.ts';

const CACHE_LINE = 64;
/** What the driver writes for a request, and on another cache line what the device does. */
const HEAD_AT = 0;
const RANGE_AT = BlkRequestHead.size;
const STATUS_AT = CACHE_LINE;
const NAME_AT = STATUS_AT + BLK_STATUS_BYTES;
const SLOT_BYTES = 2 * CACHE_LINE;
/** Descriptors of a request besides those of its data: head and status. */
const FRAME = 2;
const WORD = 0x1_0000_0000;
/** No device answers this. */
const NO_STATUS = 0xff;

const { type: TYPE, reserved: RESERVED, sector: SECTOR } = BlkRequestHead.offset;
const { sector: RANGE_SECTOR, numSectors: RANGE_SECTORS, flags: RANGE_FLAGS } = BlkRange.offset;

export interface DiskQueueSetup {
  readonly context: Context;
  readonly device: Device;
  readonly ops: DmaOps;
  readonly memory: GuestMemory;
  readonly features: QueueFeatures;
  /** The largest size that the device has for this queue. */
  readonly sizeMax: number;
  readonly depth: number;
  readonly segmentsMax: number;
  readonly book: RequestBook;
  /** The token of the queue's first request. */
  readonly firstToken: number;
}

/** A queue ready to be enabled, or at work. */
export class DiskQueue {
  readonly ring: DriverQueue;
  /** As the device is told. */
  readonly layout: QueueLayout;
  readonly coherent: CoherentMemory;
  /** The most pieces of data that a request can have. */
  readonly segmentsMax: number;
  readonly #memory: GuestMemory;
  readonly #book: RequestBook;
  readonly #firstToken: number;
  /** Requests that are not in the ring yet, as one themselves. */
  readonly #staged: Int32Array;
  #stagedFirst = 0;
  #stagedCount = 0;
  /** Some context puts them there. */
  #publishing = false;
  /** Descriptors that are neither in use nor promised; by request: what it needs. */
  #room: number;
  readonly #costs: Uint16Array;
  readonly #indirect: boolean;
  readonly #slots: number;
  readonly #slotsPage: number;
  readonly #slotsOffset: number;
  readonly #lists: readonly BufferList[];
  readonly #address: DmaAddress = new DmaAddress();

  /** @throws {IommuError} `ENODEV` if the device has no such queue, `ENOMEM` if there is no memory. */
  constructor(setup: DiskQueueSetup) {
    const { context, device, ops, memory, features, depth, book, firstToken } = setup;
    const packed = features.packed === true;
    const wanted = setup.segmentsMax + FRAME;
    // A table takes the place of all but one descriptor; without, a request takes as many as it has buffers.
    const most = features.indirect ? Math.max(depth, wanted) : depth * wanted;
    const size = sizeOf(most, setup.sizeMax, packed);
    if (size <= FRAME) throw new IommuError('ENODEV', 'A queue of the disk holds no request.');
    this.segmentsMax = Math.min(setup.segmentsMax, size - FRAME);
    const buffersPerChain = this.segmentsMax + FRAME;
    const bytes = queueBytes(size, packed);
    // Each part on lines of its own: the two sides write to different ones.
    const driverArea = lines(bytes.descriptorArea);
    const deviceArea = driverArea + lines(bytes.driverArea);
    const tables = deviceArea + lines(bytes.deviceArea);
    const tableBytes = features.indirect ? size * buffersPerChain * Descriptor.size : 0;
    const slots = tables + lines(tableBytes);
    const coherent = ops.allocateCoherent(context, device, slots + depth * SLOT_BYTES);
    if (coherent === undefined) throw new IommuError('ENOMEM', 'There is no memory for a queue.');
    this.coherent = coherent;
    const at = (page: number, offset: number): ReturnType<typeof guestPhysical> =>
      guestPhysical(BigInt(page) * 4096n + BigInt(offset)); // Of a device, too: what it reads as an address.
    const layoutAt = (page: number): QueueLayout => ({
      size,
      descriptorArea: at(page, 0),
      driverArea: at(page, driverArea),
      deviceArea: at(page, deviceArea),
    });
    const { page, dmaPage } = coherent;
    this.layout = layoutAt(dmaPage);
    const indirect = {
      address: at(page, tables),
      deviceAddress: at(dmaPage, tables),
      buffersPerChain,
    };
    try {
      const own = { memory, layout: layoutAt(page), features };
      this.ring = createDriverQueue(features.indirect ? { ...own, indirect } : own);
      this.#slots = memory.locate(lowWord(page, 0), highWord(page), coherent.sizeBytes) + slots;
      if (this.#slots < slots) throw new IommuError('EFAULT', 'A queue is outside memory.');
    } catch (error) {
      ops.freeCoherent(context, device, coherent);
      throw error;
    }
    this.ring.suppressNotification();
    this.#staged = new Int32Array(depth);
    this.#room = size;
    this.#costs = new Uint16Array(depth);
    this.#indirect = features.indirect === true;
    this.#memory = memory;
    this.#book = book;
    this.#firstToken = firstToken;
    this.#slotsPage = dmaPage + Math.floor(slots / 4096);
    this.#slotsOffset = slots % 4096;
    this.#lists = Array.from({ length: depth }, () => new BufferList(buffersPerChain));
  }

  /**
   * Adds a request whose data are mapped in the book, `segments` of them. False if the ring has no room now.
   *
   * As the others, the device sees it after {@link publish}.
   */
  add(token: number, type: number, sector: number, segments: number, reads: boolean): boolean {
    const book = this.#book;
    const address = this.#address;
    const list = this.#begin(token, type, sector);
    for (let index = 0; index < segments; index += 1) {
      const sizeBytes = book.segment(token, index, address);
      const low = lowWord(address.page, address.offset);
      const high = highWord(address.page);
      if (reads) list.addWritableAt(low, high, sizeBytes);
      else list.addReadableAt(low, high, sizeBytes);
    }
    return this.#end(token, list, STATUS_AT, BLK_STATUS_BYTES);
  }

  /** Adds a request without data. */
  addPlain(token: number, type: number): boolean {
    return this.#end(token, this.#begin(token, type, 0), STATUS_AT, BLK_STATUS_BYTES);
  }

  /** Adds a request about a range of sectors. */
  addRange(token: number, type: number, sector: number, sectors: number, flags: number): boolean {
    const list = this.#begin(token, type, 0);
    const memory = this.#memory;
    const at = this.#slotAt(token) + RANGE_AT;
    memory.setUint32(at + RANGE_SECTOR, sector >>> 0);
    memory.setUint32(at + RANGE_SECTOR + 4, Math.floor(sector / WORD));
    memory.setUint32(at + RANGE_SECTORS, sectors);
    memory.setUint32(at + RANGE_FLAGS, flags);
    this.#locate(token, RANGE_AT);
    const { page, offset } = this.#address;
    list.addReadableAt(lowWord(page, offset), highWord(page), BlkRange.size);
    return this.#end(token, list, STATUS_AT, BLK_STATUS_BYTES);
  }

  /** Adds a request for the disk's name, which {@link nameOf} then has. */
  addName(token: number, type: number): boolean {
    const list = this.#begin(token, type, 0);
    this.#locate(token, NAME_AT);
    const { page, offset } = this.#address;
    list.addWritableAt(lowWord(page, offset), highWord(page), BLK_NAME_BYTES);
    return this.#end(token, list, STATUS_AT, BLK_STATUS_BYTES);
  }

  /**
   * Shows the device the requests that were added and whose memory it reaches; the others are over. True if it wants to
   * be told. A context that has to wait in there may call again.
   */
  publish(device: Device, ops: DmaOps): boolean {
    // Another context is about to show everything.
    if (this.#publishing) return false;
    const book = this.#book;
    this.#publishing = true;
    try {
      while (this.#stagedCount > 0) {
        const token = this.#staged[this.#stagedFirst]!; // Below the depth.
        const mapped = book.finishMap(token, device, ops);
        this.#stagedFirst =
          this.#stagedFirst + 1 === this.#staged.length ? 0 : this.#stagedFirst + 1;
        this.#stagedCount -= 1;
        if (mapped) this.#enter(token);
        else this.#refuse(token);
      }
    } finally {
      this.#publishing = false;
    }
    return this.ring.publish();
  }

  /** Requests that were added and that the device cannot see yet. */
  get staged(): number {
    return this.#stagedCount;
  }

  /** As the ring's `take`. */
  take(): number {
    const token = this.ring.take();
    if (token >= 0) this.#room += this.#costs[token - this.#firstToken]!; // A token of this queue.
    return token;
  }

  /** What the device wrote as a name. */
  nameOf(token: number): string {
    const bytes = new Uint8Array(BLK_NAME_BYTES);
    this.#memory.read(this.#slotAt(token) + NAME_AT, bytes, 0, BLK_NAME_BYTES);
    const end = bytes.indexOf(0);
    return String.fromCharCode(...bytes.subarray(0, end < 0 ? BLK_NAME_BYTES : end));
  }

  /** The status byte as it is now. */
  status(token: number): number {
    return this.#memory.getUint8(this.#slotAt(token) + STATUS_AT);
  }

  #begin(token: number, type: number, sector: number): BufferList {
    const memory = this.#memory;
    const at = this.#slotAt(token);
    memory.setUint32(at + HEAD_AT + TYPE, type);
    memory.setUint32(at + HEAD_AT + RESERVED, 0);
    memory.setUint32(at + HEAD_AT + SECTOR, sector >>> 0);
    memory.setUint32(at + HEAD_AT + SECTOR + 4, Math.floor(sector / WORD));
    memory.setUint8(at + STATUS_AT, NO_STATUS);
    this.#locate(token, HEAD_AT);
    const { page, offset } = this.#address;
    return this.#lists[token - this.#firstToken]! // A token of this queue.
      .clear()
      .addReadableAt(lowWord(page, offset), highWord(page), BlkRequestHead.size);
  }

  #end(token: number, list: BufferList, at: number, bytes: number): boolean {
    this.#locate(token, at);
    const { page, offset } = this.#address;
    list.addWritableAt(lowWord(page, offset), highWord(page), bytes);
    // A table takes one; no request here has a single buffer.
    const cost = this.#indirect ? 1 : list.count;
    if (cost > this.#room) return false;
    this.#room -= cost;
    this.#costs[token - this.#firstToken] = cost;
    const end = this.#stagedFirst + this.#stagedCount;
    const { length } = this.#staged;
    this.#staged[end >= length ? end - length : end] = token;
    this.#stagedCount += 1;
    this.#book.claim(token, list.writableBytes);
    return true;
  }

  #enter(token: number): void {
    const added = this.ring.add(this.#lists[token - this.#firstToken]!, token); // A token of this queue.
    assert(added, 'the ring has room for what was counted');
  }

  /** Ends a request whose memory the device was refused. */
  #refuse(token: number): void {
    const book = this.#book;
    this.#room += this.#costs[token - this.#firstToken]!; // A token of this queue.
    book.errors[token] = 'ENOMEM';
    book.ending(token);
  }

  /** Where a request's slot lies. */
  #slotAt(token: number): number {
    return this.#slots + (token - this.#firstToken) * SLOT_BYTES;
  }

  /** What the device calls byte `offset` of a request's slot. */
  #locate(token: number, offset: number): void {
    const at = this.#slotsOffset + (token - this.#firstToken) * SLOT_BYTES + offset;
    this.#address.page = this.#slotsPage + (at >>> 12);
    this.#address.offset = at & 0xfff;
  }
}

/** At least `wanted` descriptors if the device has them; split queues have powers of two only. */
function sizeOf(wanted: number, sizeMax: number, packed: boolean): number {
  if (packed || sizeMax < 1) return Math.min(wanted, sizeMax);
  return 2 ** Math.min(Math.ceil(Math.log2(wanted)), Math.floor(Math.log2(sizeMax)));
}

function lines(bytes: number): number {
  return Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
}
