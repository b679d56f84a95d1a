/**
 * Which pages of a protected guest its host may touch.
 *
 * One byte for each page, in memory that both sides see, and one more that says whether the guest is protected. The guest
 * decides; whoever reaches for guest memory on the host's side asks first. Until the guest protects itself, all pages are
 * open; from then on all are private that it has not shared.
 */

import { IommuError } from '@viommu/common';

const PRIVATE = 0;
const SHARED = 1;

/** Where the states are, and of which pages. */
export interface PageStatesOptions {
  /** A byte for each page and one more, zeros to begin with. */
  readonly states: Uint8Array;
  /** The page that the first byte is about. */
  readonly firstPage: number;
}

/** Private and shared pages of one guest. */
export class PageStates {
  readonly #states: Uint8Array;
  readonly #firstPage: number;
  readonly #pageCount: number;

  constructor({ states, firstPage }: PageStatesOptions) {
    this.#states = states;
    this.#firstPage = firstPage;
    this.#pageCount = states.length - 1;
  }

  /** True once the guest keeps its pages to itself. */
  get guarded(): boolean {
    return Atomics.load(this.#states, this.#pageCount) !== 0;
  }

  /** The guest protects itself, for good. It needs nobody's consent. */
  protect(): void {
    Atomics.store(this.#states, this.#pageCount, 1);
  }

  /** True if the host may touch all of these pages. Pages outside guest memory are nobody's to touch. */
  shared(startPage: number, pageCount: number): boolean {
    const states = this.#states;
    const from = startPage - this.#firstPage;
    if (!(from >= 0 && pageCount > 0 && from + pageCount <= this.#pageCount)) return false;
    if (!this.guarded) return true;
    for (let at = from; at < from + pageCount; at += 1)
      if (Atomics.load(states, at) !== SHARED) return false;
    return true;
  }

  /** Lets the host touch pages. @throws {IommuError} `EINVAL` outside guest memory. */
  share(startPage: number, pageCount: number): void {
    this.#set(startPage, pageCount, SHARED);
  }

  /** Keeps the host out of pages again. @throws {IommuError} `EINVAL` outside guest memory. */
  unshare(startPage: number, pageCount: number): void {
    this.#set(startPage, pageCount, PRIVATE);
  }

  #set(startPage: number, pageCount: number, state: number): void {
    const from = startPage - this.#firstPage;
    if (!(from >= 0 && pageCount > 0 && from + pageCount <= this.#pageCount))
      throw new IommuError('EINVAL', `Pages from ${startPage} on are not guest memory.`);
    for (let at = from; at < from + pageCount; at += 1) Atomics.store(this.#states, at, state);
  }
}
