/** Random devices: what they offer, their ranges, endpoints and limits, for the device and for the model alike. */

import { IommuFeature, featureMask } from '@viommu/common';
import type { IommuDeviceOptions } from '@viommu/device';
import type { ModelEndpoint, Region } from '../../src/model/state.ts';
import type { Random } from './random.ts';

/** Endpoints that streams name; the last ones are never there from the start. */
export const ENDPOINTS = [0, 8, 0x1_0028, 0xffff_ffff, 77] as const;

const MASKS = [
  0xffff_ffff_ffff_f000n,
  0xffff_ffff_ffff_f000n,
  0x1000n,
  1n,
  1n,
  0x3n,
  0x8000_1000n,
  0x1_0000n,
  0x4000_0000n,
  1n << 63n,
];
const INPUT_RANGES = [
  { start: 0n, last: 0xffff_ffff_ffff_ffffn },
  { start: 0n, last: 0xffff_ffffn },
  { start: 0x1000n, last: 0xf_ffff_ffff_ffffn },
  { start: 0x123n, last: 0xffff_ffff_ffff_f122n },
];
/** In the order in which the device shows them. */
const REGIONS: readonly Region[] = [
  { start: 0x3000n, last: 0x3fffn, type: 'reserved' },
  { start: 0x5800n, last: 0x5810n, type: 'reserved' },
  { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
  { start: 0xffff_ffff_ffff_e000n, last: 0xffff_ffff_ffff_ffffn, type: 'reserved' },
];
const WITH_REGIONS = [8, 0x1_0028];

/** A device as both sides take it. */
export function randomDevice(random: Random): IommuDeviceOptions & {
  readonly endpoints: readonly ModelEndpoint[];
} {
  const regions = REGIONS.filter(() => random.once(2));
  const legacyBypass = random.once(6);
  return {
    pageSizeMask: random.pick(MASKS),
    inputRange: random.pick(INPUT_RANGES),
    domainRange: random.pick([
      { first: 0, last: 0xffff_ffff },
      { first: 1, last: 3 },
      { first: 0, last: 2 },
    ]),
    probeSize: random.pick([96, 96, 512, 4096]),
    bypass: random.once(2),
    endpoints: ENDPOINTS.slice(0, -1).map((id) => ({
      id,
      ...(WITH_REGIONS.includes(id) && { reserved: regions }),
    })),
    limits: random.once(3) ? { domains: 2, mappingsPerDomain: 5, mappings: 8 } : {},
    features: {
      inputRange: !random.once(3),
      domainRange: !random.once(3),
      mapUnmap: !random.once(20),
      probe: !random.once(6),
      mmio: !random.once(3),
      legacyBypass,
      bypassConfig: !legacyBypass && !random.once(4),
      packed: random.once(4),
    },
  };
}

/** What a driver accepts of an offer: mostly all, at times without some of the IOMMU's own features. */
export function randomAcceptance(random: Random, offered: bigint): bigint {
  if (!random.once(3)) return offered;
  const features = Object.values(IommuFeature).filter(() => random.once(5));
  return features.reduce((accepted, bit) => accepted & ~featureMask(bit), offered);
}
