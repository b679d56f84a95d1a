/**
 * Whose turn it is: guests of several machines wait asleep until they are told to work for a while, one at a time, and
 * report when they are done.
 */

/** What a guest is told to do. */
export const WorkloadTask = {
  /** Writes every block. */
  FILL: 1,
  /** Does its workload for so many milliseconds, and some before that do not count. */
  WINDOW: 2,
  /** Reads every block. */
  VERIFY: 3,
  END: 4,
} as const;

export type WorkloadTask = (typeof WorkloadTask)[keyof typeof WorkloadTask];

/** Words of each guest: a number that changes with each order, the task, and its milliseconds; a cache line in all. */
const WORDS = 16;
const NUMBER = 0;
const TASK = 1;
const WINDOW_MS = 2;
const LOOK_MS = 500;

/** The words of all guests. */
export class WorkloadGate {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** Guest: the order that was taken last. */
  #seen = 0;

  /** Takes over a buffer, or makes one for `guests` guests. */
  constructor(from: SharedArrayBuffer | number) {
    this.buffer = typeof from === 'number' ? new SharedArrayBuffer(from * WORDS * 4) : from;
    this.#words = new Int32Array(this.buffer);
  }

  /** Tells a guest what to do, once it has reported the end of what it did before. */
  order(place: number, task: WorkloadTask, windowMs = 0): void {
    const at = place * WORDS;
    Atomics.store(this.#words, at + TASK, task);
    Atomics.store(this.#words, at + WINDOW_MS, windowMs);
    // Last: a guest that sees it sees the rest.
    Atomics.add(this.#words, at + NUMBER, 1);
    Atomics.notify(this.#words, at + NUMBER);
  }

  /** Guest: waits for the next order. `END` also once `stopped` says so. */
  next(place: number, stopped: () => boolean): WorkloadTask {
    const at = place * WORDS;
    while (Atomics.load(this.#words, at + NUMBER) === this.#seen) {
      if (stopped()) return WorkloadTask.END;
      Atomics.wait(this.#words, at + NUMBER, this.#seen, LOOK_MS);
    }
    this.#seen = (this.#seen + 1) | 0;
    return Atomics.load(this.#words, at + TASK) as WorkloadTask; // What `order` stored.
  }

  /** Guest: for how long the task just taken is. */
  windowMs(place: number): number {
    return Atomics.load(this.#words, place * WORDS + WINDOW_MS);
  }
}
