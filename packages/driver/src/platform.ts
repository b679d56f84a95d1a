/** What the driver needs of the guest it runs in, besides a transport: memory, a clock, a log. */

import type { GuestPhysical } from '@viommu/common';

/** Gives out guest memory that the device can reach at its guest-physical address. */
export interface DmaPages {
  /**
   * Takes `sizeBytes` of memory in one piece. `alignment` is a power of two.
   *
   * @throws {IommuError} `ENOMEM` if there is none.
   */
  allocate(sizeBytes: number, alignment: number): GuestPhysical;
  /** Takes back what {@link allocate} returned. Without it the memory of a removed driver is lost. */
  free?(address: GuestPhysical): void;
}

/** A clock that never goes back. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
}

/** Where warnings go. */
export interface Logger {
  warn(message: string): void;
}
