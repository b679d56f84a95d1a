/** The end of one request, kept for whoever waits for it. */

import { Status } from '@viommu/common';
import { NO_STATUS } from './completion.ts';
import type { RequestOwner } from './request-port.ts';
import type { RequestSlots } from './request-slot.ts';

export class Reply implements RequestOwner {
  status: number = NO_STATUS;
  /** What a PROBE returned. */
  properties: Uint8Array = new Uint8Array(0);
  readonly #slots: RequestSlots;

  constructor(slots: RequestSlots) {
    this.#slots = slots;
  }

  requestDone(slot: number, status: number): void {
    this.status = status;
    // Now: the next PROBE uses the same memory.
    if (slot === this.#slots.probe && status === Status.OK)
      this.properties = this.#slots.properties();
  }
}
