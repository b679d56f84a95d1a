/**
 * Guest memory that lies in a file, which another process has mapped: a copy of the window here, kept coherent by page.
 *
 * Node cannot map a file. So a page is read from the file when it is first looked at, and what was written since is
 * written to the file before the other side gets to act. The two moments are those of the memory model: storing a ring
 * index publishes all writes before it, and loading one makes everything stale that the other side may have changed.
 * Whoever makes the peer act says so as well: {@link MirrorMemory.publish} before, {@link MirrorMemory.refresh} after. Of a
 * peer that acts at no other time those two calls are enough.
 */

import { readSync, writeSync } from 'node:fs';
import { type GuestPhysical, PAGE_SIZE, assert } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';

const PAGE_SHIFT = 12;
const CLEAN = PAGE_SIZE;

export interface MirrorMemoryOptions {
  /** Guest-physical address of the first byte; page-aligned. */
  readonly base: GuestPhysical;
  /** Bytes; whole pages. The window does not cross a 4 GiB line. */
  readonly size: number;
  /** The other side changes nothing but between {@link MirrorMemory.publish} and {@link MirrorMemory.refresh}. */
  readonly still?: boolean;
}

/** A window into the memory of a peer. */
export class MirrorMemory implements GuestMemory {
  /** There is none: writes that nobody sees would not get to the file. */
  readonly view: undefined = undefined;
  readonly base: GuestPhysical;
  readonly size: number;
  readonly #bytes: Buffer;
  readonly #data: DataView;
  readonly #baseLow: number;
  readonly #baseHigh: number;
  /** The round in which each page was read from the file; another than the present one means stale. */
  readonly #round: Uint32Array;
  #now = 1;
  /** For each page, the first byte written and the one behind the last; the first is {@link CLEAN} if there is none. */
  readonly #dirtyFrom: Uint16Array;
  readonly #dirtyTo: Uint16Array;
  readonly #dirtyPages: number[] = [];
  readonly #still: boolean;
  /** Pages from here on were never looked at. */
  #knownPages = 0;
  #file = -1;
  #fileOffset = 0;

  constructor({ base, size, still = false }: MirrorMemoryOptions) {
    assert(size > 0 && size % PAGE_SIZE === 0, 'a window is made of pages');
    assert((base & 0xfffn) === 0n, 'a window begins with a page');
    assert((base & 0xffff_ffffn) + BigInt(size) <= 1n << 32n, 'a window crosses no 4 GiB line');
    this.base = base;
    this.size = size;
    this.#still = still;
    this.#baseLow = Number(base & 0xffff_ffffn);
    this.#baseHigh = Number(base >> 32n);
    const bytes = new Uint8Array(size);
    this.#bytes = Buffer.from(bytes.buffer);
    this.#data = new DataView(bytes.buffer);
    const pages = size >>> PAGE_SHIFT;
    this.#round = new Uint32Array(pages);
    this.#dirtyFrom = new Uint16Array(pages).fill(CLEAN);
    this.#dirtyTo = new Uint16Array(pages);
  }

