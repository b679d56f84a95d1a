/**
 * How one side waits for the other: poll for a bounded number of looks, then say that a notification is wanted, look
 * once more, and sleep with a time limit.
 *
 * A look costs some 10 ns, a sleep 5 to 50 µs, so polling pays while the other side is busy with our work; on a machine
 * that lacks a free processor it only delays the other side. The number of looks therefore doubles with every poll that
 * succeeds and halves with every one that fails: polling goes on where it succeeds more often than not. Once it has
 * stopped, a full poll now and then finds out again, less and less often while it fails. That poll has to outlast the
 * wake-up of the other side, or two sides that sleep in turn would never get out of it.
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

/** Looks before the first sleep: some 100 µs, twice what it takes to wake the other side. */
const POLLS_MAX = 10_000;
/** Shorter polls are not worth it. */
const POLLS_MIN = 200;
/** Waits without polling before the first full poll, and at most. */
const RETRY_PERIOD_MIN = 16;
const RETRY_PERIOD_MAX = 1024;

// Node 24 and later: tells the processor that this is a polling loop, which frees a sibling thread.
const { pause } = Atomics as { pause?: (this: void) => void }; // Newer than the language level.

export interface WaiterOptions {
  /** The bell the other side rings when it notifies. */
  readonly bell: Bell;
  /** The largest number of looks before a sleep; 0 sleeps at once. */
  readonly pollsMax?: number;
  /**
   * Looks of the poll that finds out now and then whether polling pays again; `pollsMax` if absent.
   *
   * Two threads that wake each other tend to end up on one processor, and stay there as long as one of them sleeps
   * whenever the other runs. Only if both want to run for longer than a turn of the scheduler, some milliseconds, does it
   * move one of them to a processor that is free. So many looks help two threads that are alone, and cost three.
   */
  readonly retryPolls?: number;
}

/** Waits for one other side. */
export class Waiter {
  readonly #bell: Bell;
  readonly #pollsMax: number;
  readonly #retryPolls: number;
  /** Looks in the next poll; 0 while polling does not pay. */
  #polls: number;
  /** Waits between two full polls while it does not, and how many are left. */
  #retryPeriod = RETRY_PERIOD_MIN;
  #untilRetry = RETRY_PERIOD_MIN;
  /** How often a wait went to sleep. */
  sleeps = 0;

  constructor({ bell, pollsMax = POLLS_MAX, retryPolls = pollsMax }: WaiterOptions) {
    this.#bell = bell;
    this.#pollsMax = pollsMax;
    this.#retryPolls = retryPolls;
    this.#polls = pollsMax;
  }

  /**
   * Polls only. True as soon as `target` is ready, false when the looks are used up; one look there always is.
   */
  poll(target: Waitable): boolean {
    let limit = this.#polls;
    if (limit === 0) {
      this.#untilRetry -= 1;
      if (this.#untilRetry === 0) limit = this.#retryPolls;
    }
    for (let looks = 0; looks <= limit; looks += 1) {
      if (target.ready()) {
        if (limit > 0 && this.#polls < this.#pollsMax) this.#succeed(looks);
        return true;
      }
      if (pause !== undefined && (looks & 15) === 15) pause();
    }
    if (limit > 0) this.#fail();
    return false;
  }

  #succeed(looks: number): void {
    // So late that a sleep would have been better; but the next poll may find the other side on a processor of its own.
    if (looks > this.#pollsMax) return this.#fail();
    this.#polls = Math.min(this.#pollsMax, 2 * Math.max(this.#polls, looks, POLLS_MIN));
    this.#retryPeriod = RETRY_PERIOD_MIN;
  }

  #fail(): void {
    const polls = this.#polls >>> 1;
    if (this.#polls === 0) this.#retryPeriod = Math.min(2 * this.#retryPeriod, RETRY_PERIOD_MAX);
    this.#polls = polls < POLLS_MIN ? 0 : polls;
    if (this.#polls === 0) this.#untilRetry = this.#retryPeriod;
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
   * the time that has passed. `seen` is the value of the bell when what it stands for was looked at last.
   */
  sleep(target: Waitable, timeoutMs: number, seen: number = this.#bell.value()): boolean {
    if (target.armNotification()) {
      this.sleeps += 1;
      this.#bell.wait(seen, timeoutMs);
    }
    target.suppressNotification();
    return target.ready();
  }
}
