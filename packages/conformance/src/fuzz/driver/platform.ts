/** Devices of every kind, drawn: what they offer, what their configuration says, and whether a driver can work with that. */

import {
  ADDRESS_MAX,
  type ErrorCode,
  IommuConfig,
  IommuFeature,
  VirtioFeature,
  featureMask,
  featureSet,
  hasFeature,
} from '@viommu/common';
import { type Habits, PEERS, PeerDevice } from '@viommu/device';
import type { ConfigInput } from '../../driver/register-script.ts';
import type { Random } from '../random.ts';

/** A device as it is drawn. */
export interface Platform {
  readonly offered: bigint;
  readonly config: ConfigInput;
  readonly queueSizes: readonly [requests: number, events: number];
  /** Features that the driver is told to leave alone. */
  readonly refused: bigint;
  readonly habits: Habits;
  /** FEATURES_OK does not stay. */
  readonly unwilling: boolean;
}

const PAGES = 0xffff_ffff_ffff_f000n;
const MASKS = [PAGES, PAGES, PAGES, 0x1000n, 0x20_1000n, 0x1800n, 1n, 0xffff_ffff_ffff_ffffn];
const LARGE_MASKS = [0x1_0000n, 0x20_0000n, 0x8000_0000_0000_0000n];
const INPUT_RANGES: readonly (readonly [start: bigint, last: bigint])[] = [
  [0n, ADDRESS_MAX],
  [0n, 0xff_ffffn],
  [0x10_0000n, 0x11_ffffn],
  [0x1_0800n, 0x2_07ffn],
  [0xffff_ffff_fff0_0000n, ADDRESS_MAX],
  [0xffff_0000n, 0x1_0000_ffffn],
];
const DOMAIN_RANGES: readonly (readonly [first: number, last: number])[] = [
  [0, 0xffff_ffff],
  [3, 9],
  [0, 2],
  [0xffff_fffd, 0xffff_ffff],
  [0x1_0000, 0x1_0005],
];
const SPLIT_SIZES = [16, 8, 4, 2, 32, 64, 256];
const PACKED_SIZES = [16, 7, 5, 3, 2, 24, 64, 100];
const SPLIT_EVENT_SIZES = [8, 4, 2, 1, 16];
const PACKED_EVENT_SIZES = [8, 3, 1, 2, 17];

const mask = (...bits: readonly number[]): bigint => featureSet(bits);
const ALWAYS = mask(IommuFeature.MAP_UNMAP, VirtioFeature.VERSION_1);
const USUAL = [
  IommuFeature.INPUT_RANGE,
  IommuFeature.DOMAIN_RANGE,
  IommuFeature.PROBE,
  IommuFeature.MMIO,
  IommuFeature.BYPASS_CONFIG,
] as const;
const RINGS = [
  VirtioFeature.RING_PACKED,
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
] as const;
const ODD = [
  VirtioFeature.IN_ORDER,
  VirtioFeature.NOTIFICATION_DATA,
  VirtioFeature.ACCESS_PLATFORM,
  VirtioFeature.ORDER_PLATFORM,
] as const;
/** Bits of others, and bits of nobody. */
const FOREIGN = [IommuFeature.BYPASS, VirtioFeature.SR_IOV, VirtioFeature.ADMIN_VQ, 7, 49, 63];

/** Draws a device that nothing is wrong with. */
export function randomPlatform(random: Random): Platform {
  let offered = ALWAYS;
  for (const bit of USUAL) if (!random.once(6)) offered |= featureMask(bit);
  for (const bit of RINGS) if (random.once(2)) offered |= featureMask(bit);
  for (const bit of ODD) if (random.once(4)) offered |= featureMask(bit);
  if (random.once(2)) offered |= featureMask(VirtioFeature.RING_RESET);
  if (random.once(4)) offered |= featureMask(random.pick(FOREIGN));
  const refused = random.once(4)
    ? mask(random.pick([...USUAL, ...RINGS]), random.pick([...ODD, ...RINGS]))
    : 0n;
  const [inputRangeStart, inputRangeEnd] = random.pick(INPUT_RANGES);
  const [domainRangeStart, domainRangeEnd] = random.pick(DOMAIN_RANGES);
  const packed = hasFeature(offered & ~refused, VirtioFeature.RING_PACKED);
  return {
    offered,
    refused,
    config: {
      pageSizeMask: random.pick(random.once(12) ? LARGE_MASKS : MASKS),
      inputRangeStart,
      inputRangeEnd,
      domainRangeStart,
      domainRangeEnd,
      probeSize: random.pick([96, 0, 1, 24, 200, 1024]),
      bypass: random.pick([0, 1, 3, 0xfe]),
    },
    queueSizes: [
      random.pick(packed ? PACKED_SIZES : SPLIT_SIZES),
      random.pick(packed ? PACKED_EVENT_SIZES : SPLIT_EVENT_SIZES),
    ],
    habits: random.once(3) ? random.pick(Object.values(PEERS)) : {},
    unwilling: false,
  };
}

