/** A clock that stands still until a test moves it. */

import type { Timer, TimerClock } from '@viommu/common';

/** Calls timers in the order of their times, each at its time. */
export class ManualClock implements TimerClock {
  #now = 0;
  readonly #due: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const entry = { at: this.#now + delayMs, callback };
    this.#due.push(entry);
    return { cancel: () => this.#forget(entry) };
  }

  /** Timers that have not been called. */
  get pending(): number {
    return this.#due.length;
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#due.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#forget(next);
      this.#now = next.at;
      next.callback();
    }
    this.#now = end;
  }

  #forget(entry: { at: number; callback: () => void }): void {
    const at = this.#due.indexOf(entry);
    if (at >= 0) this.#due.splice(at, 1);
  }
}
