/**
 * One request of a disk: what it asks for, and how far it is done.
 *
 * A request is copied out of guest memory and checked as a whole before anything happens. Then it is done in steps of a
 * bounded number of bytes, between which others get their turn, so that the data's addresses are translated anew in
 * each step.
 */

import { Access, type Chain, type ViewList } from '@viommu/ring';
import type { DiskBacking } from './backing.ts';
import { DataCursor } from './data-cursor.ts';
import type { DataMemory } from './data-memory.ts';
import { BLK_NAME_BYTES, SECTOR_BYTES } from './spec/identity.ts';
import {
  BLK_STATUS_BYTES,
  BlkRange,
  BlkRangeFlag,
  BlkRequestHead,
  BlkRequestType,
  BlkStatus,
} from './spec/request.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = BlkRequestType;
const { OK, IOERR, UNSUPP } = BlkStatus;
const HEAD_BYTES = BlkRequestHead.size;
const RANGE_BYTES = BlkRange.size;
const WORD = 0x1_0000_0000;
/** A request that is not done yet. */
const PENDING = -1;

/** What a disk allows, and what was negotiated. */
export interface DiskRules {
  readonly readOnly: boolean;
  /** FLUSH was negotiated: writes may wait for one. */
  readonly flush: boolean;
  /** FLUSH was offered and not negotiated: writes are safe when they are complete. */
  readonly writeThrough: boolean;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  /** Pieces of data, bytes of each, and sectors of a range and ranges of a request. `Infinity` for no limit. */
  readonly segmentsMax: number;
  readonly segmentBytesMax: number;
  readonly rangeSectorsMax: number;
  readonly rangesMax: number;
}

/** Made once for a disk and used for request after request. */
export class DiskWork {
  /** What the current request is, a value of `BlkRequestType` if it is known. */
  type = 0;
  /** Bytes that were read or written for it so far. */
  moved = 0;
  /** After the end: an access of it was refused. */
  refused = false;
  readonly #backing: DiskBacking;
  readonly #name: Uint8Array;
  readonly #chunkBytes: number;
  readonly #cursor: DataCursor = new DataCursor();
  readonly #head: Uint8Array = new Uint8Array(HEAD_BYTES);
  readonly #headView: DataView = new DataView(this.#head.buffer);
  readonly #ranges: Uint8Array;
  readonly #rangeView: DataView;
  /** Bytes of the writable part that were written from its start on. */
  #written = 0;
  /** Where the next byte is on the disk, and how many are to do. */
  #offset = 0;
  #left = 0;
  /** DISCARD and WRITE_ZEROES: ranges, and the next of them. */
  #rangeCount = 0;
  #range = 0;
  #mayUnmap = false;

  constructor(backing: DiskBacking, name: Uint8Array, chunkBytes: number, rangesMax: number) {
    this.#backing = backing;
    this.#name = name;
    this.#chunkBytes = chunkBytes;
    this.#ranges = new Uint8Array(rangesMax * RANGE_BYTES);
    this.#rangeView = new DataView(this.#ranges.buffer);
  }

  /** Reads a request and does its first step. Returns its status, or -1 if there is more to do. */
  begin(chain: Chain, memory: DataMemory, views: ViewList, rules: DiskRules): number {
    this.moved = 0;
    this.refused = false;
    this.#written = 0;
    this.#left = 0;
    this.#rangeCount = 0;
    this.#range = 0;
    const status = this.#understand(chain, memory, rules);
    return status === PENDING ? this.step(memory, views, rules) : status;
  }

  /** Does the next step. Returns the status of the request, or -1 if there is more to do. */
  step(memory: DataMemory, views: ViewList, rules: DiskRules): number {
    const moves = this.type === IN || this.type === OUT;
    const status = moves ? this.#transfer(memory, views) : this.#clear();
    if (status !== OK || !rules.writeThrough || this.type === IN) return status;
    return this.#backing.flush() ? OK : IOERR;
  }

  /** How many bytes of its writable part a chain has when its status is written. */
  usedBytes(chain: Chain): number {
    // The status is the last one, and counts if everything before it was written.
    const before = chain.writableBytes - BLK_STATUS_BYTES;
    return this.#written === before ? chain.writableBytes : this.#written;
  }

  /** Checks a request. -1 says that it is to be done. */
  #understand(chain: Chain, memory: DataMemory, rules: DiskRules): number {
    this.type = PENDING;
    if (chain.readableBytes < HEAD_BYTES) return IOERR;
    this.#readHead(chain, memory);
    if (this.#refusedBy(memory)) return IOERR;
    const view = this.#headView;
    this.type = view.getUint32(BlkRequestHead.offset.type, true);
    const given = chain.readableBytes - HEAD_BYTES;
    const wanted = chain.writableBytes - BLK_STATUS_BYTES;
    switch (this.type) {
      case IN:
        return this.#understandTransfer(chain, true, wanted, rules);
      case OUT:
        if (rules.readOnly) return IOERR;
        return this.#understandTransfer(chain, false, given, rules);
      case FLUSH:
        if (!rules.flush) return UNSUPP;
        return this.#backing.flush() ? OK : IOERR;
      case GET_ID:
        return this.#tellName(chain, memory, wanted);
      case DISCARD:
        return rules.discard ? this.#understandRanges(chain, memory, given, rules) : UNSUPP;
      case WRITE_ZEROES:
        return rules.writeZeroes ? this.#understandRanges(chain, memory, given, rules) : UNSUPP;
      default:
        return UNSUPP;
    }
  }

