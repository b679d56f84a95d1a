/** Warnings of one driver instance: a line for a reader and a counter for a program. */

import type { Logger } from '@viommu/common';

/** What is counted. */
export const COUNTERS = {
  propertySkipped: 'PROBE properties of unknown type, or with reserved bits set.',
  subtypeUnknown: 'Reserved regions of unknown subtype, taken as RESERVED.',
  unmapFailed: 'UNMAP requests that the device refused or never answered.',
  detachFailed: 'DETACH requests that the device refused or never answered.',
  endpointStuck: 'Endpoints whose domain nobody knows after a failed attach.',
  queueBroken: 'Request queues given up for good.',
  eventShort: 'Fault records below 24 bytes: ignored.',
  eventLong: 'Fault records that claim to be longer than their buffer: the first 24 bytes count.',
  eventReserved: 'Fault records whose reserved bytes are not zero: ignored.',
  faultReasonUnknown: 'Faults with a reason the standard does not define.',
  faultReported: 'Faults that were understood.',
  faultEndpointUnknown: 'Faults of endpoints that were not probed.',
  faultLogDropped: 'Fault lines that the rate limit kept out of the log.',
  configChanged: 'Configuration change interrupts.',
} as const;

/** The name of a counter. */
export type CounterName = keyof typeof COUNTERS;

/** The counters and the log of one driver. */
export class DriverLog {
  /** Every counter, from 0. */
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly #counters: Record<CounterName, number>;
  readonly #logger: Logger | undefined;

  constructor(logger: Logger | undefined) {
    this.#counters = Object.fromEntries(Object.keys(COUNTERS).map((name) => [name, 0])) as Record<
      CounterName,
      number
    >; // Its keys are the names.
    this.counters = this.#counters;
    this.#logger = logger;
  }

  /** Counts without a line. */
  count(counter: CounterName): void {
    this.#counters[counter] += 1;
  }

  /** Counts and writes a line. */
  warn(counter: CounterName, message: string): void {
    this.count(counter);
    this.line(message);
  }

  /** Writes a line without counting. */
  line(message: string): void {
    this.#logger?.warn(`virtio-iommu: ${message}`);
  }
}
