/** How the driver waits for its device. */

import { type Bell, type Patience, type Waitable, Waiter } from '@viommu/ring';

/** The ways of waiting that a request queue uses. */
export interface DeviceWaiter {
  /** Looks for a bounded time. True if `target` is ready. */
  poll(target: Waitable): boolean;
  /** Asks for a notification, sleeps for at most `timeoutMs`, suppresses notifications. True if `target` is ready. */
  sleep(target: Waitable, timeoutMs: number): boolean;
  /** Asks for a notification and resolves when it comes, or after `timeoutMs`. Suppresses nothing. */
  doze(target: Waitable, timeoutMs: number): Promise<void>;
}

/** Polls, then sleeps on the bell of the device's interrupts: a device in another thread. */
export class BellWaiter extends Waiter implements DeviceWaiter {
  readonly #bell: Bell;
  /** The bell's value before interrupts were looked at last: who sleeps looks at them afterwards. */
  #seen: number;

  /** `pollsMax` as in `Waiter`. */
  constructor(bell: Bell, pollsMax?: number | Patience) {
    super(pollsMax === undefined ? { bell } : { bell, pollsMax });
    this.#bell = bell;
    this.#seen = bell.value();
  }

  /** An interrupt since the last sleep may be about more than the ring: then it does not sleep at all. */
  override sleep(target: Waitable, timeoutMs: number): boolean {
    return this.#news() ? target.ready() : super.sleep(target, timeoutMs, this.#seen);
  }

  async doze(target: Waitable, timeoutMs: number): Promise<void> {
    if (this.#news()) return;
    if (target.armNotification()) await this.#bell.waitAsync(this.#seen, timeoutMs);
  }

  #news(): boolean {
    const value = this.#bell.value();
    const news = value !== this.#seen;
    this.#seen = value;
    return news;
  }
}

/** Calls `idle` where others poll or sleep, so that a device in the same thread gets its turn. */
export class IdleWaiter implements DeviceWaiter {
  readonly #idle: () => void;

  constructor(idle: () => void) {
    this.#idle = idle;
  }

  poll(target: Waitable): boolean {
    this.#idle();
    return target.ready();
  }

  sleep(target: Waitable): boolean {
    return this.poll(target);
  }

  async doze(): Promise<void> {
    await Promise.resolve();
    this.#idle();
  }
}
