/** Used buffer notifications: those that are due, against those that come. */

import { IommuQueue } from '@viommu/common';
import type { DeviceTarget } from '../target.ts';
import { Deviation } from './deviation.ts';

/**
 * What a driver asked for: a notification of each used buffer, or of the next one, or of none. `unsure` is what it comes to
 * once an event index was passed.
 */
type Wish = 'each' | 'next' | 'none' | 'unsure';

export class Notices {
  readonly #target: DeviceTarget;
  readonly #wishes: [requests: Wish, events: Wish] = ['none', 'none'];

  constructor(target: DeviceTarget) {
    this.#target = target;
  }

  /** From now on the driver asks for this. */
  wish(queue: number, wish: Wish): void {
    this.#wishes[queue === IommuQueue.EVENT ? 1 : 0] = wish;
  }

  /** @throws {Deviation} unless a device that was just started has none to tell. */
  checkNone(): void {
    const { used, config } = this.#target.takeInterrupts?.() ?? NOTHING;
    if (used + config > 0)
      throw new Deviation(
        'interrupt',
        'one from before the reset',
        `${used} used, ${config} config`,
      );
  }

  /** Buffers of one of the queues were used, or none. @throws {Deviation} unless what is due has come. */
  check(queue?: number): void {
    const seen = this.#target.takeInterrupts?.();
    if (seen === undefined) return;
    const index = queue === IommuQueue.EVENT ? 1 : 0;
    const wish = queue === undefined ? 'none' : this.#wishes[index];
    if (wish === 'next') this.#wishes[index] = 'unsure';
    const due = wish === 'each' || wish === 'next';
    if (due && seen.used === 0)
      throw new Deviation('interrupt', 'one for a used buffer is missing', `queue ${queue}`);
    if (seen.used > 0 && wish === 'none')
      throw new Deviation('interrupt', 'nobody asked for one', `queue ${queue}`);
    if (seen.config > 0)
      throw new Deviation('interrupt', 'the configuration did not change', `queue ${queue}`);
  }

  /** @throws {Deviation} unless a device that needs a reset has said so, once. */
  checkNeedsReset(): void {
    const seen = this.#target.takeInterrupts?.();
    if (seen === undefined) return;
    if (seen.config === 0)
      throw new Deviation('interrupt', 'one for DEVICE_NEEDS_RESET is missing', 'none came');
    const again = this.#target.takeInterrupts?.() ?? NOTHING;
    if (again.config + again.used > 0)
      throw new Deviation('interrupt', 'one comes back after it was acknowledged', 'it came back');
  }
}

const NOTHING = { used: 0, config: 0 } as const;
