/** What a request queue remembers of its requests, by slot. */

import type { RequestOwner } from './request-port.ts';

/** No page: the request was not added as a MAP or an UNMAP of whole pages. */
export const NO_PAGE = -1;

/** Columns with one entry for each slot. */
export class RequestBook {
  /** 1 while the request is in flight. */
  readonly pending: Uint8Array;
  readonly types: Uint8Array;
  readonly readableBytes: Uint8Array;
  readonly startPages: Float64Array;
  readonly lastPages: Float64Array;
  readonly owners: (RequestOwner | undefined)[];
  /** How many asynchronous syncs had begun when the request was added. */
  readonly epochs: Int32Array;

  constructor(slots: number) {
    this.pending = new Uint8Array(slots);
    this.types = new Uint8Array(slots);
    this.readableBytes = new Uint8Array(slots);
    this.startPages = new Float64Array(slots).fill(NO_PAGE);
    this.lastPages = new Float64Array(slots).fill(NO_PAGE);
    this.owners = Array.from({ length: slots }, () => undefined);
    this.epochs = new Int32Array(slots);
  }

  /** A request was added. */
  set(
    slot: number,
    type: number,
    readableBytes: number,
    owner: RequestOwner | undefined,
    startPage: number,
    lastPage: number,
    epoch: number,
  ): void {
    this.pending[slot] = 1;
    this.types[slot] = type;
    this.readableBytes[slot] = readableBytes;
    this.owners[slot] = owner;
    this.startPages[slot] = startPage;
    this.lastPages[slot] = lastPage;
    this.epochs[slot] = epoch;
  }

  /** Requests in flight that were added before the asynchronous sync of `epoch` began. */
  owed(epoch: number): number {
    let owed = 0;
    for (let slot = 0; slot < this.pending.length; slot += 1)
      if (this.pending[slot] === 1 && ((epoch - this.epochs[slot]!) | 0) >= 0) owed += 1; // As long as the other.
    return owed;
  }
}