/** The same with a configuration that may contradict itself. */
export function bent(random: Random, platform: Platform): Platform {
  const { config } = platform;
  const bends: readonly Partial<ConfigInput>[] = [
    { pageSizeMask: 0n },
    { inputRangeStart: config.inputRangeEnd, inputRangeEnd: config.inputRangeStart },
    { inputRangeStart: 1n, inputRangeEnd: 0n },
    { domainRangeStart: 1, domainRangeEnd: 0 },
    { domainRangeStart: 0xffff_ffff, domainRangeEnd: 0xffff_fffe },
    { probeSize: 0x1_0000 },
    { probeSize: 0x1_0001 },
    { probeSize: 0xffff_ffff },
    { inputRangeStart: 0x1000n, inputRangeEnd: 0x1000n },
    { domainRangeStart: 7, domainRangeEnd: 7 },
    { pageSizeMask: 0x8000_0000_0000_0000n },
    { bypass: 0xfe },
    {},
  ];
  const changed: Platform = { ...platform, config: { ...config, ...random.pick(bends) } };
  if (random.once(12)) return { ...changed, unwilling: true };
  if (!random.once(4)) return changed;
  const lost = random.pick([IommuFeature.MAP_UNMAP, VirtioFeature.VERSION_1]);
  return { ...changed, offered: changed.offered & ~featureMask(lost) };
}

/** What a driver must make of it: an error, or the ranges that it may use; a field without its feature has no meaning. */
export interface Verdict {
  readonly error: ErrorCode | undefined;
  readonly input: { readonly start: bigint; readonly last: bigint };
  readonly domains: { readonly first: number; readonly last: number };
  readonly probeSize: number;
  /** Single pages can be mapped. */
  readonly mappable: boolean;
}

/** More than this is a mistake, or an attack. */
const PROBE_SIZE_MAX = 0x1_0000;

export function verdictOf({ offered, refused, config, unwilling }: Platform): Verdict {
  const has = (bit: number): boolean => hasFeature(offered & ~refused, bit);
  const input = has(IommuFeature.INPUT_RANGE)
    ? { start: config.inputRangeStart, last: config.inputRangeEnd }
    : { start: 0n, last: ADDRESS_MAX };
  const domains = has(IommuFeature.DOMAIN_RANGE)
    ? { first: config.domainRangeStart, last: config.domainRangeEnd }
    : { first: 0, last: 0xffff_ffff };
  const probeSize = has(IommuFeature.PROBE) ? config.probeSize : 0;
  const pageSizeMask = config.pageSizeMask;
  let error: ErrorCode | undefined;
  if ((offered & ALWAYS) !== ALWAYS || unwilling) error = 'ENODEV';
  else if (
    pageSizeMask === 0n ||
    input.last < input.start ||
    domains.last < domains.first ||
    probeSize > PROBE_SIZE_MAX
  )
    error = 'EINVAL';
  return { error, input, domains, probeSize, mappable: (pageSizeMask & 0x1fffn) !== 0n };
}

/** A device that does the requests; regions and probe properties are the opponent's. */
export function coreOf(
  { offered, config, habits }: Platform,
  endpoints: readonly number[],
): PeerDevice {
  const has = (bit: number): boolean => hasFeature(offered, bit);
  const { inputRangeStart, inputRangeEnd } = config;
  const { domainRangeStart, domainRangeEnd } = config;
  const sane = inputRangeEnd >= inputRangeStart && domainRangeEnd >= domainRangeStart;
  return new PeerDevice({
    habits,
    endpoints: endpoints.map((id) => ({ id })),
    features: {
      inputRange: has(IommuFeature.INPUT_RANGE),
      domainRange: has(IommuFeature.DOMAIN_RANGE),
      mmio: has(IommuFeature.MMIO),
      bypassConfig: has(IommuFeature.BYPASS_CONFIG),
    },
    pageSizeMask: config.pageSizeMask === 0n ? PAGES : config.pageSizeMask,
    ...(sane && {
      inputRange: { start: inputRangeStart, last: inputRangeEnd },
      domainRange: { first: domainRangeStart, last: domainRangeEnd },
    }),
    limits: { mappingsPerDomain: 1 << 12 },
  });
}

/** The configuration as the driver reads it. */
export function shownConfig({ offered, config }: Platform): ConfigInput {
  // The fields of what is not offered are not there: any bytes.
  const has = (bit: number): boolean => hasFeature(offered, bit);
  return {
    ...config,
    ...(!has(IommuFeature.INPUT_RANGE) && { inputRangeStart: ADDRESS_MAX, inputRangeEnd: 0n }),
    ...(!has(IommuFeature.DOMAIN_RANGE) && { domainRangeStart: 0xffff_ffff, domainRangeEnd: 0 }),
    ...(!has(IommuFeature.PROBE) && { probeSize: 0xffff_ffff }),
    ...(!has(IommuFeature.BYPASS_CONFIG) && { bypass: 0xff }),
  };
}

export const CONFIG_BYTES: number = IommuConfig.size;
