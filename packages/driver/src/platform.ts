/** What the driver needs of the guest it runs in, besides a transport, a clock and a log: memory. */

import type { GuestPhysical } from '@viommu/common';

export type { Clock } from '@viommu/common';

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
