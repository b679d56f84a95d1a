/**
 * Where requests lie in guest memory: a table of slots, made once and used in turn.
 *
 * A slot is 40 bytes: up to 36 that the device reads, then the tail that it writes. A slot always has the same buffers,
 * and slots are given out first freed first taken, as the ring does with its descriptors: in steady state the ring finds
 * every chain described already. PROBE, which needs far more room, has a single slot of its own.
 */

import {
  MapRequest,
  ProbeRequest,
  RequestTail,
  RequestType,
  UnmapRequest,
  assert,
  guestPhysical,
  highWord,
  lowWord,
} from '@viommu/common';
import { BufferList, type GuestMemory } from '@viommu/ring';
import type { DmaMemory, DmaPiece } from './dma-memory.ts';

const { MAP, UNMAP } = RequestType;
const { domain: MAP_DOMAIN, virtStart: MAP_START, virtEnd: MAP_END } = MapRequest.offset;
const { physStart: MAP_PHYS, flags: MAP_FLAGS } = MapRequest.offset;
const { domain: UNMAP_DOMAIN, virtStart: UNMAP_START, virtEnd: UNMAP_END } = UnmapRequest.offset;
const { reserved1: UNMAP_RESERVED } = UnmapRequest.offset;
/** Offset of the last byte of a page. */
const LAST_OFFSET = 0xfff;
/** The longest readable part of an ordinary request. */
const READABLE_MAX = MapRequest.size;
const UNMAP_BYTES = UnmapRequest.size;
const TAIL_BYTES = RequestTail.size;
const STRIDE = READABLE_MAX + TAIL_BYTES;
const CACHE_LINE = 64;
/** Stands in a tail until the device writes it: no status of the standard. */
const UNWRITTEN = 0xff;

/** The slots of one request queue. A slot's number is also its token in the ring. */
export class RequestSlots {
  /** Ordinary slots: 0 to `count - 1`. */
  readonly count: number;
  /** The number of the PROBE slot. */
  readonly probe: number;
  /** False while a PROBE is in flight. */
  probeFree = true;
  /** The memory they lie in: the ordinary ones, and behind them that of PROBE. */
  readonly piece: DmaPiece;
  readonly #memory: GuestMemory;
  readonly #probeSize: number;
  readonly #probeRequest: DmaPiece;
  readonly #properties: DmaPiece;
  /** By slot: the chain of a MAP, of an UNMAP, of a request of any other length. */
  readonly #mapLists: readonly BufferList[];
  readonly #unmapLists: readonly BufferList[];
  readonly #otherLists: readonly BufferList[];
  /** Free ordinary slots. */
  readonly #free: Uint16Array;
  #freeFirst = 0;
  #freeCount: number;

