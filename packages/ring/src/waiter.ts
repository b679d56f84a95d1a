/**
 * How one side waits for the other: poll for a bounded number of looks, then say that a notification is wanted, look
 * once more, and sleep with a time limit.
 *
 * A look costs some 10 ns, a sleep some 20 to 50 µs, so polling pays while the other side is busy with our work; on a
 * machine that lacks a free processor it only delays the other side. The number of looks therefore halves with every
 * poll that fails, down to none, doubles with the first that succeeds after that, is twice what any success needed at
 * the least, and now and then a full poll finds out again.
 *
 * A wait may end before its time with nothing to do: the bell also rings for others, late, or twice, and the other side
 * may notify more often than it was asked to. So whoever waits looks for work after every wait, and decides by its own
 * clock when to give up.
 */

import type { Bell } from './bell.ts';

/** What a side waits for. */
export interface Waitable {
  /** True if there is something to do; one load. */
  ready(): boolean;
  /** Asks the other side for a notification. False if there is something to do after all. */
  armNotification(): boolean;
  /** Tells the other side that notifications are not needed. */
  suppressNotification(): void;
}

/** Looks before the first sleep: some 40 µs, about what a sleep and a wake-up cost. */
const POLLS_MAX = 4000;
/** Looks that are always worth it once polling succeeds at all. */
const POLLS_MIN = 200;
/** Failing polls are tried again at full length once in so many waits. */
const RETRY_PERIOD = 16;

// Node 24 and later: tells the processor that this is a polling loop, which frees a sibling thread.
const { pause } = Atomics as { pause?: (this: void) => void }; // Newer than the language level.

export interface WaiterOptions {
  /** The bell the other side rings when it notifies. */
  readonly bell: Bell;
  /** The largest number of looks before a sleep; 0 sleeps at once. */
  readonly pollsMax?: number;
}

/** Waits for one other side. */
export class Waiter {
  readonly #bell: Bell;
  readonly #pollsMax: number;
  #polls: number;
  #failures = 0;
  /** How often a wait went to sleep. */
  sleeps = 0;

  constructor({ bell, pollsMax = POLLS_MAX }: WaiterOptions) {
    this.#bell = bell;
    this.#pollsMax = pollsMax;
    this.#polls = pollsMax;
  }

  /**
   * Polls only. True as soon as `target` is ready, false when the looks are used up; one look there always is.
   */
  poll(target: Waitable): boolean {
    const retry = this.#failures > 0 && this.#failures % RETRY_PERIOD === 0;
    const limit = retry ? this.#pollsMax : this.#polls;
    for (let looks = 0; looks <= limit; looks += 1) {
      if (target.ready()) {
        if (this.#failures > 0) this.#grow(2 * Math.max(looks, this.#polls));
        else if (2 * looks > this.#polls) this.#grow(2 * looks);
        return true;
      }
      if (pause !== undefined && (looks & 15) === 15) pause();
    }
    this.#failures += 1;
    this.#polls >>>= 1;
    return false;
  }

  #grow(polls: number): void {
    this.#failures = 0;
    this.#polls = Math.min(this.#pollsMax, Math.max(POLLS_MIN, polls));
  }

  /**
   * Waits until `target` is ready, sleeping for at most `timeoutMs` once polling has failed. False if it is not,
   * whether or not the time is over: callers loop.
   */
  wait(target: Waitable, timeoutMs: number): boolean {
    return this.poll(target) || this.sleep(target, timeoutMs);
  }

  /**
   * Sleeps once, until the bell rings or `timeoutMs` are over. True if `target` is ready then; false says nothing about
   * the time that has passed.
   */
  sleep(target: Waitable, timeoutMs: number): boolean {
    const seen = this.#bell.value();
    if (target.armNotification()) {
      this.sleeps += 1;
      this.#bell.wait(seen, timeoutMs);
    }
    target.suppressNotification();
    return target.ready();
  }
}
