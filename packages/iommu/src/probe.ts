/** How devices and IOMMUs find each other. */

import type { DeviceRegion, Range } from '@viommu/common';
import type { Device, FirmwareNode } from './device.ts';

/** Where a description of firmware goes: the core's half of reading it. */
export interface FirmwareHost {
  /**
   * The firmware names an IOMMU for a device. Said again for each of its numbers.
   *
   * @throws {IommuError} `EPROBE_DEFER` if that IOMMU is not there yet, `ETIMEDOUT` if nobody waits any longer, `EINVAL`
   * if the device has another one.
   */
  fwspecInit(device: Device, node: FirmwareNode): void;
  /** One more number, as the cells of a specifier. @throws {IommuError} `ENODEV` if the IOMMU translates nothing, `EINVAL` */
  addCells(device: Device, cells: readonly number[]): void;
}

/** What describes the machine to the guest: a device tree, or ACPI. */
export interface Firmware {
  /**
   * Says which IOMMU a device is behind, if any.
   *
   * @throws {IommuError} `ENODEV` if there is none; what the host threw; anything else counts as none and is logged.
   */
  describe(device: Device, host: FirmwareHost): void;
  /** The reserved memory that the firmware names for a device. */
  regionsOf(device: Device): DeviceRegion[];
  /** The addresses that a device may use for DMA, if the firmware limits them. */
  dmaWindowOf?(device: Device): Range | undefined;
}