  /** `probeSize` is the room for properties in bytes. */
  constructor(dma: DmaMemory, count: number, probeSize: number) {
    this.count = count;
    this.probe = count;
    this.#memory = dma.memory;
    this.#probeSize = probeSize;
    const bytes = Math.ceil((count * STRIDE) / CACHE_LINE) * CACHE_LINE;
    this.piece = dma.take(bytes + ProbeRequest.size + probeSize + TAIL_BYTES, CACHE_LINE);
    this.#probeRequest = behind(this.piece, bytes);
    this.#properties = behind(this.#probeRequest, ProbeRequest.size);
    const lists = (readableBytes: number): BufferList[] =>
      Array.from({ length: count }, (_, slot) => this.#describe(slot, readableBytes));
    this.#mapLists = lists(MapRequest.size);
    this.#unmapLists = lists(UnmapRequest.size);
    this.#otherLists = [...lists(0), this.#describe(this.probe, ProbeRequest.size)];
    this.#free = Uint16Array.from({ length: count }, (_, slot) => slot);
    this.#freeCount = count;
  }

  /** The bytes that the device writes into the chain of `slot` if it handles the request. */
  writableBytes(slot: number): number {
    return slot === this.probe ? this.#probeSize + TAIL_BYTES : TAIL_BYTES;
  }

  /** Writes the readable part of a request as it is. */
  write(slot: number, bytes: Uint8Array): void {
    this.#memory.write(this.#position(slot), bytes, 0, bytes.length);
  }

  /** Writes a MAP of whole pages. */
  writeMap(
    slot: number,
    domain: number,
    startPage: number,
    lastPage: number,
    physPage: number,
    flags: number,
  ): void {
    const memory = this.#memory;
    const at = this.#position(slot);
    memory.setUint32(at, MAP); // The type, and three reserved bytes.
    memory.setUint32(at + MAP_DOMAIN, domain);
    memory.setUint32(at + MAP_START, lowWord(startPage, 0));
    memory.setUint32(at + MAP_START + 4, highWord(startPage));
    memory.setUint32(at + MAP_END, lowWord(lastPage, LAST_OFFSET));
    memory.setUint32(at + MAP_END + 4, highWord(lastPage));
    memory.setUint32(at + MAP_PHYS, lowWord(physPage, 0));
    memory.setUint32(at + MAP_PHYS + 4, highWord(physPage));
    memory.setUint32(at + MAP_FLAGS, flags);
  }

  /** Writes an UNMAP of whole pages. */
  writeUnmap(slot: number, domain: number, startPage: number, lastPage: number): void {
    const memory = this.#memory;
    const at = this.#position(slot);
    memory.setUint32(at, UNMAP);
    memory.setUint32(at + UNMAP_DOMAIN, domain);
    memory.setUint32(at + UNMAP_START, lowWord(startPage, 0));
    memory.setUint32(at + UNMAP_START + 4, highWord(startPage));
    memory.setUint32(at + UNMAP_END, lowWord(lastPage, LAST_OFFSET));
    memory.setUint32(at + UNMAP_END + 4, highWord(lastPage));
    memory.setUint32(at + UNMAP_RESERVED, 0);
  }

  /** The chain of `slot` for a request of `readableBytes`. */
  buffers(slot: number, readableBytes: number): BufferList {
    if (slot !== this.probe) {
      if (readableBytes === READABLE_MAX) return this.#mapLists[slot]!; // Below the count, as below.
      if (readableBytes === UNMAP_BYTES) return this.#unmapLists[slot]!;
    }
    const list = this.#otherLists[slot]!;
    if (list.lengthBytes(0) !== readableBytes) this.#fill(list, slot, readableBytes);
    return list;
  }

  /** A free slot, which is then taken. There is one: the queue counts what is in flight. */
  take(probe: boolean): number {
    if (probe) {
      this.probeFree = false;
      return this.probe;
    }
    assert(this.#freeCount > 0, 'a request is added only if there is room for it');
    const slot = this.#free[this.#freeFirst]!; // Below the count.
    this.#freeFirst = this.#freeFirst + 1 === this.count ? 0 : this.#freeFirst + 1;
    this.#freeCount -= 1;
    return slot;
  }

  /** Gives back a slot whose request is complete. */
  release(slot: number): void {
    if (slot === this.probe) {
      this.probeFree = true;
      return;
    }
    const end = this.#freeFirst + this.#freeCount;
    this.#free[end < this.count ? end : end - this.count] = slot;
    this.#freeCount += 1;
  }

  /** Marks the writable part of `slot` as not written. */
  clearReply(slot: number): void {
    if (slot === this.probe) this.#clearProperties();
    this.#memory.setUint32(this.#tail(slot), UNWRITTEN);
  }

  /** The status byte in `slot`. Reserved bytes of the tail do not count. */
  status(slot: number): number {
    return this.#memory.getUint8(this.#tail(slot));
  }

  /** A copy of the properties in the PROBE slot. */
  properties(): Uint8Array {
    const bytes = new Uint8Array(this.#probeSize);
    this.#memory.read(this.#properties.position, bytes, 0, this.#probeSize);
    return bytes;
  }

  #clearProperties(): void {
    const zeros = new Uint8Array(this.#probeSize);
    this.#memory.write(this.#properties.position, zeros, 0, this.#probeSize);
  }

  #position(slot: number): number {
    return slot === this.probe ? this.#probeRequest.position : this.piece.position + slot * STRIDE;
  }

  #tail(slot: number): number {
    return slot === this.probe
      ? this.#properties.position + this.#probeSize
      : this.piece.position + slot * STRIDE + READABLE_MAX;
  }

  #describe(slot: number, readableBytes: number): BufferList {
    const list = new BufferList(2);
    this.#fill(list, slot, readableBytes);
    return list;
  }

  #fill(list: BufferList, slot: number, readableBytes: number): void {
    if (slot === this.probe) {
      list.clear().addReadable(this.#probeRequest.address, readableBytes);
      list.addWritable(this.#properties.address, this.writableBytes(slot));
      return;
    }
    const start = this.piece.address + BigInt(slot * STRIDE);
    list.clear().addReadable(guestPhysical(start), readableBytes);
    list.addWritable(guestPhysical(start + BigInt(READABLE_MAX)), TAIL_BYTES);
  }
}

function behind({ address, position }: DmaPiece, bytes: number): DmaPiece {
  return { address: guestPhysical(address + BigInt(bytes)), position: position + bytes };
}
