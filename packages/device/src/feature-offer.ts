/** Which features a device offers: sections "IOMMU Device / Feature bits" and "Reserved Feature Bits". */

import { IommuError, IommuFeature, VirtioFeature, featureMask } from '@viommu/common';

/** One switch for each feature; what is not named is offered, but for those that say otherwise. */
export interface FeatureOffer {
  readonly inputRange?: boolean;
  readonly domainRange?: boolean;
  readonly mapUnmap?: boolean;
  /** The BYPASS that came before BYPASS_CONFIG, for old drivers; takes its place (7.14). Default false. */
  readonly legacyBypass?: boolean;
  readonly probe?: boolean;
  readonly mmio?: boolean;
  /** Default true, or false with `legacyBypass`. */
  readonly bypassConfig?: boolean;
  readonly indirect?: boolean;
  readonly eventIndex?: boolean;
  readonly inOrder?: boolean;
  /** Packed rings, for drivers that want them; split ones are faster here. Default false. */
  readonly packed?: boolean;
  readonly ringReset?: boolean;
  /** Doorbells with a position, which this device, like others in software, reads from the ring. Default false. */
  readonly notificationData?: boolean;
}

/**
 * The offered bits, VERSION_1 always among them.
 *
 * @throws {IommuError} `EINVAL` if both ways of bypass are to be offered.
 */
export function offeredFeatures(offer: FeatureOffer = {}): bigint {
  const { legacyBypass = false, bypassConfig = !legacyBypass } = offer;
  // iommu.dev.features.not-both-bypass
  if (legacyBypass && bypassConfig)
    throw new IommuError('EINVAL', 'A device offers either BYPASS or BYPASS_CONFIG.');
  const switches: readonly (readonly [bit: number, on: boolean])[] = [
    [IommuFeature.INPUT_RANGE, offer.inputRange ?? true],
    [IommuFeature.DOMAIN_RANGE, offer.domainRange ?? true],
    [IommuFeature.MAP_UNMAP, offer.mapUnmap ?? true], // iommu.dev.features.offer-map-unmap
    [IommuFeature.BYPASS, legacyBypass], // iommu.dev.features.no-legacy-bypass
    [IommuFeature.PROBE, offer.probe ?? true],
    [IommuFeature.MMIO, offer.mmio ?? true],
    [IommuFeature.BYPASS_CONFIG, bypassConfig],
    [VirtioFeature.INDIRECT_DESC, offer.indirect ?? true],
    [VirtioFeature.EVENT_IDX, offer.eventIndex ?? true],
    [VirtioFeature.VERSION_1, true],
    [VirtioFeature.RING_PACKED, offer.packed ?? false],
    // 9.1: requests are handled and given back one after another in any case.
    [VirtioFeature.IN_ORDER, offer.inOrder ?? true],
    [VirtioFeature.NOTIFICATION_DATA, offer.notificationData ?? false],
    [VirtioFeature.RING_RESET, offer.ringReset ?? true],
  ];
  return switches.reduce((bits, [bit, on]) => (on ? bits | featureMask(bit) : bits), 0n);
}
