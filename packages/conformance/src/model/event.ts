/** Fault records and the buffers that they go into: section "IOMMU Device / Fault reporting". */

import { FaultFlag, FaultRecord, MapFlag } from '@viommu/common';
import type { Fault } from './access.ts';
import type { Choices } from './choice.ts';

/** An event buffer that the device gave back. */
export interface Event {
  /** How many buffers were given back before it, since the queue was started. */
  readonly buffer: number;
  readonly usedLength: number;
  /** What stands at its start; empty if it was too small. */
  readonly record: Uint8Array;
}

const NOTHING: readonly Event[] = [];

/** The device's end of the event queue. */
export class EventQueue {
  /** Records that found no buffer. */
  dropped = 0;
  /** True after a buffer that the device does not put up with. */
  broken = false;
  readonly #choices: Choices;
  /** Writable bytes of the buffers that are there, oldest first. */
  #buffers: number[] = [];
  #waiting: Uint8Array[] = [];
  #used = 0;

  constructor(choices: Choices) {
    this.#choices = choices;
  }

  /** The driver adds a buffer. Returns what the device writes into it at once. */
  post(writableBytes: number): readonly Event[] {
    this.#buffers.push(writableBytes);
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting.flatMap((record) => this.report(record));
  }

  /** A record for the driver. Returns the buffers that are given back. */
  report(record: Uint8Array): readonly Event[] {
    if (this.#choices.faultReport === 'never' || this.broken) return NOTHING;
    const events: Event[] = [];
    while (this.#buffers.length > 0) {
      const bytes = this.#buffers.shift() ?? 0;
      if (bytes >= FaultRecord.size) {
        // 8.5: the rest of the buffer is left alone.
        events.push(this.#give(record.length, record));
        return events;
      }
      // 8.4: iommu.dev.fault.no-multi-buffer
      switch (this.#choices.shortBuffer) {
        case 'returned':
          events.push(this.#give(0, new Uint8Array()));
          break;
        case 'lost':
          return events;
        case 'needsReset':
          this.broken = true;
          return events;
      }
    }
    // 8.2
    if (this.#choices.faultUnbuffered === 'waits') this.#waiting.push(record);
    else this.dropped += 1;
    return events;
  }

  /** The queue is gone, with its buffers and what waited for them. */
  clear(): void {
    this.#buffers = [];
    this.#waiting = [];
    this.#used = 0;
    this.broken = false;
  }

  copy(choices: Choices): EventQueue {
    const copy = new EventQueue(choices);
    copy.dropped = this.dropped;
    copy.broken = this.broken;
    copy.#buffers = [...this.#buffers];
    copy.#waiting = [...this.#waiting];
    copy.#used = this.#used;
    return copy;
  }

  #give(usedLength: number, record: Uint8Array): Event {
    this.#used += 1;
    return { buffer: this.#used - 1, usedLength, record };
  }
}

/** The record of a refused access from `address` on; `access` are bits of `MapFlag`. */
export function faultRecord(
  choices: Choices,
  endpoint: number,
  address: bigint,
  access: number,
  fault: Fault,
): Uint8Array {
  const { faultAccess, faultAddress } = choices;
  // 8.7. iommu.dev.fault.flags-undefined-zero, iommu.dev.fault.reserved-zero
  let flags = 0;
  if (faultAccess === 'always' || (faultAccess === 'permission' && fault.permission)) {
    if ((access & MapFlag.READ) !== 0) flags |= FaultFlag.READ;
    if ((access & MapFlag.WRITE) !== 0) flags |= FaultFlag.WRITE;
  }
  let where = 0n;
  if (faultAddress !== 'absent') {
    // 8.8, iommu.dev.fault.address-optional
    flags |= FaultFlag.ADDRESS;
    where = faultAddress === 'byte' ? fault.address : address;
  }
  view.setUint8(FaultRecord.offset.reason, fault.reason);
  view.setUint32(FaultRecord.offset.flags, flags, true);
  view.setUint32(FaultRecord.offset.endpoint, endpoint, true);
  view.setBigUint64(FaultRecord.offset.address, where, true);
  return bytes.slice();
}

/** A record is put together here: what is reserved is never written. */
const bytes = new Uint8Array(FaultRecord.size);
const view = new DataView(bytes.buffer);
