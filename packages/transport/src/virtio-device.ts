/** What a virtio device type supplies to a transport, and what it gets back. */

import type { DeviceQueue, GuestMemory } from '@viommu/ring';

/**
 * One device type, without its registers.
 *
 * The transport owns status, feature negotiation, queue set-up and interrupts; the device owns what is in the queues
 * and in the configuration space. All calls come from one thread.
 */
export interface VirtioDevice {
  /** The virtio device type, not 0. */
  readonly deviceId: number;
  /** All feature bits the device offers, those of rings and transport included; VERSION_1 must be among them. */
  readonly offeredFeatures: bigint;
  /** The largest size of each queue, 1..32768; one entry for each queue. */
  readonly queueSizesMax: readonly number[];
  /** The queues that, with IN_ORDER, give back one used entry for all chains between two publications; none if absent. */
  readonly batchedQueues?: readonly number[];
  /** The current bytes of the configuration space, kept up to date by the device. Their number is fixed. */
  readonly config: Uint8Array;
  /**
   * A driver's write to the configuration space, naturally aligned and inside it. False if it was ignored; if not,
   * the transport shows the new bytes of {@link config}.
   */
  writeConfig(offset: number, width: number, value: number): boolean;
  /**
   * The last word on a set of features, a subset of the offer with VERSION_1 in it. True means that the set is
   * negotiated from now on until {@link reset}; false leaves FEATURES_OK clear.
   */
  acceptFeatures(features: bigint): boolean;
  /** DRIVER_OK: from now on queues may be touched. */
  start(session: VirtioSession): void;
  /** A queue was reset or disabled after {@link start}: it is not touched any more and forgets what was in flight. */
  queueStopped(index: number): void;
  /** A queue was enabled after {@link start}, with fresh positions. */
  queueStarted(index: number, queue: DeviceQueue): void;
  /** Device reset: all queues and the negotiated features are gone. Nothing is published after this returns. */
  reset(): void;
  /** System reset, after {@link reset}: what outlives a device reset returns to its first value. */
  systemReset?(): void;
  /** What the device knows, as an image, besides its queues; absent in a device that cannot be saved. */
  save?(): Uint8Array;
  /**
   * Takes over what {@link save} returned, all of it or nothing; `features` are those that the transport's own state
   * has as negotiated, 0 if none are. The device is without queues then, until {@link start}.
   *
   * @throws {IommuError} `EINVAL` for an image that is not whole, or that no device with these options can be in.
   */
  restore?(image: Uint8Array, features: bigint): void;
  /** As in `RegisterDevice`, over its queues; called only between {@link start} and the next reset or fault. */
  serve(): boolean;
  arm(): boolean;
  suppress(): void;
}

/** What a device works with from DRIVER_OK to the next reset. */
export interface VirtioSession {
  /** The negotiated features. */
  readonly features: bigint;
  readonly memory: GuestMemory;
  /** By index; `undefined` where the driver has not enabled the queue. */
  readonly queues: readonly (DeviceQueue | undefined)[];
  readonly port: DevicePort;
}

/** The device's way back to the driver. After a reset, and in a device that needs one, calls have no effect. */
export interface DevicePort {
  /** Used buffers of `queue` became visible and the driver wants to know. */
  interrupt(queue: number): void;
  /** The bytes of the configuration space changed, by the device's own doing. */
  configChanged(): void;
  /** Sets DEVICE_NEEDS_RESET; `reason` is one sentence for people. The device is not served again before a reset. */
  needsReset(reason: string): void;
}