  /** Copies the head, each byte once; in one piece as nearly always, or in several. */
  #readHead(chain: Chain, memory: DataMemory): void {
    if (chain.length(0) < HEAD_BYTES) {
      chain.read(0, this.#head, 0, HEAD_BYTES);
      return;
    }
    const at = chain.position(0);
    const head = this.#headView;
    const { type, sector } = BlkRequestHead.offset;
    head.setUint32(type, memory.getUint32(at + type), true);
    head.setUint32(sector, memory.getUint32(at + sector), true);
    head.setUint32(sector + 4, memory.getUint32(at + sector + 4), true);
  }

  #understandTransfer(chain: Chain, writable: boolean, bytes: number, rules: DiskRules): number {
    const sector = sectorAt(this.#headView, BlkRequestHead.offset.sector);
    if (bytes % SECTOR_BYTES !== 0 || !this.#holds(sector, bytes / SECTOR_BYTES)) return IOERR;
    this.#cursor.begin(chain, writable, writable ? 0 : HEAD_BYTES, bytes);
    const { segments, segmentBytesMax } = this.#cursor;
    if (segments > rules.segmentsMax || segmentBytesMax > rules.segmentBytesMax) return IOERR;
    this.#offset = sector * SECTOR_BYTES;
    this.#left = bytes;
    return PENDING;
  }

  /** All segments are good, or none is done. */
  #understandRanges(chain: Chain, memory: DataMemory, bytes: number, rules: DiskRules): number {
    const count = bytes / RANGE_BYTES;
    if (!Number.isInteger(count) || count < 1 || count > rules.rangesMax) return IOERR;
    chain.read(HEAD_BYTES, this.#ranges, 0, bytes);
    if (this.#refusedBy(memory)) return IOERR;
    // Flags that are not known say that the driver means something else, and that has a status of its own.
    const known = this.type === WRITE_ZEROES ? BlkRangeFlag.UNMAP : 0;
    for (let range = 0; range < count; range += 1)
      if ((this.#rangeWord(range, BlkRange.offset.flags) & ~known) !== 0) return UNSUPP;
    if (rules.readOnly) return IOERR;
    for (let range = 0; range < count; range += 1) {
      const sectors = this.#rangeWord(range, BlkRange.offset.numSectors);
      const sector = sectorAt(this.#rangeView, range * RANGE_BYTES + BlkRange.offset.sector);
      if (sectors > rules.rangeSectorsMax || !this.#holds(sector, sectors)) return IOERR;
    }
    this.#rangeCount = count;
    return PENDING;
  }

  #tellName(chain: Chain, memory: DataMemory, room: number): number {
    if (room !== BLK_NAME_BYTES) return IOERR;
    chain.write(0, this.#name, 0, BLK_NAME_BYTES);
    if (this.#refusedBy(memory)) return IOERR;
    this.#written = BLK_NAME_BYTES;
    return OK;
  }

  /** Moves the next bytes of an IN or OUT. */
  #transfer(memory: DataMemory, views: ViewList): number {
    const bytes = Math.min(this.#left, this.#chunkBytes);
    if (bytes === 0) return OK;
    const reads = this.type === IN;
    views.begin();
    if (!this.#cursor.take(bytes, memory, reads ? Access.WRITE : Access.READ, views)) {
      this.refused = true;
      return IOERR;
    }
    const pieces = views.end();
    const done = reads
      ? this.#backing.read(this.#offset, pieces, bytes)
      : this.#backing.write(this.#offset, pieces, bytes);
    if (!done) return IOERR;
    if (reads) this.#written += bytes;
    this.moved += bytes;
    this.#offset += bytes;
    this.#left -= bytes;
    return this.#left === 0 ? OK : PENDING;
  }

  /** Clears the next bytes, or gives them up. */
  #clear(): number {
    while (this.#left === 0) {
      if (this.#range === this.#rangeCount) return OK;
      const at = this.#range * RANGE_BYTES;
      this.#offset = sectorAt(this.#rangeView, at + BlkRange.offset.sector) * SECTOR_BYTES;
      this.#left = this.#rangeWord(this.#range, BlkRange.offset.numSectors) * SECTOR_BYTES;
      this.#mayUnmap =
        (this.#rangeWord(this.#range, BlkRange.offset.flags) & BlkRangeFlag.UNMAP) !== 0;
      this.#range += 1;
    }
    const bytes = Math.min(this.#left, this.#chunkBytes);
    const done =
      this.type === DISCARD
        ? this.#backing.discard(this.#offset, bytes)
        : this.#backing.writeZeroes(this.#offset, bytes, this.#mayUnmap);
    if (!done) return IOERR;
    this.#offset += bytes;
    this.#left -= bytes;
    return this.#left === 0 && this.#range === this.#rangeCount ? OK : PENDING;
  }

  #rangeWord(range: number, offset: number): number {
    return this.#rangeView.getUint32(range * RANGE_BYTES + offset, true);
  }

  /** True if the disk has these sectors. Exact: what is not is far beyond every disk. */
  #holds(sector: number, sectors: number): boolean {
    return sector + sectors <= this.#backing.sizeBytes / SECTOR_BYTES;
  }

  /** True if an access since the last look was refused; that is no fault of the ring then. */
  #refusedBy(memory: DataMemory): boolean {
    if (!memory.faulted) return false;
    memory.faulted = false;
    this.refused = true;
    return true;
  }
}

/** A 64-bit field; rounded from 2^53 on, which is beyond every disk. */
function sectorAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * WORD + view.getUint32(at, true);
}