  /** Takes another file, in which the window begins at byte `offset`. What was written before and not published is lost. */
  open(file: number, offset: number): void {
    this.#file = file;
    this.#fileOffset = offset;
    for (const page of this.#dirtyPages) this.#dirtyFrom[page] = CLEAN;
    this.#dirtyPages.length = 0;
    this.#knownPages = 0;
    this.refresh();
  }

  /** Makes everything zero, here and in the file, as far as it was ever looked at. */
  clear(): void {
    const bytes = this.#knownPages * PAGE_SIZE;
    const file = this.#file;
    const at = this.#fileOffset;
    this.open(file, at);
    this.#bytes.fill(0, 0, bytes);
    if (bytes > 0) writeSync(file, this.#bytes, 0, bytes, at);
  }

  /** Lets go of the file. Nothing can be read or written until another is opened. */
  close(): void {
    this.open(-1, 0);
  }

  /** Writes what changed here to the file. */
  publish(): void {
    if (this.#dirtyPages.length === 0) return;
    for (const page of this.#dirtyPages) this.#writePage(page);
    this.#dirtyPages.length = 0;
  }

  /** From now on everything is read from the file again, but for what was not published. */
  refresh(): void {
    this.#now += 1;
    assert(this.#now < 2 ** 32, 'rounds are counted in 32 bits');
  }

  locate(low: number, high: number, length: number): number {
    const position = low - this.#baseLow;
    if (high !== this.#baseHigh || position < 0 || length > this.size - position) return -1;
    return position;
  }

  getUint8(position: number): number {
    this.#look(position, 1);
    return this.#data.getUint8(position);
  }

  getUint16(position: number): number {
    this.#look(position, 2);
    return this.#data.getUint16(position, true);
  }

  getUint32(position: number): number {
    this.#look(position, 4);
    return this.#data.getUint32(position, true);
  }

  setUint8(position: number, value: number): void {
    this.#touch(position, 1);
    this.#data.setUint8(position, value);
  }

  setUint16(position: number, value: number): void {
    this.#touch(position, 2);
    this.#data.setUint16(position, value, true);
  }

  setUint32(position: number, value: number): void {
    this.#touch(position, 4);
    this.#data.setUint32(position, value, true);
  }

  loadUint16(position: number): number {
    if (!this.#still) this.refresh();
    return this.getUint16(position);
  }

  storeUint16(position: number, value: number): void {
    if (!this.#still) this.publish();
    this.setUint16(position, value);
    if (!this.#still) this.publish();
  }

  read(position: number, target: Uint8Array, at: number, length: number): void {
    if (length === 0) return;
    this.#look(position, length);
    target.set(this.#bytes.subarray(position, position + length), at);
  }

  write(position: number, source: Uint8Array, at: number, length: number): void {
    if (length === 0) return;
    this.#touch(position, length);
    this.#bytes.set(source.subarray(at, at + length), position);
  }

  /** Makes the pages of these bytes fresh. */
  #look(position: number, length: number): void {
    const last = (position + length - 1) >>> PAGE_SHIFT;
    for (let page = position >>> PAGE_SHIFT; page <= last; page += 1)
      if (this.#round[page] !== this.#now) this.#readPage(page);
  }

  /** As {@link #look}, and remembers that they change. */
  #touch(position: number, length: number): void {
    this.#look(position, length);
    const end = position + length;
    for (let at = position; at < end;) {
      const page = at >>> PAGE_SHIFT;
      const start = page << PAGE_SHIFT;
      const to = Math.min(end - start, PAGE_SIZE);
      const from = at - start;
      const dirtyFrom = this.#dirtyFrom[page] as number; // a page of the window
      if (dirtyFrom === CLEAN) {
        this.#dirtyPages.push(page);
        this.#dirtyFrom[page] = from;
        this.#dirtyTo[page] = to;
      } else {
        if (from < dirtyFrom) this.#dirtyFrom[page] = from;
        if (to > (this.#dirtyTo[page] as number)) this.#dirtyTo[page] = to; // a page of the window
      }
      at = start + to;
    }
  }

  #readPage(page: number): void {
    // What was written here must not be lost.
    if (this.#dirtyFrom[page] !== CLEAN) {
      this.#writePage(page);
      this.#dirtyPages.splice(this.#dirtyPages.indexOf(page), 1);
    }
    if (page >= this.#knownPages) this.#knownPages = page + 1;
    const start = page << PAGE_SHIFT;
    readSync(this.#file, this.#bytes, start, PAGE_SIZE, this.#fileOffset + start);
    this.#round[page] = this.#now;
  }

  #writePage(page: number): void {
    const start = page << PAGE_SHIFT;
    const from = start + (this.#dirtyFrom[page] as number); // a page of the window
    const to = start + (this.#dirtyTo[page] as number); // a page of the window
    this.#dirtyFrom[page] = CLEAN;
    writeSync(this.#file, this.#bytes, from, to - from, this.#fileOffset + from);
  }
}
