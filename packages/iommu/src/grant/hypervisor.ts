/**
 * The hypervisor's side of grant tables: maps pages that a domain granted, for a back-end.
 *
 * The table is memory of the front-end, which may write anything there at any time. An entry is believed only as far as
 * one compare-and-swap sets the marks of use in it; what it said then is what counts.
 */

import { IommuError } from '@viommu/common';
import { ACCESS_WORD, DOMID_SHIFT, ENTRY_WORDS, FRAME_WORD, GrantFlag, IN_USE } from './entry.ts';

/** Why a mapping, or its end, was refused. Everything from 0 on is a handle, or success. */
export const GrantStatus = {
  OKAY: 0,
  /** The entry permits nothing, or not to this domain, or not to write, or does not keep still. */
  GENERAL_ERROR: -1,
  BAD_DOMAIN: -2,
  BAD_GRANT: -3,
  BAD_HANDLE: -4,
  NO_SPACE: -13,
} as const;

/** Attempts to mark an entry that keeps changing. */
const TRIES_MAX = 5;

/** What a hypervisor is made of. */
export interface GrantHypervisorOptions {
  /** Mappings there can be at one time. */
  readonly handlesMax?: number;
}

const HANDLES_MAX = 4096;

/** One front-end's table, and how often each of its entries is mapped. */
interface Granter {
  readonly words: Int32Array;
  readonly entries: number;
  readonly mapped: Uint16Array;
  readonly written: Uint16Array;
}

/** Knows the grant tables of all front-ends, and every mapping. */
export class GrantHypervisor {
  readonly #granters: Map<number, Granter> = new Map();
  /** Of each handle: whose reference it maps, and whether for writing; -1 in `#refs` if it is free. */
  readonly #owners: (Granter | undefined)[];
  readonly #refs: Int32Array;
  readonly #frames: Int32Array;
  readonly #writable: Uint8Array;
  /** Free handles, the next one last. */
  readonly #free: Int32Array;
  #freeCount: number;

  constructor({ handlesMax = HANDLES_MAX }: GrantHypervisorOptions = {}) {
    this.#owners = Array.from({ length: handlesMax }, () => undefined);
    this.#refs = new Int32Array(handlesMax).fill(-1);
    this.#frames = new Int32Array(handlesMax);
    this.#writable = new Uint8Array(handlesMax);
    this.#free = Int32Array.from({ length: handlesMax }, (_, n) => handlesMax - 1 - n);
    this.#freeCount = handlesMax;
  }

  /** Mappings that exist now. */
  get mapped(): number {
    return this.#refs.length - this.#freeCount;
  }

  /** Takes on a front-end. @throws {IommuError} `EEXIST` if it has a table already. */
  addGranter(domid: number, words: Int32Array): void {
    if (this.#granters.has(domid))
      throw new IommuError('EEXIST', `Domain ${domid} has a grant table already.`);
    const entries = Math.floor(words.length / ENTRY_WORDS);
    const mapped = new Uint16Array(entries);
    this.#granters.set(domid, { words, entries, mapped, written: new Uint16Array(entries) });
  }

  /** Maps a page for the back-end `mapper`. Returns a handle, or a value of {@link GrantStatus} below 0. */
  mapGrant(granter: number, ref: number, mapper: number, readOnly: boolean): number {
    const owner = this.#granters.get(granter);
    if (owner === undefined) return GrantStatus.BAD_DOMAIN;
    if (!(ref >= 0 && ref < owner.entries)) return GrantStatus.BAD_GRANT;
    if (this.#freeCount === 0 || owner.mapped[ref] === COUNT_MAX) return GrantStatus.NO_SPACE;
    if (!mark(owner.words, ref, mapper, readOnly)) return GrantStatus.GENERAL_ERROR;
    const handle = this.#free[this.#freeCount - 1]!; // Not empty.
    this.#freeCount -= 1;
    owner.mapped[ref]! += 1; // Below the number of entries.
    if (!readOnly) owner.written[ref]! += 1; // Likewise.
    this.#owners[handle] = owner;
    this.#refs[handle] = ref;
    // Written before the flags that are set, and from now on the mapping's own.
    this.#frames[handle] = Atomics.load(owner.words, ref * ENTRY_WORDS + FRAME_WORD);
    this.#writable[handle] = readOnly ? 0 : 1;
    return handle;
  }

  /** Ends a mapping. Returns {@link GrantStatus.OKAY} or `BAD_HANDLE`. */
  unmapGrant(handle: number): number {
    const owner = this.#owners[handle];
    const ref = this.#refs[handle];
    if (owner === undefined || ref === undefined || ref < 0) return GrantStatus.BAD_HANDLE;
    const mapped = (owner.mapped[ref]! -= 1); // Below the number of entries.
    let done = 0;
    if (this.#writable[handle] === 1) {
      const written = (owner.written[ref]! -= 1); // Likewise.
      if (written === 0) done = GrantFlag.WRITING;
    }
    if (mapped === 0) done = IN_USE;
    if (done !== 0) Atomics.and(owner.words, ref * ENTRY_WORDS + ACCESS_WORD, ~done);
    this.#owners[handle] = undefined;
    this.#refs[handle] = -1;
    this.#free[this.#freeCount] = handle;
    this.#freeCount += 1;
    return GrantStatus.OKAY;
  }

  /** The guest page behind a handle, or -1 if there is none. What is there is for the memory's owner to check. */
  frameOf(handle: number): number {
    return (this.#refs[handle] ?? -1) < 0 ? -1 : this.#frames[handle]! >>> 0; // A handle in use.
  }
}

const COUNT_MAX = 0xffff;

/** Sets the marks of use in an entry that permits it. */
function mark(words: Int32Array, ref: number, mapper: number, readOnly: boolean): boolean {
  const at = ref * ENTRY_WORDS + ACCESS_WORD;
  const marks = readOnly ? GrantFlag.READING : IN_USE;
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const seen = Atomics.load(words, at);
    if ((seen & GrantFlag.PERMIT_ACCESS) === 0 || seen >>> DOMID_SHIFT !== mapper) return false;
    if (!readOnly && (seen & GrantFlag.READ_ONLY) !== 0) return false;
    if (Atomics.compareExchange(words, at, seen, seen | marks) === seen) return true;
  }
  return false;
}
