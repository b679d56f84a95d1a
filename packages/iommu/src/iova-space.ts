/**
 * The addresses of one DMA domain, given out and taken back by the page.
 *
 * Small ranges come from caches of the processors ({@link IovaCache}), everything else from one ordered tree
 * ({@link IovaTree}). A range in a cache is still taken as far as the tree is concerned.
 */

import {
  type Concurrency,
  type Context,
  type Lock,
  LockRank,
  type TimerClock,
} from '@viommu/common';
import { CACHED_PAGES_MAX, IovaCache } from './iova-cache.ts';
import { IovaTree } from './iova-tree.ts';

/** What a space is made of. */
export interface IovaSpaceOptions {
  readonly concurrency: Concurrency;
  readonly clock: TimerClock;
  /** The processors of the guest; contexts are numbered below this. */
  readonly cpus: number;
  /** The first page of the aperture. Page 0 is never given out, so that address 0 is no address. */
  readonly firstPage: number;
}

/** Gives out ranges of pages, from the top. */
export class IovaSpace {
  /** The first page that can be given out, 1 or more. */
  readonly firstPage: number;
  /** For statistics and tests; changed under the space's lock only. */
  readonly tree: IovaTree;
  readonly cache: IovaCache;
  readonly #concurrency: Concurrency;
  readonly #lock: Lock;

  constructor(options: IovaSpaceOptions) {
    const { concurrency, clock, cpus } = options;
    this.firstPage = Math.max(1, options.firstPage);
    this.#concurrency = concurrency;
    this.#lock = concurrency.lock('iova tree', LockRank.iovaTree);
    this.tree = new IovaTree(this.firstPage);
    this.cache = new IovaCache({ concurrency, clock, cpus, tree: this.tree, treeLock: this.#lock });
  }

  /**
   * Takes `pages` pages in a row, all of them at or below `limitPage`, starting at a multiple of the next power of two.
   * Returns the first, or 0 if there are none.
   *
   * With `flush`, ranges that lie unused in any processor's cache are given back to the tree before it gives up.
   */
  allocate(pages: number, limitPage: number, flush: boolean, context: Context): number {
    let size = pages;
    if (pages <= CACHED_PAGES_MAX) {
      // Rounded up, so that the range fits its class again when it comes back.
      size = IovaCache.sizeOfClass(IovaCache.classOf(pages));
      const cached = this.cache.take(size, limitPage, context);
      if (cached !== 0) return cached;
    }
    const page = this.#fromTree(size, limitPage);
    if (page !== 0 || !flush) return page;
    this.#concurrency.at('iova:afterTree');
    this.flushCaches();
    return this.#fromTree(size, limitPage);
  }

  /** Takes a range back; `pages` as it was allocated. The processor may give it out again at once. */
  free(page: number, pages: number, context: Context): void {
    if (pages <= CACHED_PAGES_MAX) this.cache.put(page, pages, context);
    else this.freeNow(page);
  }

  /** Takes back the range that holds `page`, past the caches; nothing happens if there is none. */
  freeNow(page: number): void {
    this.#lock.acquire();
    try {
      this.tree.free(page);
    } finally {
      this.#lock.release();
    }
  }

  /** Takes pages out for good. They may overlap other reservations; ranges in use stay what they are. */
  reserve(firstPage: number, lastPage: number): void {
    this.#lock.acquire();
    try {
      this.tree.reserve(firstPage, lastPage);
    } finally {
      this.#lock.release();
    }
  }

  /** True if some of the pages are given out, or lie in a cache; reservations do not count. */
  usedWithin(firstPage: number, lastPage: number): boolean {
    this.#lock.acquire();
    try {
      return this.tree.usedWithin(firstPage, lastPage);
    } finally {
      this.#lock.release();
    }
  }

  /** Gives what lies in the caches of all processors back to the tree. */
  flushCaches(): void {
    this.cache.flush();
  }

  /** The processor has gone away: gives what lies in its cache back to the tree. */
  cpuGone(cpu: number): void {
    this.cache.flushCpu(cpu);
  }

  /** Stops the timer of the caches. The space is not to be used any more. */
  stop(): void {
    this.cache.stop();
  }

  #fromTree(pages: number, limitPage: number): number {
    this.#lock.acquire();
    try {
      return this.tree.allocate(pages, limitPage, true);
    } finally {
      this.#lock.release();
    }
  }
}
