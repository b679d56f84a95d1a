/**
 * A pool of memory that stands in for buffers which a device must not reach, or cannot.
 *
 * What lies in the buffer is always copied in, whatever the direction: a device that writes less than it may must not
 * leave the rest of the buffer as garbage, or with what somebody else had in the pool.
 */

import { type Clock, type Context, PAGE_SIZE, lowWord } from '@viommu/common';
import { BounceSlots, SEGMENT_SLOTS, SLOT_BYTES } from './bounce-slots.ts';
import type { Device } from './device.ts';
import { Direction } from './dma-ops.ts';
import type { GuestRam } from './guest-ram.ts';
import type { CoreLog } from './log.ts';

/** The most bytes of one mapping. */
export const BOUNCE_BYTES_MAX: number = SEGMENT_SLOTS * SLOT_BYTES;
/** Slots of a pool that nobody gave a size: 64 MiB. */
export const BOUNCE_SLOTS_DEFAULT = 32_768;

const SLOTS_PER_PAGE = PAGE_SIZE / SLOT_BYTES;
const PROTECTED_SLOTS_MAX = 524_288;
const WARN_EVERY_MS = 5000;

/** What a pool is made of. */
export interface BouncePoolOptions {
  readonly ram: GuestRam;
  readonly log: CoreLog;
  readonly clock: Clock;
  /** Where it lies; the pages are the pool's own, and shared already if the guest is protected. */
  readonly firstPage: number;
  /** A multiple of {@link SEGMENT_SLOTS}. */
  readonly slots: number;
  /** At least as many as processors, for speed. */
  readonly areas: number;
}

/** Slots for a guest's pool: what was asked for, rounded up; a protected guest gets some more than others. */
export function bounceSlots(
  ramBytes: number,
  isProtected: boolean,
  asked: number | undefined,
): number {
  const share = Math.floor((ramBytes * 0.06) / SLOT_BYTES);
  const usual = isProtected
    ? Math.min(Math.max(share, BOUNCE_SLOTS_DEFAULT), PROTECTED_SLOTS_MAX)
    : BOUNCE_SLOTS_DEFAULT;
  return Math.ceil((asked ?? usual) / SEGMENT_SLOTS) * SEGMENT_SLOTS;
}

/** The pool of one guest. Positions in it are bytes from its start. */
export class BouncePool {
  readonly firstPage: number;
  readonly lastPage: number;
  readonly slots: BounceSlots;
  readonly #ram: GuestRam;
  readonly #log: CoreLog;
  readonly #clock: Clock;
  /** For each slot the first slot of its mapping, or -1. The other tables are about first slots. */
  readonly #first: Int32Array;
  readonly #count: Uint8Array;
  /** Bytes from the first slot to the mapping: padding, and the offset in a slot. */
  readonly #lead: Uint32Array;
  readonly #size: Uint32Array;
  /** Where the buffer is that the mapping stands for. */
  readonly #page: Float64Array;
  readonly #offset: Uint16Array;
  /** One number above 2^31 that changes all the time would be an object each time. */
  readonly #bytesCopied: Float64Array = new Float64Array(1);
  #warnedAt = -Infinity;

  constructor({ ram, log, clock, firstPage, slots, areas }: BouncePoolOptions) {
    this.firstPage = firstPage;
    this.lastPage = firstPage + slots / SLOTS_PER_PAGE - 1;
    this.slots = new BounceSlots(slots, areas, firstPage * SLOTS_PER_PAGE);
    this.#ram = ram;
    this.#log = log;
    this.#clock = clock;
    this.#first = new Int32Array(slots).fill(-1);
    this.#count = new Uint8Array(slots);
    this.#lead = new Uint32Array(slots);
    this.#size = new Uint32Array(slots);
    this.#page = new Float64Array(slots);
    this.#offset = new Uint16Array(slots);
  }

  /** Bytes copied so far, in and out. */
  get bytesCopied(): number {
    return this.#bytesCopied[0]!; // One cell.
  }

  /** True if the page is one of the pool's. */
  contains(page: number): boolean {
    return page >= this.firstPage && page <= this.lastPage;
  }

  /** The page of a position, in guest memory. */
  pageOf(position: number): number {
    return this.firstPage + (position >>> 12);
  }

