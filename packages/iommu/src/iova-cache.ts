/**
 * Ranges that were freed and will soon be wanted again, kept by each processor for itself.
 *
 * There are six sizes, 1 to 32 pages. For each, a processor has two stacks of ranges, *magazines*, and all processors
 * share a *depot* of full ones. Two magazines, so that a processor at the border of one does not go to the depot again
 * and again.
 */

import {
  type Concurrency,
  type Context,
  type Lock,
  LockRank,
  type Timer,
  type TimerClock,
  assert,
} from '@viommu/common';
import type { IovaTree } from './iova-tree.ts';

/** Ranges of more pages do not pass through the caches. */
export const CACHED_PAGES_MAX = 32;
/** Ranges that one magazine holds. */
export const MAGAZINE_SIZE = 127;
/** How often a depot gives up a magazine that is too many. */
export const DEPOT_TRIM_MS = 100;

const CLASSES = 6;

/** What the caches of a space are made of. */
export interface IovaCacheOptions {
  readonly concurrency: Concurrency;
  readonly clock: TimerClock;
  readonly cpus: number;
  /** Where the ranges go when nobody wants them. */
  readonly tree: IovaTree;
  readonly treeLock: Lock;
}

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

/** A stack of first pages. */
class Magazine {
  length = 0;
  readonly #pages = new Float64Array(MAGAZINE_SIZE);

  get full(): boolean {
    return this.length === MAGAZINE_SIZE;
  }

  put(page: number): void {
    this.#pages[this.length] = page;
    this.length += 1;
  }

  /** Takes the topmost page that is not above `limit`; 0 if there is none. */
  take(limit: number): number {
    for (let at = this.length - 1; at >= 0; at -= 1) {
      const page = this.#pages[at]!; // Below the length.
      if (page > limit) continue;
      this.length -= 1;
      this.#pages[at] = this.#pages[this.length]!; // The same.
      return page;
    }
    return 0;
  }

  flush(tree: IovaTree): void {
    for (let at = 0; at < this.length; at += 1) tree.free(this.#pages[at]!); // The same.
    this.length = 0;
  }
}

/** Full magazines of one class, which any processor may take. */
class Depot {
  readonly #full: Magazine[] = [];
  /** Empty ones, for the next exchange. */
  readonly #empty: Magazine[] = [];
  readonly #lock: Lock;
  readonly #options: IovaCacheOptions;
  #timer: Timer | undefined = undefined;
  readonly #onTimer: () => void;

  constructor(options: IovaCacheOptions, index: number) {
    const { concurrency } = options;
    this.#options = options;
    this.#lock = concurrency.lock(`iova depot ${index}`, LockRank.depot);
    this.#onTimer = () => concurrency.run(() => this.#trim());
  }

  get length(): number {
    return this.#full.length;
  }

  /** Takes a full magazine, and an empty one for it; `undefined`, and nothing changed, if there is none. */
  exchange(empty: Magazine): Magazine | undefined {
    this.#lock.acquire();
    try {
      const full = this.#full.pop();
      if (full !== undefined) this.#empty.push(empty);
      return full;
    } finally {
      this.#lock.release();
    }
  }

  /** Takes a full magazine in, and gives an empty one for it. */
  push(full: Magazine): Magazine {
    this.#lock.acquire();
    try {
      this.#full.push(full);
      this.#timer ??= this.#options.clock.setTimer(DEPOT_TRIM_MS, this.#onTimer);
      return this.#empty.pop() ?? new Magazine();
    } finally {
      this.#lock.release();
    }
  }

  flush(): void {
    this.#free(0, Infinity);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** One magazine at a time, so that nobody waits long, and a burst finds most of them still there. */
  #trim(): void {
    const freed = this.#free(this.#options.cpus, 1);
    this.#timer = freed ? this.#options.clock.setTimer(DEPOT_TRIM_MS, this.#onTimer) : undefined;
  }

  /** Gives up to `count` magazines back to the tree, as long as there are more than `keep`. */
  #free(keep: number, count: number): boolean {
    const { tree, treeLock } = this.#options;
    this.#lock.acquire();
    try {
      treeLock.acquire();
      try {
        let freed = 0;
        while (this.#full.length > keep && freed < count) {
          const magazine = this.#full.pop()!; // There is one.
          magazine.flush(tree);
          // Those that a burst needed may go; enough are kept for one exchange by every processor.
          if (this.#empty.length < this.#options.cpus) this.#empty.push(magazine);
          freed += 1;
        }
        return freed > 0;
      } finally {
        treeLock.release();
      }
    } finally {
      this.#lock.release();
    }
  }
}
