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
import { Patience } from './patience.ts';

/** What a side waits for. */
export interface Waitable {
  /** True if there is something to do; one load. */
  ready(): boolean;
  /** Asks the other side for a notification. False if there is something to do after all. */
  armNotification(): boolean;
  /** Tells the other side that notifications are not needed. */
  suppressNotification(): void;
}

// Node 24 and later: tells the processor that this is a polling loop, which frees a sibling thread.
const { pause } = Atomics as { pause?: (this: void) => void }; // Newer than the language level.

export interface WaiterOptions {
  /** The bell the other side rings when it notifies. */
  readonly bell: Bell;
  /** The most looks before a sleep, 0 for none; or what others have learnt who wait for the same thread. */
  readonly pollsMax?: number | Patience;
}

/** Waits for one other side. */
export class Waiter {
  readonly #bell: Bell;
  readonly #patience: Patience;
  /** How often a wait went to sleep. */
  sleeps = 0;

  constructor({ bell, pollsMax }: WaiterOptions) {
    this.#bell = bell;
    this.#patience =
      pollsMax instanceof Patience
        ? pollsMax
        : new Patience(pollsMax === undefined ? {} : { pollsMax });
  }

  /**
   * Polls only. True as soon as `target` is ready, false when the looks are used up; one look there always is.
   */
  poll(target: Waitable): boolean {
    const limit = this.#patience.begin();
    for (let looks = 0; looks <= limit; looks += 1) {
      if (target.ready()) {
        if (limit > 0) this.#patience.succeed(looks);
        return true;
      }
      if (pause !== undefined && (looks & 15) === 15) pause();
    }
    if (limit > 0) this.#patience.fail();
    return false;
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
