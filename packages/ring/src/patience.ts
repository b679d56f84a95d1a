/** How many looks are worth it before a sleep: learnt from waits for one other thread, by all who wait for it. */

/** Looks before the first sleep: some 100 µs, twice what it takes to wake the other side. */
const POLLS_MAX = 10_000;
/** Shorter polls are not worth it. */
const POLLS_MIN = 200;
/** Waits without polling before the first full poll, and at most. */
const RETRY_PERIOD_MIN = 16;
const RETRY_PERIOD_MAX = 1024;

export interface PatienceOptions {
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

/** What is known about waiting for one other thread. */
export class Patience {
  readonly #pollsMax: number;
  readonly #retryPolls: number;
  /** Looks in the next poll; 0 while polling does not pay. */
  #polls: number;
  /** Waits between two retries while it does not, and how many are left. */
  #retryPeriod = RETRY_PERIOD_MIN;
  #untilRetry = RETRY_PERIOD_MIN;

  constructor({ pollsMax = POLLS_MAX, retryPolls = pollsMax }: PatienceOptions = {}) {
    this.#pollsMax = pollsMax;
    this.#retryPolls = retryPolls;
    this.#polls = pollsMax;
  }

  /** A poll begins: how many looks it may have; 0 is none but one. */
  begin(): number {
    if (this.#polls !== 0) return this.#polls;
    this.#untilRetry -= 1;
    return this.#untilRetry === 0 ? this.#retryPolls : 0;
  }

  /** A poll of more than no looks succeeded after `looks` of them. */
  succeed(looks: number): void {
    if (this.#polls === this.#pollsMax) return;
    // So late that a sleep would have been better; but the next poll may find the other side on a processor of its own.
    if (looks > this.#pollsMax) return this.fail();
    this.#polls = Math.min(this.#pollsMax, 2 * Math.max(this.#polls, looks, POLLS_MIN));
    this.#retryPeriod = RETRY_PERIOD_MIN;
  }

  /** Such a poll failed. */
  fail(): void {
    const polls = this.#polls >>> 1;
    if (this.#polls === 0) this.#retryPeriod = Math.min(2 * this.#retryPeriod, RETRY_PERIOD_MAX);
    this.#polls = polls < POLLS_MIN ? 0 : polls;
    if (this.#polls === 0) this.#untilRetry = this.#retryPeriod;
  }
}
