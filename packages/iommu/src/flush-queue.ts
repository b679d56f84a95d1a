/**
 * Addresses that were unmapped and wait for a flush: lazy mode.
 *
 * One wait for the device then serves many unmaps. Until it is over the device may still reach what lay there, so that
 * an address is only given out again after a flush that *started* after it was unmapped has finished.
 */

import {
  type Concurrency,
  type Context,
  IommuError,
  type Lock,
  LockRank,
  type Timer,
  type TimerClock,
  assert,
} from '@viommu/common';
import type { IovaSpace } from './iova-space.ts';
import type { CoreLog } from './log.ts';

/** One queue for each processor, or one for all: the latter where flushes are dear. */
export type FlushQueueMode = 'percpu' | 'single';

/** Entries that fit a ring (and one), a power of two, and how long an address waits at most, for each mode. */
export const FLUSH_QUEUE_DEFAULTS: Readonly<
  Record<FlushQueueMode, { readonly size: number; readonly timeoutMs: number }>
> = {
  percpu: { size: 256, timeoutMs: 10 },
  single: { size: 32_768, timeoutMs: 1000 },
};

/** What a flush queue is made of. */
export interface FlushQueueOptions {
  /** Where the addresses go back to. */
  readonly space: IovaSpace;
  /** Ends the reachability of everything unmapped so far. @throws {IommuError} if the device failed. */
  readonly flush: () => void;
  /** True if the unmap of some of these pages failed: they are never given out again. */
  readonly isStuck: (page: number, pages: number) => boolean;
  readonly clock: TimerClock;
  readonly concurrency: Concurrency;
  readonly cpus: number;
  readonly mode: FlushQueueMode;
  /** A power of two from 2 on; a ring holds one entry less. {@link FLUSH_QUEUE_DEFAULTS} if absent. */
  readonly size?: number;
  readonly timeoutMs?: number;
  readonly log: CoreLog;
}

/** The queues of one domain. */
export class FlushQueue {
  readonly mode: FlushQueueMode;
  readonly size: number;
  readonly timeoutMs: number;
  readonly #options: FlushQueueOptions;
  readonly #rings: readonly Ring[];
  /** Numbers of flushes, modulo 2^32: the last that began, and the last of those that ended well. */
  #started = 0;
  #finished = 0;
  #timer: Timer | undefined = undefined;
  readonly #onTimer: () => void;

