/** Every combination of the features that shape queues and their notifications. */

import { VirtioFeature, featureMask } from '@viommu/common';
import { DRIVER_FEATURES } from '@viommu/driver';
import type { FeatureOffer } from '@viommu/device';

/** What the driver accepts; RING_RESET is always among it. */
export interface Combination {
  readonly packed: boolean;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  readonly inOrder: boolean;
  readonly notificationData: boolean;
}

/** A device that leaves every choice to the driver. */
export const OFFER: FeatureOffer = { packed: true, notificationData: true };

const BITS: Readonly<Record<keyof Combination, number>> = {
  packed: VirtioFeature.RING_PACKED,
  indirect: VirtioFeature.INDIRECT_DESC,
  eventIndex: VirtioFeature.EVENT_IDX,
  inOrder: VirtioFeature.IN_ORDER,
  notificationData: VirtioFeature.NOTIFICATION_DATA,
};
const NAMES = Object.keys(BITS) as (keyof Combination)[]; // What the table has.

export const COMBINATIONS: readonly Combination[] = Array.from(
  { length: 1 << NAMES.length },
  (_, number) =>
    Object.fromEntries(
      NAMES.map((name, bit) => [name, ((number >> bit) & 1) === 1]),
    ) as unknown as Combination, // A field for each name.
);

/** What the device offers to nobody. */
const NEVER =
  featureMask(VirtioFeature.ACCESS_PLATFORM) | featureMask(VirtioFeature.ORDER_PLATFORM);

/** What a driver accepts that wants just this. */
export function acceptedFeatures(combination: Combination): bigint {
  return NAMES.filter((name) => !combination[name]).reduce(
    (set, name) => set & ~featureMask(BITS[name]),
    DRIVER_FEATURES & ~NEVER,
  );
}

/** For people: the features that are on. */
export function nameOf(combination: Combination): string {
  const on = NAMES.filter((name) => combination[name] && name !== 'packed');
  return [combination.packed ? 'packed' : 'split', ...on].join(', ');
}
