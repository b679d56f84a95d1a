/** The event queue: section "Fault reporting". The device fills buffers, the driver reads them and puts them back. */

import {
  type Clock,
  type ErrorCode,
  FaultFlag,
  FaultReason,
  FaultRecord,
  formatFlags,
  guestPhysical,
} from '@viommu/common';
import { BufferList, type DriverQueue, Taken } from '@viommu/ring';
import type { DmaMemory, DmaPiece } from './dma-memory.ts';
import type { Domain } from './domain.ts';
import type { DriverLog } from './driver-log.ts';
import type { Endpoint } from './endpoint.ts';

/** A refused access. */
export interface Fault {
  /** A reason of the standard; one that it does not define counts as UNKNOWN. */
  readonly reason: FaultReason;
  /** Bits of `FaultFlag`; others are left out. */
  readonly flags: number;
  readonly endpointId: number;
  /** The endpoint, if it was probed, and the domain it is in. */
  readonly endpoint: Endpoint | undefined;
  readonly domain: Domain | null;
  /** Where the access went, if the device says so. */
  readonly address: bigint | undefined;
}

/** A fault and what came of it. */
export interface FaultReport extends Fault {
  /** What the domain's fault handler returned; `ENOSYS` if there is none. */
  readonly outcome: ErrorCode | undefined;
}

/** Deals with a fault of a domain: `undefined` if it could. */
export type FaultHandler = (fault: Fault) => ErrorCode | undefined;

export interface EventQueueOptions {
  readonly queue: DriverQueue;
  readonly dma: DmaMemory;
  /** Tells the device that buffers are available. `position` is that of the ring. */
  readonly notify: (position: number) => void;
  readonly endpoints: ReadonlyMap<number, Endpoint>;
  readonly clock: Clock;
  readonly log: DriverLog;
  /** Is told about every fault that was understood. */
  readonly onFault: ((report: FaultReport) => void) | undefined;
}

const RECORD_BYTES = FaultRecord.size;
const BUFFER_ALIGNMENT = 8;
const DEFINED_FLAGS = FaultFlag.READ | FaultFlag.WRITE | FaultFlag.ADDRESS;
const LOG_LINES_MAX = 10;
const LOG_PERIOD_MS = 5000;

/** Receives the faults of one device. */
export class EventQueue {
  readonly #options: EventQueueOptions;
  readonly #queue: DriverQueue;
  /** The memory of the buffers. */
  readonly piece: DmaPiece;
  readonly #buffers: readonly BufferList[];
  /** Our copy of one record: the device cannot change it while it is understood. */
  readonly #record: Uint8Array = new Uint8Array(RECORD_BYTES);
  readonly #view: DataView = new DataView(this.#record.buffer);
  #broken = false;
  #logSince = -Infinity;
  #logLines = 0;

  /** @throws {IommuError} `ENOMEM` or `EFAULT` if there is no memory for the buffers. */
  constructor(options: EventQueueOptions) {
    this.#options = options;
    this.#queue = options.queue;
    this.piece = options.dma.take(options.queue.size * RECORD_BYTES, BUFFER_ALIGNMENT);
    const { address } = this.piece;
    this.#buffers = Array.from({ length: options.queue.size }, (_, index) =>
      new BufferList(1).addWritable(
        guestPhysical(address + BigInt(index * RECORD_BYTES)),
        RECORD_BYTES,
      ),
    );
  }

  /** Gives the device a buffer for every descriptor. */
  fill(): void {
    for (const [index, buffers] of this.#buffers.entries()) this.#queue.add(buffers, index);
    this.#publish();
  }

  /**
   * Reads the records that are there, puts every buffer back and asks for a notification of the next. Returns how many
   * buffers there were: call again until it is 0 before going to sleep.
   */
  serve(): number {
    const count = this.#drain();
    // What came in after the last look is found by a second one; what comes later notifies.
    return this.#queue.armNotification() || count > 0 ? count : this.#drain();
  }

  /** The device has let go of the ring: reads the records that are left, for the last time. */
  retire(): void {
    let failure: unknown = undefined;
    for (let more = true; more;) {
      try {
        // Nothing is published any more, so this ends.
        more = this.#next();
      } catch (error) {
        // The records behind that of a handler that throws are not lost.
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  #drain(): number {
    let count = 0;
    try {
      // The device may fill buffers as fast as they come back: one lap, and the caller decides.
      while (count < this.#buffers.length && this.#next()) count += 1;
    } finally {
      // Also when a handler threw: its buffer is back already.
      this.#publish();
    }
    return count;
  }

  #publish(): void {
    if (this.#queue.publish()) this.#options.notify(this.#queue.position);
  }

  /** Takes one buffer, puts it back and reports what was in it. */
  #next(): boolean {
    const index = this.#queue.take();
    const buffers = this.#buffers[index];
    if (buffers === undefined) {
      if (index === Taken.BROKEN) this.#break();
      return false;
    }
    const written = this.#queue.takenBytes;
    const { dma, log } = this.#options;
    dma.memory.read(this.piece.position + index * RECORD_BYTES, this.#record, 0, RECORD_BYTES);
    // Before anything else can fail: a buffer that is not put back is lost.
    this.#queue.add(buffers, index);
    if (written < RECORD_BYTES) log.count('eventShort');
    else {
      if (written > RECORD_BYTES) log.count('eventLong');
      this.#understand();
    }
    return true;
  }

  #understand(): void {
    const { endpoints, log, onFault } = this.#options;
    const { reserved, flags, reason, endpoint: id, address } = FaultRecord.read(this.#view);
    if (reserved.some((byte) => byte !== 0)) {
      log.count('eventReserved');
      return;
    }
    log.count('faultReported');
    const endpoint = endpoints.get(id);
    if (endpoint === undefined) log.count('faultEndpointUnknown');
    const fault: Fault = {
      reason: this.#knownReason(reason),
      flags: flags & DEFINED_FLAGS,
      endpointId: id,
      endpoint,
      domain: endpoint?.domain ?? null,
      address: (flags & FaultFlag.ADDRESS) === 0 ? undefined : address,
    };
    this.#write(fault);
    const outcome = reportFault(fault);
    onFault?.({ ...fault, outcome });
  }

  #knownReason(reason: number): FaultReason {
    const known = Object.values(FaultReason).find((value) => value === reason);
    if (known === undefined) this.#options.log.count('faultReasonUnknown');
    return known ?? FaultReason.UNKNOWN;
  }

  #write({ reason, flags, endpointId, address }: Fault): void {
    const { clock, log } = this.#options;
    const now = clock.now();
    if (now - this.#logSince >= LOG_PERIOD_MS) {
      this.#logSince = now;
      this.#logLines = 0;
    }
    if (this.#logLines === LOG_LINES_MAX) {
      log.count('faultLogDropped');
      return;
    }
    this.#logLines += 1;
    const where = address === undefined ? '' : ` at 0x${address.toString(16)}`;
    const access = formatFlags(FaultFlag, flags & ~FaultFlag.ADDRESS);
    log.line(`endpoint ${endpointId} faults: reason ${reason}, access ${access}${where}`);
  }

  #break(): void {
    if (this.#broken) return;
    this.#broken = true;
    const { log } = this.#options;
    log.warn('queueBroken', `the event queue is broken: ${this.#queue.fault}`);
  }
}

/** Tells the domain that an access of one of its endpoints was refused. Returns what its handler makes of it. */
export function reportFault(fault: Fault): ErrorCode | undefined {
  const handler = fault.domain?.faultHandler;
  return handler === undefined ? 'ENOSYS' : handler(fault);
}
