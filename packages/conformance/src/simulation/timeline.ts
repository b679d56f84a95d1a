/** Time, as a simulation has it: it passes only where somebody lets it. */

import type { Clock } from '@viommu/common';

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

export class Timeline implements Clock {
  #nowMs = 0;
  /** The next one first; of two at the same time, the older one. */
  readonly #due: Due[] = [];

  now(): number {
    return this.#nowMs;
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** Has something happen later. */
  after(delayMs: number, run: () => void): void {
    const due = { atMs: this.#nowMs + delayMs, run };
    const found = this.#due.findIndex(({ atMs }) => atMs > due.atMs);
    this.#due.splice(found < 0 ? this.#due.length : found, 0, due);
  }

  /** Lets the next thing happen that is due by `untilMs`, and time pass until then. False if there is none. */
  step(untilMs: number): boolean {
    const [due] = this.#due;
    if (due === undefined || due.atMs > untilMs) return false;
    this.#due.shift();
    this.#nowMs = Math.max(this.#nowMs, due.atMs);
    due.run();
    return true;
  }
}
