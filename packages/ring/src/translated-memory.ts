/**
 * Guest memory as a device sees it through a translator: positions stand for the device's own addresses, and each access
 * is translated when it is made.
 *
 * Nothing outlives its mapping: what is kept are the pages of rings and request heads, and those only as long as the
 * translator has not changed its mind. An access that is refused reads zeros or writes nowhere, and is noted: who works
 * on a ring looks at {@link TranslatedMemory.faulted} before it believes what it read.
 */

import { IommuError, PAGE_SIZE, highWord, lowWord } from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';
import { PieceList, Access, Translated, type Translator } from './translator.ts';
import { PositionTable } from './position-table.ts';
import { ViewList } from './view-list.ts';

const { READ, WRITE } = Access;
const PAGE_SHIFT = 12;
const OFFSET_MASK = PAGE_SIZE - 1;
/** Translations that are kept: rings, tables and heads of several queues. A power of two. */
const KEPT = 64;
const NONE = -1;

export interface TranslatedMemoryOptions {
  /** Guest memory, mapped into this process. */
  readonly memory: GuestMemory;
  readonly translator: Translator;
}

/** The memory of one device. */
export class TranslatedMemory implements GuestMemory {
  /** No position can be used without a translation. */
  readonly view = undefined;
  /** An access was refused since this was last set to false. */
  faulted = false;
  /** Such an access was one after which the device has to be reset. */
  fatal = false;
  /** Accesses refused so far. */
  faults = 0;

  readonly #memory: GuestMemory;
  readonly #memoryView: DataView;
  readonly #positions: PositionTable = new PositionTable();
  readonly #pieces: PieceList = new PieceList();
  #translator: Translator;
  #generation: number;
  /** Kept translations: twice the page of the address, and one more for a write, or -1; and where it leads. */
  readonly #keys: Float64Array = new Float64Array(KEPT).fill(NONE);
  readonly #kept: Int32Array = new Int32Array(KEPT);
  readonly #word: Uint8Array = new Uint8Array(4);
  readonly #wordView: DataView = new DataView(this.#word.buffer);

  /** @throws {IommuError} `EINVAL` for memory that is reached by calls only. */
  constructor({ memory, translator }: TranslatedMemoryOptions) {
    if (memory.view === undefined)
      throw new IommuError('EINVAL', 'Only memory in this process can be translated.');
    this.#memory = memory;
    this.#memoryView = memory.view;
    this.#translator = translator;
    this.#generation = translator.generation;
  }

  /** Goes on with another translator; between two requests. */
  use(translator: Translator): void {
    this.release();
    this.#translator = translator;
    this.#generation = translator.generation;
    this.invalidateAll();
  }

  /** Addresses in these pages may be translated otherwise from now on. */
  invalidate(startPage: number, lastPage: number): void {
    const first = 2 * startPage;
    const last = 2 * lastPage + 1;
    for (let slot = 0; slot < KEPT; slot += 1) {
      const key = this.#keys[slot]!; // Below the length.
      if (key >= first && key <= last) this.#keys[slot] = NONE;
    }
  }

  /** All addresses may be translated otherwise from now on. */
  invalidateAll(): void {
    this.#keys.fill(NONE);
  }

  /** Before the next chain is taken: positions in the chains before it have no meaning any more. */
  dropBuffers(): void {
    this.#positions.dropBuffers();
  }

  /** Before a request is given back: nothing of its buffers is held any more. */
  release(): void {
    this.#translator.release?.();
  }

  /** After a device reset: no position has a meaning any more, and nothing has gone wrong. */
  forget(): void {
    this.#positions.forget();
    this.release();
    this.invalidateAll();
    this.faulted = false;
    this.fatal = false;
  }

  locate(low: number, high: number, length: number): number {
    return this.#positions.buffer(low, high, length);
  }

  locateArea(low: number, high: number, length: number): number {
    return this.#positions.area(low, high, length);
  }

  getUint8(position: number): number {
    const at = this.#at(position, 1, READ);
    return at < 0 ? 0 : this.#memory.getUint8(at);
  }

  getUint16(position: number): number {
    if ((position & OFFSET_MASK) > PAGE_SIZE - 2) return this.#getWord(position, 2);
    const at = this.#at(position, 2, READ);
    return at < 0 ? 0 : this.#memory.getUint16(at);
  }

  getUint32(position: number): number {
    if ((position & OFFSET_MASK) > PAGE_SIZE - 4) return this.#getWord(position, 4);
    const at = this.#at(position, 4, READ);
    return at < 0 ? 0 : this.#memory.getUint32(at);
  }

  setUint8(position: number, value: number): void {
    const at = this.#at(position, 1, WRITE);
    if (at >= 0) this.#memory.setUint8(at, value);
  }

  setUint16(position: number, value: number): void {
    if ((position & OFFSET_MASK) > PAGE_SIZE - 2) return this.#setWord(position, 2, value);
    const at = this.#at(position, 2, WRITE);
    if (at >= 0) this.#memory.setUint16(at, value);
  }

  setUint32(position: number, value: number): void {
    if ((position & OFFSET_MASK) > PAGE_SIZE - 4) return this.#setWord(position, 4, value);
    const at = this.#at(position, 4, WRITE);
    if (at >= 0) this.#memory.setUint32(at, value);
  }

  loadUint16(position: number): number {
    const at = this.#at(position, 2, READ);
    return at < 0 ? 0 : this.#memory.loadUint16(at);
  }

