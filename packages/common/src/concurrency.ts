/**
 * Locks and race points of a guest.
 *
 * A guest is one thread and its calls are synchronous, so that two of its contexts meet only where a test lets them: at
 * a *race point*, a named place at which the code calls `at`. There another context may run. If it needs a lock that is
 * held, it is *parked*: what it did so far is unwound, and it starts again when the lock is released, in the order of
 * arrival. For this a function must take its locks before it changes anything, or undo what it changed when an
 * exception passes through. Without a hook none of this happens, and a lock costs two stores.
 */

import { IommuError, assert } from './error.ts';

/** Who does the work: a thread of the guest on one of its processors. */
export interface Context {
  /** The number of the processor, from 0. */
  readonly cpu: number;
}

/** The locks in the order in which they may be taken, outermost first. Those from `cpuCache` on are leaves. */
export const LockRank = {
  probe: 1,
  membership: 2,
  group: 3,
  finalise: 4,
  flushQueue: 5,
  domain: 6,
  requests: 7,
  cpuCache: 8,
  depot: 9,
  iovaTree: 10,
} as const;

/** A place in {@link LockRank}. */
export type LockRank = (typeof LockRank)[keyof typeof LockRank];

/** Thrown through a context that met a held lock, and caught by {@link Concurrency.run} alone. */
class Parked extends Error {
  override readonly name = 'Parked';
  readonly lock: Lock;

  constructor(lock: Lock) {
    super(`waits for ${lock.name}`);
    this.lock = lock;
  }
}

/** The locks of one guest, who holds them, and what happens at its race points. */
export class Concurrency {
  /** Called at every race point with its name; absent in production. It starts other contexts with {@link run}. */
  hook: ((point: string) => void) | undefined = undefined;
  /** How often a context had to wait for a lock. */
  parked = 0;
  /**
   * The lock that the context which runs now took last; each knows the one taken before it. Ranks ascend, so that the
   * last says all about the order. Contexts nest, and so do these lists.
   */
  #last: Lock | undefined = undefined;

  /** True for what unwinds a context that has to wait: it passes through every `catch`, and is never logged. */
  static unwinds(error: unknown): boolean {
    return error instanceof Parked;
  }

  /** Makes a lock. */
  lock(name: string, rank: LockRank): Lock {
    return new Lock(this, name, rank);
  }

  /** A race point. */
  at(point: string): void {
    if (this.hook !== undefined) this.#visit(point);
  }

  /**
   * Runs `operation` to its end as another context, now, or when the locks it needs are free.
   *
   * Errors of an operation that was parked come out of the release that let it go on.
   */
  run(operation: () => void): void {
    const outer = this.#last;
    this.#last = undefined;
    try {
      operation();
    } catch (error) {
      if (!(error instanceof Parked)) throw error;
      assert(this.#last === undefined, 'a parked context still holds a lock');
      this.parked += 1;
      error.lock.waiters.push(operation);
    } finally {
      this.#last = outer;
    }
  }

  /** For {@link Lock}: checks the order and enters the lock. */
  take(lock: Lock): void {
    const last = this.#last;
    if (last !== undefined && last.rank >= lock.rank) this.#checkOrder(last, lock);
    if (lock.held) throw new Parked(lock);
    lock.held = true;
    lock.before = last;
    this.#last = lock;
  }

  /** True if the context that runs now holds a lock of this rank or one further in. */
  holds(rank: LockRank): boolean {
    return this.#last !== undefined && this.#last.rank >= rank;
  }

  /** For {@link Lock}: removes the lock, and lets contexts go on that wait for it. */
  give(lock: Lock): void {
    lock.held = false;
    if (this.#last === lock) this.#last = lock.before;
    else {
      let after = this.#last;
      while (after !== undefined && after.before !== lock) after = after.before;
      assert(after !== undefined, `${lock.name} is released by a context that does not hold it`);
      after.before = lock.before;
    }
    lock.before = undefined;
    while (lock.waiters.length > 0 && !lock.held) this.run(lock.waiters.shift()!); // Not empty.
  }

  #checkOrder(last: Lock, lock: Lock): void {
    for (let held: Lock | undefined = last; held !== undefined; held = held.before)
      if (held === lock)
        throw new IommuError('EDEADLK', `${lock.name} is held by its own context.`);
    // Two domains are locked together in the order of their numbers, which is the caller's business.
    assert(
      last.rank === lock.rank && lock.rank === LockRank.domain,
      `${lock.name} is not taken under ${last.name}`,
    );
  }

  #visit(point: string): void {
    const { hook } = this;
    // A context that runs at a race point does not stop at further ones, unless its hook says so.
    this.hook = undefined;
    try {
      hook?.(point);
    } finally {
      this.hook ??= hook;
    }
  }
}

/** Keeps other contexts out of something. */
export class Lock {
  readonly name: string;
  readonly rank: LockRank;
  /** True while some context holds it. */
  held = false;
  /** The lock that its holder took before it. */
  before: Lock | undefined = undefined;
  /** Contexts that wait for it, in the order of arrival. */
  readonly waiters: (() => void)[] = [];
  readonly #concurrency: Concurrency;

  /** Use {@link Concurrency.lock}. */
  constructor(concurrency: Concurrency, name: string, rank: LockRank) {
    this.#concurrency = concurrency;
    this.name = name;
    this.rank = rank;
  }

  /** Takes the lock. @throws {IommuError} `EDEADLK` if the caller has it already. */
  acquire(): void {
    this.#concurrency.take(this);
  }

  /** Does some work with the lock held. @throws {IommuError} `EDEADLK` as {@link acquire} does. */
  hold<Result>(work: () => Result): Result {
    this.acquire();
    try {
      return work();
    } finally {
      this.release();
    }
  }

  /** Gives the lock back; contexts that wait for it run before this returns. */
  release(): void {
    this.#concurrency.give(this);
  }
}
