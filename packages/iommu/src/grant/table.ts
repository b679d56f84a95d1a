/** The front-end's side of a grant table: which references are free, and what the others permit. */

import { IommuError, assert } from '@viommu/common';
import {
  ACCESS_WORD,
  DOMID_SHIFT,
  ENTRY_WORDS,
  FIRST_GRANT,
  FRAME_WORD,
  GrantFlag,
  IN_USE,
} from './entry.ts';

/** What a table is made of. */
export interface GrantTableOptions {
  /** The entries, two words each, in memory that the hypervisor sees; all zeros. */
  readonly words: Int32Array;
  /** Entries to begin with; the table grows up to what the words have room for. All of them if absent. */
  readonly entries?: number;
}

/** References to pages, given out in runs. */
export class GrantTable {
  readonly #words: Int32Array;
  /** One byte for each entry there can be: 1 if it is taken. */
  readonly #taken: Uint8Array;
  #entries: number;
  /** Where the next search begins: what was freed last is used again last. */
  #next: number = FIRST_GRANT;
  #used = 0;

  /** @throws {IommuError} `EINVAL` for a table without a free entry. */
  constructor({ words, entries }: GrantTableOptions) {
    const entriesMax = Math.floor(words.length / ENTRY_WORDS);
    this.#entries = entries ?? entriesMax;
    if (!(this.#entries > FIRST_GRANT && this.#entries <= entriesMax))
      throw new IommuError('EINVAL', `A grant table cannot have ${this.#entries} entries here.`);
    this.#words = words;
    this.#taken = new Uint8Array(entriesMax);
    this.#taken.fill(1, 0, FIRST_GRANT);
  }

  /** Entries the table has now. */
  get entries(): number {
    return this.#entries;
  }

  /** References that are taken. */
  get used(): number {
    return this.#used;
  }

  /** Takes `count` references, one behind the other. Returns the first, or -1 if there is no such run (`ENOSPC`). */
  allocate(count: number): number {
    let start = this.#findRun(count, this.#next, this.#entries);
    if (start < 0) start = this.#findRun(count, FIRST_GRANT, this.#entries);
    if (start < 0) start = this.#grow(count);
    if (start < 0) return -1;
    this.#taken.fill(1, start, start + count);
    this.#used += count;
    this.#next = start + count;
    return start;
  }

  /** Takes back references that grant nothing any more. */
  free(start: number, count: number): void {
    for (let ref = start; ref < start + count; ref += 1) {
      assert(this.#taken[ref] === 1 && ref >= FIRST_GRANT, 'a freed reference was taken');
      assert(Atomics.load(this.#words, wordOf(ref)) === 0, 'a freed reference grants nothing');
      this.#taken[ref] = 0;
    }
    this.#used -= count;
  }

  /** Permits `domid` to map `page`. */
  grantAccess(ref: number, domid: number, page: number, readOnly: boolean): void {
    const at = wordOf(ref);
    // The frame first: the other side may look at any time, and goes by the flags.
    Atomics.store(this.#words, at - ACCESS_WORD + FRAME_WORD, page);
    const flags = GrantFlag.PERMIT_ACCESS | (readOnly ? GrantFlag.READ_ONLY : 0);
    Atomics.store(this.#words, at, flags | (domid << DOMID_SHIFT));
  }

  /** Takes a permission back. False, and nothing changes, while the page is mapped. */
  endAccess(ref: number): boolean {
    const words = this.#words;
    const at = wordOf(ref);
    // The hypervisor changes the word too, but only while someone maps or unmaps: a few rounds settle it. If not, the
    // page counts as mapped.
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const seen = Atomics.load(words, at);
      if ((seen & IN_USE) !== 0) return false;
      if (Atomics.compareExchange(words, at, seen, 0) === seen) return true;
    }
    return false;
  }

  #findRun(count: number, from: number, end: number): number {
    const taken = this.#taken;
    let start = from;
    for (let ref = from; ref < end; ref += 1) {
      if (taken[ref] !== 0) start = ref + 1;
      else if (ref - start + 1 === count) return start;
    }
    return -1;
  }

  /** Makes the table larger, at least twice as large, until a run fits. */
  #grow(count: number): number {
    const entriesMax = this.#taken.length;
    if (this.#entries === entriesMax) return -1;
    // A run may begin in the free entries at the end.
    let from = this.#entries;
    while (from > FIRST_GRANT && this.#taken[from - 1] === 0) from -= 1;
    this.#entries = Math.min(entriesMax, Math.max(this.#entries * 2, from + count));
    return this.#findRun(count, from, this.#entries);
  }
}

const TRIES_MAX = 64;

/** The word of a reference that holds its flags. */
function wordOf(ref: number): number {
  return ref * ENTRY_WORDS + ACCESS_WORD;
}
