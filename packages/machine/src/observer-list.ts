/** Several observers of one device as one, with the hooks that any of them has and no others. */

import type { IommuObserver } from '@viommu/device';

/** The names of all hooks. */
const HOOKS: Readonly<Record<keyof IommuObserver, true>> = {
  attached: true,
  detached: true,
  mapped: true,
  unmapped: true,
  probed: true,
  refused: true,
  accessed: true,
  faulted: true,
  droppedFault: true,
  bypassChanged: true,
  reset: true,
};

type Hook = (...values: readonly unknown[]) => void;

export class ObserverList {
  /** What the device gets. It has no hook before the first observer. */
  readonly observer: IommuObserver = {};
  readonly #observers: IommuObserver[] = [];

  /** Adds an observer, whose hooks are called after those of the ones before it. */
  add(observer: IommuObserver): void {
    this.#observers.push(observer);
    for (const name of Object.keys(HOOKS) as (keyof IommuObserver)[]) {
      // The keys are the names, and each caller passes what its hook takes.
      const hooked = this.#observers.filter((one) => one[name] !== undefined);
      if (hooked.length === 0) continue;
      const call: Hook = (...values) => {
        for (const one of hooked) (one[name] as Hook).apply(one, [...values]); // Those that have it.
      };
      Object.assign(this.observer, { [name]: call });
    }
  }
}
