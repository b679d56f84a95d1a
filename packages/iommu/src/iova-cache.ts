/**
 * Ranges that were freed and will soon be wanted again, kept by each processor for itself.
 *
 * There are six sizes, 1 to 32 pages. For each, a processor has two stacks of ranges, *magazines*, and all processors
 * share a *depot* of full ones. Two magazines, so that a processor at the border of one does not go to the depot again
 * and again.
 */

import { type Context, type Lock, LockRank, assert } from '@viommu/common';
import { Depot, type IovaCacheOptions, Magazine } from './iova-depot.ts';

/** Ranges of more pages do not pass through the caches. */
export const CACHED_PAGES_MAX = 32;

const CLASSES = 6;

/** The caches of all processors, and the depots. */
export class IovaCache {
  readonly #cpus: readonly CpuCache[];
  readonly #depots: readonly Depot[];
  readonly #options: IovaCacheOptions;

  constructor(options: IovaCacheOptions) {
    const { concurrency, cpus } = options;
    this.#options = options;
    this.#cpus = Array.from(
      { length: cpus },
      (_, cpu) => new CpuCache(concurrency.lock(`iova cache ${cpu}`, LockRank.cpuCache)),
    );
    this.#depots = Array.from({ length: CLASSES }, (_, index) => new Depot(options, index));
  }

  /** The class, 0..5, of ranges of 1..{@link CACHED_PAGES_MAX} pages. */
  static classOf(pages: number): number {
    return 32 - Math.clz32(pages - 1);
  }

  /** Pages in a range of the class. */
  static sizeOfClass(index: number): number {
    return 1 << index;
  }

  /** Takes a range of `size` pages that ends at or below `limitPage`. Returns its first page; 0: there is none. */
  take(size: number, limitPage: number, { cpu }: Context): number {
    const index = IovaCache.classOf(size);
    const cache = this.#cpu(cpu);
    cache.lock.acquire();
    try {
      const pair = cache.pairs[index]!; // There is one for each class.
      if (pair.loaded.length === 0) {
        if (pair.previous.length > 0) pair.swap();
        else {
          const full = this.#depots[index]!.exchange(pair.loaded); // The same.
          if (full === undefined) return 0;
          pair.loaded = full;
        }
      }
      return pair.loaded.take(limitPage + 1 - size);
    } finally {
      cache.lock.release();
    }
  }

  /** Keeps a range that was freed. `pages` as it was asked for, before it was rounded up. */
  put(page: number, pages: number, { cpu }: Context): void {
    const index = IovaCache.classOf(pages);
    const cache = this.#cpu(cpu);
    cache.lock.acquire();
    try {
      const pair = cache.pairs[index]!; // There is one for each class.
      if (pair.loaded.full) {
        if (pair.previous.full) pair.loaded = this.#depots[index]!.push(pair.loaded); // The same.
        else pair.swap();
      }
      pair.loaded.put(page);
    } finally {
      cache.lock.release();
    }
  }

  /** Gives everything back to the tree. */
  flush(): void {
    for (let cpu = 0; cpu < this.#cpus.length; cpu += 1) this.flushCpu(cpu);
    for (const depot of this.#depots) depot.flush();
  }

  /** Gives back what one processor keeps. */
  flushCpu(cpu: number): void {
    const { tree, treeLock } = this.#options;
    const cache = this.#cpu(cpu);
    cache.lock.acquire();
    try {
      treeLock.acquire();
      try {
        for (const { loaded, previous } of cache.pairs) {
          loaded.flush(tree);
          previous.flush(tree);
        }
      } finally {
        treeLock.release();
      }
    } finally {
      cache.lock.release();
    }
  }

  /** Full magazines in the depot of a class. */
  depotLength(index: number): number {
    return this.#depots[index]?.length ?? 0;
  }

  /** Stops the timers. */
  stop(): void {
    for (const depot of this.#depots) depot.stop();
  }

  #cpu(cpu: number): CpuCache {
    const cache = this.#cpus[cpu];
    assert(cache !== undefined, `there is no processor ${cpu}`);
    return cache;
  }
}

/** What one processor keeps. */
class CpuCache {
  readonly lock: Lock;
  /** By class. */
  readonly pairs: readonly Pair[] = Array.from({ length: CLASSES }, () => new Pair());

  constructor(lock: Lock) {
    this.lock = lock;
  }
}

class Pair {
  loaded = new Magazine();
  previous = new Magazine();

  swap(): void {
    const { loaded } = this;
    this.loaded = this.previous;
    this.previous = loaded;
  }
}
