/** How the driver waits for its device. */

import { type Bell, type Waitable, Waiter } from '@viommu/ring';

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

  /** `pollsMax` looks before a sleep; 0 sleeps at once. */
  constructor(bell: Bell, pollsMax?: number) {
    super(pollsMax === undefined ? { bell } : { bell, pollsMax });
    this.#bell = bell;
  }

  async doze(target: Waitable, timeoutMs: number): Promise<void> {
    // Read first: what is announced after the look below changes it.
    const seen = this.#bell.value();
    if (target.armNotification()) await this.#bell.waitAsync(seen, timeoutMs);
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