  /** @throws {IommuError} `EINVAL` if the size is no power of two, or the time is not positive. */
  constructor(options: FlushQueueOptions) {
    const { mode, concurrency, cpus } = options;
    this.mode = mode;
    this.size = options.size ?? FLUSH_QUEUE_DEFAULTS[mode].size;
    this.timeoutMs = options.timeoutMs ?? FLUSH_QUEUE_DEFAULTS[mode].timeoutMs;
    if (!(this.size >= 2 && this.size <= SIZE_MAX && Number.isInteger(Math.log2(this.size))))
      throw new IommuError('EINVAL', `A flush queue of ${this.size} entries is no power of two.`);
    if (!(this.timeoutMs > 0))
      throw new IommuError('EINVAL', `A flush queue cannot wait ${this.timeoutMs} ms.`);
    this.#options = options;
    this.#rings = Array.from(
      { length: mode === 'single' ? 1 : cpus },
      (_, cpu) =>
        new Ring(this.size, { cpu }, concurrency.lock(`flush queue ${cpu}`, LockRank.flushQueue)),
    );
    this.#onTimer = () => concurrency.run(() => this.#timeUp());
  }

  /** Flushes that began since the domain has been lazy. */
  get flushesStarted(): number {
    return this.#started >>> 0;
  }

  /** The number of the last flush, counted from 1, that ended well; never above {@link flushesStarted}. */
  get flushesFinished(): number {
    return this.#finished >>> 0;
  }

  /** Addresses that wait. */
  get parkedRanges(): number {
    return this.#rings.reduce((sum, ring) => sum + ring.length, 0);
  }

  /**
   * Parks a range whose unmap has been handed to the IOMMU; it goes back to the space after a flush.
   *
   * A full ring is flushed first. If that fails, its oldest entry is given up for good: it may still be reachable.
   */
  queue(page: number, pages: number, context: Context): void {
    const ring = this.#ringOf(context);
    let lossy = false;
    // Once more if others fill the ring meanwhile. They can, since a flush does without the ring's lock: the device may
    // take its time.
    while (!this.#tryQueue(ring, page, pages, lossy)) lossy = !this.#flush();
    const { concurrency, clock } = this.#options;
    concurrency.at('fq:queued');
    this.#timer ??= clock.setTimer(this.timeoutMs, this.#onTimer);
  }

  /** Flushes, and gives back everything that waits. False if the flush failed, and they go on waiting. */
  drain(): boolean {
    this.#stopTimer();
    const flushed = this.#flush();
    for (const ring of this.#rings) this.#freeRipe(ring);
    if (this.parkedRanges > 0)
      this.#timer ??= this.#options.clock.setTimer(this.timeoutMs, this.#onTimer);
    return flushed;
  }

  /** The domain ends, and with it the whole space: nothing waits any more, and nothing is given back. */
  stop(): void {
    this.#stopTimer();
    for (const ring of this.#rings) ring.clear();
  }

  #ringOf({ cpu }: Context): Ring {
    const ring = this.#rings[this.mode === 'single' ? 0 : cpu];
    assert(ring !== undefined, `there is no processor ${cpu}`);
    return ring;
  }

  /** False if the ring is full; if `lossy`, its oldest entry makes room then. */
  #tryQueue(ring: Ring, page: number, pages: number, lossy: boolean): boolean {
    ring.lock.acquire();
    try {
      this.#freeRipeLocked(ring);
      if (ring.full) {
        if (!lossy) return false;
        ring.drop();
        this.#options.log.count('iovaLeaked');
      }
      ring.append(page, pages, this.#started);
      return true;
    } finally {
      ring.lock.release();
    }
  }

  #freeRipe(ring: Ring): void {
    ring.lock.acquire();
    try {
      this.#freeRipeLocked(ring);
    } finally {
      ring.lock.release();
    }
  }

  #freeRipeLocked(ring: Ring): void {
    const { space, isStuck, log } = this.#options;
    while (ring.isRipe(this.#finished)) {
      const page = ring.oldestPage;
      const pages = ring.oldestPages;
      if (isStuck(page, pages)) log.count('iovaLeaked');
      else space.free(page, pages, ring.context);
      ring.drop();
    }
  }

  /** False if the device failed: nothing has become ripe then. */
  #flush(): boolean {
    const { concurrency, flush, log } = this.#options;
    this.#started = (this.#started + 1) | 0;
    const number = this.#started;
    concurrency.at('fq:flushing');
    try {
      flush();
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      log.warn('flushFailed', `addresses stay parked: ${error.message}`);
      return false;
    }
    // Another flush, begun later, may have ended sooner.
    if (isBefore(this.#finished, number)) this.#finished = number;
    return true;
  }

  #timeUp(): void {
    this.#timer = undefined;
    this.#flush();
    for (const ring of this.#rings) this.#freeRipe(ring);
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

const SIZE_MAX = 1 << 20;

/** Compares numbers of flushes, of which fewer than 2^31 lie between two that are alive. */
function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** Ranges in the order in which they came. One place stays empty, which tells full from empty. */
class Ring {
  readonly lock: Lock;
  /** Whose cache the ranges go back to. */
  readonly context: Context;
  readonly #page: Float64Array;
  readonly #pages: Float64Array;
  /** The last flush that had begun when the range came. */
  readonly #flush: Int32Array;
  readonly #mask: number;
  #head = 0;
  #tail = 0;

  constructor(size: number, context: Context, lock: Lock) {
    this.lock = lock;
    this.context = context;
    this.#mask = size - 1;
    this.#page = new Float64Array(size);
    this.#pages = new Float64Array(size);
    this.#flush = new Int32Array(size);
  }

  get length(): number {
    return (this.#tail - this.#head) & this.#mask;
  }

  get full(): boolean {
    return this.length === this.#mask;
  }

  get oldestPage(): number {
    return this.#page[this.#head]!; // The head stays within the ring.
  }

  get oldestPages(): number {
    return this.#pages[this.#head]!; // The same.
  }

  /** True if there is an oldest entry, and it came before flush number `finished` began. */
  isRipe(finished: number): boolean {
    return this.#head !== this.#tail && isBefore(this.#flush[this.#head]!, finished); // The same.
  }

  append(page: number, pages: number, flush: number): void {
    this.#page[this.#tail] = page;
    this.#pages[this.#tail] = pages;
    this.#flush[this.#tail] = flush;
    this.#tail = (this.#tail + 1) & this.#mask;
  }

  drop(): void {
    this.#head = (this.#head + 1) & this.#mask;
  }

  clear(): void {
    this.#head = this.#tail;
  }
}