  storeUint16(position: number, value: number): void {
    const at = this.#at(position, 2, WRITE);
    if (at >= 0) this.#memory.storeUint16(at, value);
  }

  /** As in `GuestMemory`; all or nothing. */
  read(position: number, target: Uint8Array, at: number, length: number): void {
    if (length === 0) return;
    if ((position & OFFSET_MASK) + length <= PAGE_SIZE) {
      const real = this.#at(position, length, READ);
      if (real < 0) target.fill(0, at, at + length);
      else this.#memory.read(real, target, at, length);
      return;
    }
    if (!this.#translate(position, length, READ)) {
      target.fill(0, at, at + length);
      return;
    }
    let done = at;
    for (let piece = 0; piece < this.#pieces.count; piece += 1) {
      const bytes = this.#pieces.sizeBytes[piece]!; // Below the count.
      this.#memory.read(this.#locatePiece(piece), target, done, bytes);
      done += bytes;
    }
  }

  /** As in `GuestMemory`; all or nothing. */
  write(position: number, source: Uint8Array, at: number, length: number): void {
    if (length === 0) return;
    if ((position & OFFSET_MASK) + length <= PAGE_SIZE) {
      const real = this.#at(position, length, WRITE);
      if (real >= 0) this.#memory.write(real, source, at, length);
      return;
    }
    if (!this.#translate(position, length, WRITE)) return;
    let done = at;
    for (let piece = 0; piece < this.#pieces.count; piece += 1) {
      const bytes = this.#pieces.sizeBytes[piece]!; // Below the count.
      this.#memory.write(this.#locatePiece(piece), source, done, bytes);
      done += bytes;
    }
  }

  /** A list for {@link pieces}. */
  newViewList(): ViewList {
    return new ViewList(this.#memoryView);
  }

  /**
   * Adds the memory itself to `into`, to be used before the caller returns to whoever might take it away. False, with
   * nothing added, if the access is refused; it is in {@link faults} then, and {@link faulted} is not set for it: an
   * access to a buffer that fails is answered, and is no reason to doubt the ring.
   */
  pieces(position: number, length: number, access: Access, into: ViewList): boolean {
    const before = this.faulted;
    const translated = this.#translate(position, length, access);
    this.faulted = before;
    if (!translated) return false;
    for (let piece = 0; piece < this.#pieces.count; piece += 1)
      into.add(this.#locatePiece(piece), this.#pieces.sizeBytes[piece]!); // Below the count.
    return true;
  }

  /** Where `size` bytes of one page are in memory; -1 if the access is refused. */
  #at(position: number, size: number, access: Access): number {
    if (this.#translator.generation !== this.#generation) {
      this.#generation = this.#translator.generation;
      this.invalidateAll();
    }
    const page = this.#positions.pageAt(position >>> PAGE_SHIFT);
    const key = 2 * page + (access === WRITE ? 1 : 0);
    const slot = key & (KEPT - 1);
    if (page >= 0 && this.#keys[slot] === key) return this.#kept[slot]! | (position & OFFSET_MASK); // Below the length.
    return this.#fetch(position, size, access, key, slot);
  }

  #fetch(position: number, size: number, access: Access, key: number, slot: number): number {
    if (!this.#translate(position, size, access)) return NONE;
    if (this.#pieces.count !== 1) return this.#refuse(Translated.FAULT); // A field in pieces: no whole pages, and nobody does it.
    const at = this.#locatePiece(0);
    const offset = position & OFFSET_MASK;
    // Only memory that begins on a page can be found by adding the offset to what is kept.
    if (this.#translator.wholePages && (at & OFFSET_MASK) === offset) {
      this.#keys[slot] = key;
      this.#kept[slot] = at - offset;
    }
    return at;
  }

  /** Translates an access into `#pieces`, all of which is guest memory then. */
  #translate(position: number, length: number, access: Access): boolean {
    const pieces = this.#pieces;
    pieces.count = 0;
    const page = this.#positions.pageAt(position >>> PAGE_SHIFT);
    if (page < 0) return this.#refuse(Translated.FAULT) >= 0;
    const offset = position & OFFSET_MASK;
    const outcome = this.#translator.translate(page, offset, length, access, pieces);
    if (outcome !== Translated.OK) return this.#refuse(outcome) >= 0;
    let bytes = 0;
    for (let piece = 0; piece < pieces.count; piece += 1) {
      // Translated to where no memory is.
      if (this.#locatePiece(piece) < 0) return this.#refuse(Translated.FAULT) >= 0;
      bytes += pieces.sizeBytes[piece]!; // Below the count.
    }
    return bytes === length || this.#refuse(Translated.FAULT) >= 0;
  }

  #locatePiece(piece: number): number {
    const { page, offset, sizeBytes } = this.#pieces;
    const first = page[piece]!; // Below the count, as the others.
    return this.#memory.locate(lowWord(first, offset[piece]!), highWord(first), sizeBytes[piece]!);
  }

  /** Notes a refused access. */
  #refuse(outcome: Translated): number {
    this.faults += 1;
    this.faulted = true;
    if (outcome === Translated.FATAL) this.fatal = true;
    return NONE;
  }

  #getWord(position: number, size: number): number {
    this.#word.fill(0);
    this.read(position, this.#word, 0, size);
    return this.#wordView.getUint32(0, true);
  }

  #setWord(position: number, size: number, value: number): void {
    this.#wordView.setUint32(0, value, true);
    this.write(position, this.#word, 0, size);
  }
}
