/**
 * How a virtio device's memory reaches it: decided once, when the device is initialised, and called ever after.
 *
 * Nothing on the data path asks for features, platform or firmware. A device that did not negotiate ACCESS_PLATFORM
 * takes every address for a physical one, whatever IOMMU the firmware names for it.
 */

import { IommuError, VirtioFeature, featureMask, hasFeature } from '@viommu/common';
import type { Device } from './device.ts';
import type { DmaOps } from './dma-ops.ts';

/** What the platform has to say. Fixed before the first device. */
export interface VirtioPlatform {
  /** The guest runs on Xen. */
  readonly xen?: boolean;
  /**
   * True if the host must not reach all of the guest's memory through this device: a protected guest, or a device with
   * a back-end of its own. It may install operations on the device (`device.dmaOps`).
   */
  readonly requiresRestricted?: (device: Device) => boolean;
  /** True if the DMA API is used even without ACCESS_PLATFORM. */
  readonly forcesDmaApi?: (device: Device) => boolean;
}

/** What the choice is made among. */
export interface VirtioDmaOptions {
  readonly platform?: VirtioPlatform;
  /** Addresses as they are. */
  readonly physical: DmaOps;
  /** The same, checked, and bounced where the platform says so. */
  readonly direct: DmaOps;
}

const RESTRICTED_FEATURES =
  featureMask(VirtioFeature.VERSION_1) | featureMask(VirtioFeature.ACCESS_PLATFORM);

/** Chooses DMA operations for the virtio devices of one guest. */
export class VirtioDma {
  /** How often a choice was made: once for each initialisation of a device. */
  decisions = 0;
  readonly #platform: VirtioPlatform;
  readonly #physical: DmaOps;
  readonly #direct: DmaOps;

  constructor({ platform = {}, physical, direct }: VirtioDmaOptions) {
    this.#platform = platform;
    this.#physical = physical;
    this.#direct = direct;
  }

  /**
   * The features without which the device must fail with `ENODEV` before FEATURES_OK, as the set of bits to require in
   * the negotiation. `transport` is the device that does the accesses: the parent of the virtio device.
   */
  requiredFeatures(transport: Device): bigint {
    return this.#platform.requiresRestricted?.(transport) === true ? RESTRICTED_FEATURES : 0n;
  }

  /** Makes the choice for a device that has negotiated `features`. */
  choose(transport: Device, features: bigint): ChosenDma {
    this.decisions += 1;
    return new ChosenDma(transport, this.#decide(transport, features));
  }

  #decide(transport: Device, features: bigint): DmaOps {
    const { dmaOps } = transport;
    if (hasFeature(features, VirtioFeature.ACCESS_PLATFORM)) return dmaOps ?? this.#direct;
    // Never the IOMMU's operations: the device takes every address for a physical one.
    const { xen = false, forcesDmaApi } = this.#platform;
    return xen || forcesDmaApi?.(transport) === true ? this.#direct : this.#physical;
  }
}

/** The operations of one virtio device. */
export class ChosenDma {
  /** The device that does the accesses. */
  readonly device: Device;
  #ops: DmaOps;
  #live = false;

  /** Use {@link VirtioDma.choose}. */
  constructor(device: Device, ops: DmaOps) {
    this.device = device;
    this.#ops = ops;
  }

  get ops(): DmaOps {
    return this.#ops;
  }

  /** DRIVER_OK: from now on nothing changes. */
  seal(): void {
    this.#live = true;
  }

  /** The device was reset. */
  unseal(): void {
    this.#live = false;
  }

  /** Puts other operations in place. @throws {IommuError} `EBUSY` while the device is live. */
  replace(ops: DmaOps): void {
    if (this.#live)
      throw new IommuError('EBUSY', `${this.device.name} is live: its DMA operations stay.`);
    this.#ops = ops;
  }
}
