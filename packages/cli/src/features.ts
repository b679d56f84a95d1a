/** Feature bits by name, and which of a recording's bits a device of ours can have. */

import { IommuFeature, VirtioFeature, hasFeature } from '@viommu/common';

/** Bits that stand for something only on legacy interfaces; modern transports hide them. */
const LEGACY_BITS: readonly number[] = [24, 27, 30];

const NAMES: ReadonlyMap<number, string> = new Map([
  ...Object.entries({ ...IommuFeature, ...VirtioFeature }).map(
    ([name, bit]) => [bit, name] as const,
  ),
  ...LEGACY_BITS.map((bit) => [bit, `bit ${bit} (legacy)`] as const),
]);

/** The numbers of the bits that are set, in ascending order. */
export function featureBits(features: bigint): number[] {
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => hasFeature(features, bit));
}

/** The names of the bits that are set, in ascending order of the bits. */
export function featureNames(features: bigint): string[] {
  return featureBits(features).map((bit) => NAMES.get(bit) ?? `bit ${bit}`);
}

/** The bits without those that only a legacy interface shows. */
export function withoutLegacy(features: bigint): bigint {
  return LEGACY_BITS.reduce((left, bit) => left & ~(1n << BigInt(bit)), features);
}
