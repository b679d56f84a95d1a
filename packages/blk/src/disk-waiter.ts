/** How the driver of a disk waits for one of several queues. */

import type { Clock } from '@viommu/common';
import { type Bell, type Patience, type Waitable, Waiter } from '@viommu/ring';
import type { DiskQueue } from './disk-queue.ts';

/** All queues of a disk as one thing to wait for. */
class AnyQueue implements Waitable {
  queues: readonly DiskQueue[] = [];
  /** The bell's value when the interrupts were looked at last. */
  acknowledged: number;
  readonly #bell: Bell;

  constructor(bell: Bell) {
    this.#bell = bell;
    this.acknowledged = bell.value();
  }

  ready(): boolean {
    const { queues } = this;
    for (let index = 0; index < queues.length; index += 1)
      if (queues[index]!.ring.ready()) return true; // Below the length.
    return false;
  }

  /** An interrupt that nobody has looked at may be about more than rings, and keeps the driver from sleeping. */
  armNotification(): boolean {
    let asleep = this.#bell.value() === this.acknowledged;
    for (const { ring } of this.queues) asleep = ring.armNotification() && asleep;
    return asleep;
  }

  suppressNotification(): void {
    for (const { ring } of this.queues) ring.suppressNotification();
  }
}

/** Polls, then sleeps on the bell of the disk's interrupts; or lets a device in the same thread work. */
export class DiskWaiter {
  readonly #bell: Bell;
  readonly #waiter: Waiter;
  readonly #clock: Clock;
  readonly #idle: (() => void) | undefined;
  readonly #any: AnyQueue;

  constructor(
    bell: Bell,
    clock: Clock,
    pollsMax: number | Patience | undefined,
    idle?: () => void,
  ) {
    this.#bell = bell;
    this.#waiter = new Waiter(pollsMax === undefined ? { bell } : { bell, pollsMax });
    this.#clock = clock;
    this.#idle = idle;
    this.#any = new AnyQueue(bell);
  }

  /** Waits that went to sleep. */
  get sleeps(): number {
    return this.#waiter.sleeps;
  }

  /** True if one of `queues` has something; a load for each. */
  ready(queues: readonly DiskQueue[]): boolean {
    this.#any.queues = queues;
    return this.#any.ready();
  }

  /** Looks for a short while. True if one of `queues` has something; false at once if looking has not paid lately. */
  poll(queues: readonly DiskQueue[]): boolean {
    this.#any.queues = queues;
    return this.#idle === undefined ? this.#waiter.poll(this.#any) : this.#any.ready();
  }

  /**
   * Waits until one of `queues` has something, for at most `timeoutMs`. `acknowledge` looks at the interrupts, whenever
   * nothing was found; if it returns false there is nothing to wait for. False if nothing is there.
   */
  wait(queues: readonly DiskQueue[], timeoutMs: number, acknowledge: () => boolean): boolean {
    const any = this.#any;
    any.queues = queues;
    const since = this.#clock.now();
    let leftMs = timeoutMs;
    do {
      if (this.#look(any, leftMs)) return true;
      // Before the look at the interrupts: one that comes later has another value.
      any.acknowledged = this.#bell.value();
      if (!acknowledge()) return false;
      leftMs = timeoutMs - (this.#clock.now() - since);
    } while (leftMs > 0);
    return any.ready();
  }

  #look(any: AnyQueue, leftMs: number): boolean {
    if (this.#idle === undefined) return this.#waiter.wait(any, leftMs);
    this.#idle();
    return any.ready();
  }
}
