/** The model of a target, as its configuration space and its endpoints say; and setups for streams. */

import {
  ADDRESS_MAX,
  IommuConfig,
  IommuFeature,
  VirtioFeature,
  featureMask,
  featureSet,
} from '@viommu/common';
import type { Choices } from '../model/choice.ts';
import { Model } from '../model/model.ts';
import type { DeviceTarget, TargetLimits, TargetRegion, TargetWish } from '../target.ts';
import { configOf } from './books.ts';
import { QUEUE_SIZE_MAX } from './limit.ts';
import type { Random } from './random.ts';
import type { Setup } from './stream.ts';

/** A model like a target that was just opened. */
export function modelOf(target: DeviceTarget, choices: Partial<Choices>): Model {
  const config = IommuConfig.read(new DataView(configOf(target).buffer));
  return new Model({
    choices,
    offered: target.readFeatures(),
    pageSizeMask: config.pageSizeMask,
    inputRange: { start: config.inputRangeStart, last: config.inputRangeEnd },
    domainRange: { first: config.domainRangeStart, last: config.domainRangeEnd },
    probeSize: config.probeSize,
    bypass: config.bypass === 1,
    endpoints: target.endpoints
      .filter(({ role }) => role === 'present')
      .map(({ id, reserved = [] }) => ({ id, reserved })),
    ...(target.limits !== undefined && { limits: target.limits }),
  });
}

const PAGES = 0xffff_ffff_ffff_f000n;
const MASKS = [PAGES, PAGES, PAGES, 0x1000n, 1n, 0x3n, 0x8000_1000n, 0x1_0000n, 0x800n];
const INPUT_RANGES = [
  { start: 0n, last: ADDRESS_MAX },
  { start: 0n, last: 0xffff_ffffn },
  { start: 0x1000n, last: 0xf_ffff_ffff_ffffn },
  { start: 0x123n, last: 0xffff_ffff_ffff_f122n },
];
const DOMAIN_RANGES = [
  { first: 0, last: 0xffff_ffff },
  { first: 1, last: 3 },
  { first: 0, last: 2 },
];
const REGIONS: readonly TargetRegion[] = [
  { start: 0x3000n, last: 0x3fffn, type: 'reserved' },
  { start: 0x5800n, last: 0x5810n, type: 'reserved' },
  { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
  { start: 0xffff_ffff_ffff_e000n, last: ADDRESS_MAX, type: 'reserved' },
];
const RING = {
  packed: featureMask(VirtioFeature.RING_PACKED),
  options: [
    VirtioFeature.INDIRECT_DESC,
    VirtioFeature.EVENT_IDX,
    VirtioFeature.IN_ORDER,
    VirtioFeature.NOTIFICATION_DATA,
    VirtioFeature.RING_RESET,
  ],
} as const;
const QUEUE_SIZES = [QUEUE_SIZE_MAX, 128, 16] as const;
/** Where memory begins: mostly as on a PC, and at the edges of what an address can be. */
const MEMORY_STARTS = [
  0x4000_0000n,
  0x4000_0000n,
  0n,
  0xffe0_0000n,
  1n << 32n,
  (1n << 53n) - 0x10_0000n,
  1n << 53n,
  (1n << 64n) - 0x10_0000n,
];

/** A device of any kind, and a driver that leaves some of its features alone. */
export function randomSetup(random: Random): Setup {
  const format = random.once(2) ? 'packed' : 'split';
  const legacy = random.once(4);
  const without = featureSet(OFFERS.filter(() => random.once(8)));
  const regions = REGIONS.filter(() => random.once(2));
  const wish: TargetWish = {
    withFeatures:
      featureMask(VirtioFeature.NOTIFICATION_DATA) |
      (format === 'packed' ? RING.packed : 0n) |
      (legacy ? featureMask(IommuFeature.BYPASS) : 0n),
    withoutFeatures: without | (legacy ? featureMask(IommuFeature.BYPASS_CONFIG) : 0n),
    pageSizeMask: random.pick(MASKS),
    inputRange: random.pick(INPUT_RANGES),
    domainRange: random.pick(DOMAIN_RANGES),
    probeSize: random.pick([96, 512, 1024]),
    bypass: random.once(2),
    reserved: regions,
    memoryStart: random.pick(MEMORY_STARTS),
    ...(random.once(4) && { limits: randomLimit(random) }),
  };
  return {
    wish,
    format,
    refuse: randomRefusal(random),
    queueSize: random.pick(format === 'packed' ? [...QUEUE_SIZES, 100] : QUEUE_SIZES),
    indirect: random.once(2),
  };
}

/** So little of one thing that a stream gets there. */
function randomLimit(random: Random): TargetLimits {
  const some = random.pick([20, 1, 2, 7]);
  return random.pick([
    { mappings: some },
    { mappingsPerDomain: some },
    { domains: 1 },
    { domains: 2 },
  ]);
}

/** Features that a driver leaves alone: mostly none of the IOMMU's own. */
export function randomRefusal(random: Random): bigint {
  const ring = featureSet(RING.options.filter(() => random.once(2)));
  if (!random.once(2)) return ring;
  return ring | featureSet(Object.values(IommuFeature).filter(() => random.once(4)));
}

/** What a device may also not offer. */
const OFFERS = [
  IommuFeature.INPUT_RANGE,
  IommuFeature.DOMAIN_RANGE,
  IommuFeature.PROBE,
  IommuFeature.MMIO,
  IommuFeature.BYPASS_CONFIG,
] as const;
