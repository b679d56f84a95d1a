/** A virtio transport as a driver sees it: section "Driver Requirements: Device Initialization". */

import type { Bell, QueueLayout } from '@viommu/ring';

/** What a driver wants of a device. */
export interface FeatureRequest {
  /** Bits the driver can use. */
  readonly wanted: bigint;
  /** Bits it cannot do without; VERSION_1 is always one of them. */
  readonly required: bigint;
}

/** One device, from the driver's side. Calls that write registers return when the device has acted on them. */
export interface DriverTransport {
  /** The virtio device type; 0 where there is no device, which is then left alone. */
  readonly deviceId: number;
  /** Doorbells rung so far. */
  readonly notifications: number;
  /** Rings with each interrupt. */
  readonly interruptBell: Bell;

  /**
   * Resets the device and takes it up to FEATURES_OK. Returns the negotiated bits: those offered and asked for.
   *
   * @throws {IommuError} `ENODEV` if a required bit is not offered or the device refuses the set; FAILED is set then.
   */
  negotiate(request: FeatureRequest): bigint;
  /** The largest size of a queue; 0 if the device has no such queue. */
  queueSizeMax(index: number): number;
  /**
   * Programs a queue and enables it. A driver that cannot go on without the queue calls {@link fail} when this throws.
   *
   * @throws {IommuError} `ENODEV` if there is no such queue, `EBUSY` if it is enabled, `EINVAL` if it is too large,
   * `EIO` if the device refuses the layout.
   */
  enableQueue(index: number, layout: QueueLayout): void;
  /**
   * Resets one queue; its memory is free afterwards, and it can be enabled again.
   *
   * @throws {IommuError} `ENOSYS` without RING_RESET, `ETIMEDOUT` if the device does not finish.
   */
  resetQueue(index: number): void;
  /**
   * Sets DRIVER_OK.
   *
   * @throws {IommuError} `ENODEV` if the device does not go along; FAILED is set then.
   */
  driverOk(): void;
  /** Sets FAILED: the driver gives up until the next reset. */
  fail(): void;
  /**
   * Resets the device; it touches no memory afterwards.
   *
   * @throws {IommuError} `ETIMEDOUT` if the device does not finish.
   */
  reset(): void;
  /** The device status. */
  status(): number;

  /** Reads a field of 1, 2 or 4 bytes at its natural alignment. `offset` counts from the configuration space. */
  readConfig(offset: number, width: number): number;
  /**
   * Runs `read`, which reads several fields, until the device changed nothing meanwhile.
   *
   * @throws {IommuError} `EIO` if the fields never stay the same.
   */
  readConfigStable<Fields>(read: () => Fields): Fields;
  /** Reads a 64-bit field as two halves that belong together. @throws {IommuError} `EIO` as above. */
  readConfig64(offset: number): bigint;
  /** Writes a field of 1, 2 or 4 bytes at its natural alignment. */
  writeConfig(offset: number, width: number, value: number): void;

  /**
   * Tells the device that `queue` has available chains. Before DRIVER_OK this does nothing: the device looks at all
   * queues then. `position` is that of the `DriverQueue`; it goes along if NOTIFICATION_DATA was negotiated.
   */
  notify(queue: number, position: number): void;
  /** Reads which events interrupted (bits of `InterruptBit`) and acknowledges them; look for used chains after this. */
  acknowledgeInterrupts(): number;
}
