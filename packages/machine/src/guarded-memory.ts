/** Guest memory as everything in the host reaches it: not the pages that a protected guest keeps to itself. */

import { PAGE_SIZE, pageOf } from '@viommu/common';
import type { PageStates } from '@viommu/iommu';
import { SharedMemory, type SharedMemoryOptions } from '@viommu/ring';

/** Memory whose owner may close pages of it. */
export class GuardedMemory extends SharedMemory {
  /** Accesses to closed pages, all refused. */
  refused = 0;
  readonly #states: PageStates;
  readonly #firstPage: number;

  constructor(options: SharedMemoryOptions, states: PageStates) {
    super(options);
    this.#states = states;
    this.#firstPage = pageOf(options.base);
  }

  override locate(low: number, high: number, length: number): number {
    const position = super.locate(low, high, length);
    if (position < 0 || !this.#states.guarded) return position;
    return this.#open(position, length) ? position : -1;
  }

  #open(position: number, length: number): boolean {
    const from = Math.floor(position / PAGE_SIZE);
    const last = Math.floor((position + Math.max(length, 1) - 1) / PAGE_SIZE);
    if (this.#states.shared(this.#firstPage + from, last - from + 1)) return true;
    this.refused += 1;
    return false;
  }
}
