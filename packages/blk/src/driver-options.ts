/** What the driver of a disk gets. */

import type { Clock, Context, ErrorCode } from '@viommu/common';
import type { Device, VirtioDma } from '@viommu/iommu';
import type { GuestMemory, Patience } from '@viommu/ring';
import type { DriverTransport } from '@viommu/transport';

export interface BlkDriverOptions {
  readonly transport: DriverTransport;
  /** Memory as the guest itself sees it, at guest-physical addresses. */
  readonly memory: GuestMemory;
  /** The device that the DMA is done for: the one the firmware describes, the transport's. */
  readonly device: Device;
  /**
   * Decides how the device is reached; usually the guest's `VirtioDma`. Asked once for each initialisation, between
   * FEATURES_OK and the set-up of the queues; the driver keeps the answer, and seals it when the device is live.
   */
  readonly dma: Pick<VirtioDma, 'choose' | 'requiredFeatures'>;
  /** Who sets the device up. */
  readonly context: Context;
  /** Tells how long a wait took. */
  readonly clock: Clock;
  /** Accepts no other features than these; to refuse one, it takes `BLK_DRIVER_FEATURES` without it. */
  readonly features?: bigint;
  /** The most queues to use. Default 1. */
  readonly queues?: number;
  /** The most requests in flight in each queue. Default 64. */
  readonly depth?: number;
  /** The most pieces of a request's data. Default 62. */
  readonly segmentsMax?: number;
  /** How long {@link BlkDriver.readSync} and its like wait for the device to make progress. Default 5000. */
  readonly timeoutMs?: number;
  /** Looks at the rings before a wait sleeps. */
  readonly pollsMax?: number | Patience;
  /** Called in place of polling and sleeping, for a device in the same thread. It must let the device work. */
  readonly idle?: () => void;
}

/** The token of a request that was taken, 0 and up, or why it was not. */
export type Submitted = number | ErrorCode;
