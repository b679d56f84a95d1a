/** The end of one request, kept for whoever waits for it. */

import { type ErrorCode, Status } from '@viommu/common';
import { NO_STATUS, errorOfStatus } from './completion.ts';
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

/** What was wrong with a request that has its reply, or that has none but an error. */
export function errorOfReply(reply: Reply | ErrorCode): ErrorCode | undefined {
  return typeof reply === 'string' ? reply : errorOfStatus(reply.status);
}

/** The properties that a PROBE has brought, or what was wrong with it. */
export function propertiesOfReply(reply: Reply | ErrorCode): Uint8Array | ErrorCode {
  return typeof reply === 'string' ? reply : (errorOfStatus(reply.status) ?? reply.properties);
}
