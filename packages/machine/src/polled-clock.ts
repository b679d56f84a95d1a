/** A clock for a guest that never returns to an event loop: due callbacks run when the guest says so. */

import type { Clock, Timer, TimerClock } from '@viommu/common';

/** One callback that is due at some time. */
class Due implements Timer {
  readonly at: number;
  readonly #callback: () => void;
  #cancelled = false;

  constructor(at: number, callback: () => void) {
    this.at = at;
    this.#callback = callback;
  }

  cancel(): void {
    this.#cancelled = true;
  }

  run(): void {
    if (!this.#cancelled) this.#callback();
  }
}

/** Calls back from {@link poll} alone, so never inside a call of somebody else. */
export class PolledClock implements TimerClock {
  readonly #clock: Clock;
  /** By their times, the next one first. There are few: a timer for each queue. */
  readonly #due: Due[] = [];
  #next = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const due = new Due(this.now() + delayMs, callback);
    const found = this.#due.findIndex(({ at }) => at > due.at);
    this.#due.splice(found < 0 ? this.#due.length : found, 0, due);
    this.#next = this.#due[0]?.at ?? Infinity;
    return due;
  }

  /** When the next callback is due; `Infinity` if none is. */
  get nextMs(): number {
    return this.#next;
  }

  /** Runs the callbacks that are due; those that they set in turn wait for the next call. */
  poll(): void {
    if (this.#next === Infinity) return;
    const now = this.now();
    if (this.#next > now) return;
    const last = this.#due.findLastIndex(({ at }) => at <= now);
    const ready = this.#due.splice(0, last + 1);
    this.#next = this.#due[0]?.at ?? Infinity;
    for (const due of ready) due.run();
  }
}