  /**
   * Makes a copy of a buffer, `offset` 0..4095 in `page`. Returns its position, or -1 if it is too large or no place is
   * left.
   *
   * It starts at a multiple of `alignMask + 1` bytes, and has whole ones to itself; and it keeps the low bits of the
   * address that the device demands.
   */
  map(
    context: Context,
    device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    alignMask: number,
  ): number {
    const { minAlignMask, segmentBoundaryBytes } = device;
    const low = lowWord(page, offset) & minAlignMask;
    const lead = low & (alignMask | (SLOT_BYTES - 1));
    // Also keeps the next lines within 31 bits.
    if (!(sizeBytes > 0 && lead + sizeBytes <= BOUNCE_BYTES_MAX)) return -1;
    const bytes = (lead + sizeBytes + alignMask) & ~alignMask;
    const count = Math.ceil(bytes / SLOT_BYTES);
    if (count > SEGMENT_SLOTS) return -1;
    const wholePages = alignMask === 0 && minAlignMask === 0 && bytes >= PAGE_SIZE;
    const align = (wholePages ? PAGE_SIZE - 1 : alignMask) | (SLOT_BYTES - 1);
    const first = this.slots.take(
      context.cpu,
      count,
      (align + 1) / SLOT_BYTES,
      (minAlignMask & ~align) >>> 11,
      (low & ~align) >>> 11,
      segmentBoundaryBytes / SLOT_BYTES,
    );
    if (first < 0) {
      this.#warnFull(sizeBytes);
      return -1;
    }
    this.#first.fill(first, first, first + count);
    this.#count[first] = count;
    this.#lead[first] = lead;
    this.#size[first] = sizeBytes;
    this.#page[first] = page;
    this.#offset[first] = offset;
    this.#copy(first, 0, sizeBytes, true);
    return first * SLOT_BYTES + lead;
  }

  /**
   * Ends the mapping at an address in the pool, and copies back what the device may have written unless `skipCopy`.
   *
   * With `keep`, the slots are given up for good, since the device may still reach them.
   */
  unmap(
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    skipCopy: boolean,
    keep: boolean,
  ): void {
    const first = this.#mappingAt(page, offset);
    if (first < 0) return;
    if (!skipCopy && (direction & Direction.FROM_DEVICE) !== 0)
      this.#sync(first, page, offset, sizeBytes, false);
    if (keep) {
      this.#log.warn('bounceLeaked', 'slots of the bounce pool are given up');
      return;
    }
    const count = this.#count[first]!; // A mapping has all of these.
    this.#first.fill(-1, first, first + count);
    this.slots.release(first, count);
  }

  /** Copies what the device may have written, from any part of a mapping. */
  syncForCpu(page: number, offset: number, sizeBytes: number, direction: Direction): void {
    if ((direction & Direction.FROM_DEVICE) === 0) return;
    const first = this.#mappingAt(page, offset);
    if (first >= 0) this.#sync(first, page, offset, sizeBytes, false);
  }

  /** Copies what the device may read, to any part of a mapping. */
  syncForDevice(page: number, offset: number, sizeBytes: number, direction: Direction): void {
    if ((direction & Direction.TO_DEVICE) === 0) return;
    const first = this.#mappingAt(page, offset);
    if (first >= 0) this.#sync(first, page, offset, sizeBytes, true);
  }

  /** The most bytes of a mapping that always fit, wherever the buffer lies. */
  bytesMax({ minAlignMask }: Device): number {
    return BOUNCE_BYTES_MAX - Math.ceil(minAlignMask / SLOT_BYTES) * SLOT_BYTES;
  }

  /** The first slot of the mapping that has the address, or -1. */
  #mappingAt(page: number, offset: number): number {
    const first = this.#first[(this.#positionOf(page, offset) / SLOT_BYTES) | 0] ?? -1;
    if (first < 0) this.#log.warn('unmapUnknown', `no buffer bounces at page ${page}+${offset}`);
    return first;
  }

  #positionOf(page: number, offset: number): number {
    return (page - this.firstPage) * PAGE_SIZE + offset;
  }

  /** Copies a part of a mapping; what lies outside of it is cut off. */
  #sync(first: number, page: number, offset: number, sizeBytes: number, toDevice: boolean): void {
    const start = first * SLOT_BYTES + this.#lead[first]!; // A mapping has all of these.
    const size = this.#size[first]!; // The same.
    const from = this.#positionOf(page, offset) - start;
    const begin = Math.max(from, 0);
    const end = Math.min(from + sizeBytes, size);
    if (begin !== from || end !== from + sizeBytes)
      this.#log.warn('bounceCut', `${sizeBytes} bytes leave a bounced buffer of ${size} bytes`);
    if (end > begin) this.#copy(first, begin, end - begin, toDevice);
  }

  /** Copies bytes `begin` and on of a mapping. */
  #copy(first: number, begin: number, sizeBytes: number, toDevice: boolean): void {
    const position = first * SLOT_BYTES + this.#lead[first]! + begin; // A mapping has all of these.
    const at = this.#offset[first]! + begin; // The same.
    const page = this.#page[first]! + (at >>> 12); // The same.
    const poolPage = this.pageOf(position);
    const ram = this.#ram;
    if (toDevice) ram.copy(page, at & 0xfff, poolPage, position & 0xfff, sizeBytes);
    else ram.copy(poolPage, position & 0xfff, page, at & 0xfff, sizeBytes);
    this.#bytesCopied[0]! += sizeBytes; // One cell.
  }

  #warnFull(sizeBytes: number): void {
    this.#log.count('bounceFull');
    const now = this.#clock.now();
    if (now - this.#warnedAt < WARN_EVERY_MS) return;
    this.#warnedAt = now;
    const { used, slotCount } = this.slots;
    this.#log.line(
      `the bounce pool has no room for ${sizeBytes} bytes: ${used} of ${slotCount} slots used`,
    );
  }
}
