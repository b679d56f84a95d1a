/** What the processors' caches of addresses share: full magazines of ranges, for whoever runs out of them. */

import { type Concurrency, type Lock, LockRank, type Timer, type TimerClock } from '@viommu/common';
import type { IovaTree } from './iova-tree.ts';

const MAGAZINE_SIZE = 127;
/** How often a depot gives up a magazine that is too many. */
const TRIM_MS = 100;

/** What the caches of a space are made of. */
export interface IovaCacheOptions {
  readonly concurrency: Concurrency;
  readonly clock: TimerClock;
  readonly cpus: number;
  /** Where the ranges go when nobody wants them. */
  readonly tree: IovaTree;
  readonly treeLock: Lock;
}

/** Full magazines of one class, which any processor may take. */
export class Depot {
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
      this.#timer ??= this.#options.clock.setTimer(TRIM_MS, this.#onTimer);
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
    this.#timer = freed ? this.#options.clock.setTimer(TRIM_MS, this.#onTimer) : undefined;
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

/** A stack of first pages. */
export class Magazine {
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
