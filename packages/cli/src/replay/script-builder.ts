/** Makes a script of the events of a recording. */

import type { StreamEvent } from '@viommu/common';
import {
  AccessBits,
  HEADER_WORDS,
  NO_REGION,
  REMOVED_WORDS,
  ROW_WORDS,
  ResetKind,
  RowKind,
  Script,
  UNTRANSLATED,
  Word,
} from './script.ts';

/** Rows and removed mappings that a script holds at most: 800 MB and 500 MB. */
const ROWS_MAX = 1 << 24;
const REMOVED_MAX = 1 << 25;

/** Takes events one by one and packs them. */
export class ScriptBuilder {
  #rows: Uint32Array = new Uint32Array(1 << 12);
  #removed: Uint32Array = new Uint32Array(1 << 8);
  #row = 0;
  #removedRow = 0;

  /** Takes the event of `line`; those that ask nothing of anybody make no row. False if no more fit. */
  add(event: StreamEvent, line: number): boolean {
    switch (event.kind) {
      case 'features':
      case 'config':
      case 'notify':
        return true;
      case 'refused':
        if (!this.#addRequest(event.request, line, event.status)) return false;
        return true;
      case 'probe':
      case 'probe-empty':
      case 'attach':
      case 'detach':
      case 'map':
      case 'unmap':
        return this.#addRequest(event, line, 0);
      case 'access':
        if (!this.#open(RowKind.ACCESS, line)) return false;
        this.#set(Word.ENDPOINT, event.endpoint);
        this.#set(Word.FLAGS, AccessBits[event.access]);
        this.#setWide(Word.START, event.address);
        if (event.result === '=') this.#set(Word.STATUS, UNTRANSLATED);
        else this.#setWide(Word.TARGET, event.result);
        return this.#close();
      case 'fault':
        if (!this.#open(RowKind.FAULT, line)) return false;
        this.#set(Word.ENDPOINT, event.endpoint);
        this.#set(Word.FLAGS, AccessBits[event.access]);
        this.#set(Word.STATUS, event.reason);
        this.#setWide(Word.START, event.address);
        return this.#close();
      case 'device-reset':
      case 'system-reset':
        if (!this.#open(RowKind.RESET, line)) return false;
        this.#set(Word.FLAGS, event.kind === 'system-reset' ? ResetKind.SYSTEM : ResetKind.DEVICE);
        return this.#close();
      case 'bypass':
        if (!this.#open(RowKind.BYPASS, line)) return false;
        this.#set(Word.FLAGS, event.value);
        return this.#close();
    }
  }

  /** The script of everything taken. */
  build(): Script {
    const rows = this.#rows.subarray(0, this.#row * ROW_WORDS);
    const removed = this.#removed.subarray(0, this.#removedRow * REMOVED_WORDS);
    const buffer = new SharedArrayBuffer(4 * (HEADER_WORDS + rows.length + removed.length));
    const words = new Uint32Array(buffer);
    words[0] = this.#row;
    words[1] = this.#removedRow;
    words.set(rows, HEADER_WORDS);
    words.set(removed, HEADER_WORDS + rows.length);
    return new Script(buffer);
  }

  #addRequest(request: RequestEvent, line: number, status: number): boolean {
    if (!this.#open(KIND_OF[request.kind], line)) return false;
    this.#set(Word.STATUS, status);
    switch (request.kind) {
      case 'attach':
        this.#set(Word.FLAGS, request.flags);
        this.#set(Word.DOMAIN, request.domain);
        this.#set(Word.ENDPOINT, request.endpoint);
        break;
      case 'detach':
        this.#set(Word.DOMAIN, request.domain);
        this.#set(Word.ENDPOINT, request.endpoint);
        break;
      case 'map':
        this.#set(Word.FLAGS, request.flags);
        this.#set(Word.DOMAIN, request.domain);
        this.#setWide(Word.START, request.virtStart);
        this.#setWide(Word.LAST, request.virtLast);
        this.#setWide(Word.TARGET, request.physStart);
        break;
      case 'unmap':
        this.#set(Word.DOMAIN, request.domain);
        this.#setWide(Word.START, request.virtStart);
        this.#setWide(Word.LAST, request.virtLast);
        if ('removed' in request && !this.#addRemoved(request.removed)) return false;
        break;
      case 'probe':
      case 'probe-empty':
        this.#set(Word.ENDPOINT, request.endpoint);
        this.#set(Word.FLAGS, 'subtype' in request ? request.subtype : NO_REGION);
        if ('start' in request) {
          this.#setWide(Word.START, request.start);
          this.#setWide(Word.LAST, request.last);
        }
        break;
    }
    return this.#close();
  }

  /** Removed mappings come in any order; they are kept in ascending order, to be compared as a set. */
  #addRemoved(removed: readonly { start: bigint; last: bigint }[]): boolean {
    this.#set(Word.TARGET, this.#removedRow);
    this.#set(Word.TARGET + 1, removed.length);
    if (this.#removedRow + removed.length > REMOVED_MAX) return false;
    const sorted = removed.length < 2 ? removed : removed.toSorted(byStart);
    for (const { start, last } of sorted) {
      const at = this.#removedRow * REMOVED_WORDS;
      if (at === this.#removed.length) this.#removed = grow(this.#removed);
      split(this.#removed, at, start);
      split(this.#removed, at + 2, last);
      this.#removedRow += 1;
    }
    return true;
  }

  #open(kind: RowKind, line: number): boolean {
    if (this.#row === ROWS_MAX) return false;
    if (this.#row * ROW_WORDS + ROW_WORDS > this.#rows.length) this.#rows = grow(this.#rows);
    this.#set(Word.KIND, kind);
    this.#set(Word.LINE, line);
    return true;
  }

  #set(word: number, value: number): void {
    this.#rows[this.#row * ROW_WORDS + word] = value;
  }

  #setWide(word: number, value: bigint): void {
    split(this.#rows, this.#row * ROW_WORDS + word, value);
  }

  #close(): boolean {
    this.#row += 1;
    return true;
  }
}

type RequestEvent =
  | Extract<StreamEvent, { kind: 'probe' | 'probe-empty' | 'attach' | 'detach' | 'map' | 'unmap' }>
  | Extract<StreamEvent, { kind: 'refused' }>['request'];

const KIND_OF: Readonly<Record<RequestEvent['kind'], RowKind>> = {
  attach: RowKind.ATTACH,
  detach: RowKind.DETACH,
  map: RowKind.MAP,
  unmap: RowKind.UNMAP,
  probe: RowKind.PROBE,
  'probe-empty': RowKind.PROBE,
};

function byStart(a: { start: bigint; last: bigint }, b: { start: bigint; last: bigint }): number {
  if (a.start !== b.start) return a.start < b.start ? -1 : 1;
  return a.last < b.last ? -1 : a.last > b.last ? 1 : 0;
}

function grow(words: Uint32Array): Uint32Array {
  const larger = new Uint32Array(2 * words.length);
  larger.set(words);
  return larger;
}

function split(words: Uint32Array, at: number, value: bigint): void {
  const high = Number(value >> 32n);
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = high;
}
