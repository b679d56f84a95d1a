/** Which features a disk offers: sections "Block Device / Feature bits" and "Reserved Feature Bits". */

import { VirtioFeature, featureMask } from '@viommu/common';
import { BlkFeature } from './spec/feature.ts';

/** One switch for each feature; what is not named is offered, but for those that say otherwise. */
export interface BlkFeatureOffer {
  readonly sizeMax?: boolean;
  readonly segMax?: boolean;
  readonly blkSize?: boolean;
  readonly flush?: boolean;
  /** Default: if there are several queues. */
  readonly multiQueue?: boolean;
  readonly discard?: boolean;
  readonly writeZeroes?: boolean;
  readonly indirect?: boolean;
  readonly eventIndex?: boolean;
  readonly inOrder?: boolean;
  /** Default false. */
  readonly packed?: boolean;
  readonly ringReset?: boolean;
  /** Default false. */
  readonly notificationData?: boolean;
}

/** What is not a matter of taste. */
export interface BlkNature {
  readonly readOnly: boolean;
  /** More than one queue. */
  readonly multiQueue: boolean;
  /** The device's memory may be reached by addresses of its own. */
  readonly platform: boolean;
}

/** The offered bits, VERSION_1 always among them. */
export function offeredBlkFeatures(offer: BlkFeatureOffer = {}, nature: BlkNature): bigint {
  const switches: readonly (readonly [bit: number, on: boolean])[] = [
    [BlkFeature.SIZE_MAX, offer.sizeMax ?? true],
    [BlkFeature.SEG_MAX, offer.segMax ?? true],
    [BlkFeature.RO, nature.readOnly],
    [BlkFeature.BLK_SIZE, offer.blkSize ?? true],
    [BlkFeature.FLUSH, offer.flush ?? true],
    [BlkFeature.MQ, offer.multiQueue ?? nature.multiQueue],
    [BlkFeature.DISCARD, offer.discard ?? true],
    [BlkFeature.WRITE_ZEROES, offer.writeZeroes ?? true],
    [VirtioFeature.INDIRECT_DESC, offer.indirect ?? true],
    [VirtioFeature.EVENT_IDX, offer.eventIndex ?? true],
    [VirtioFeature.VERSION_1, true],
    [VirtioFeature.ACCESS_PLATFORM, nature.platform],
    [VirtioFeature.RING_PACKED, offer.packed ?? false],
    // Requests are handled and given back one after another in any case.
    [VirtioFeature.IN_ORDER, offer.inOrder ?? true],
    [VirtioFeature.NOTIFICATION_DATA, offer.notificationData ?? false],
    [VirtioFeature.RING_RESET, offer.ringReset ?? true],
  ];
  return switches.reduce((bits, [bit, on]) => (on ? bits | featureMask(bit) : bits), 0n);
}
