/** What a driver is told when it takes a device over, and which features it asks for. */

import {
  type Clock,
  type Concurrency,
  IommuFeature,
  type Logger,
  VirtioFeature,
  featureSet,
} from '@viommu/common';
import type { GuestMemory, Patience } from '@viommu/ring';
import type { DriverTransport } from '@viommu/transport';
import type { FaultReport } from './event-queue.ts';
import type { DmaPages } from './platform.ts';

export interface IommuDriverOptions {
  readonly transport: DriverTransport;
  readonly memory: GuestMemory;
  readonly pages: DmaPages;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** The locks of the guest; of its own if absent. Drivers whose domains meet share one. */
  readonly concurrency?: Concurrency;
  /** For people; `virtio-iommu` if absent. */
  readonly name?: string;
  /** Accepts no other features than these; to refuse one, it takes `DRIVER_FEATURES` without it. */
  readonly features?: bigint;
  /** The most descriptors of the request queue; 256 if absent. A split queue has a power of two. */
  readonly requestQueueSize?: number;
  /** The most descriptors of the event queue; 64 if absent. */
  readonly eventQueueSize?: number;
  /** How long the device may make no progress before it is given up. */
  readonly timeoutMs?: number;
  /** Looks at the ring before a wait sleeps. */
  readonly pollsMax?: number | Patience;
  /** Called in place of polling and sleeping, for a device in the same thread. It must let the device work. */
  readonly idle?: () => void;
  /** What endpoints without a domain may reach: everything or nothing. The device's own choice if absent. */
  readonly bypass?: boolean;
  /** Is told about every fault. */
  readonly onFault?: (report: FaultReport) => void;
}

/**
 * The features that the driver accepts wherever they are offered: all of the device's except the superseded BYPASS, and
 * those of rings.
 */
export const DRIVER_FEATURES: bigint = featureSet([
  IommuFeature.INPUT_RANGE,
  IommuFeature.DOMAIN_RANGE,
  IommuFeature.MAP_UNMAP,
  IommuFeature.PROBE,
  IommuFeature.MMIO,
  IommuFeature.BYPASS_CONFIG,
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.VERSION_1,
  // Addresses are those that `pages` gives out, and atomics order accesses on every platform.
  VirtioFeature.ACCESS_PLATFORM,
  VirtioFeature.ORDER_PLATFORM,
  VirtioFeature.RING_PACKED,
  VirtioFeature.IN_ORDER,
  VirtioFeature.NOTIFICATION_DATA,
  VirtioFeature.RING_RESET,
]);

/** Those it cannot do without. */
export const REQUIRED_FEATURES: bigint = featureSet([
  IommuFeature.MAP_UNMAP,
  VirtioFeature.VERSION_1,
]);
