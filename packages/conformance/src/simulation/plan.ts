/** What a seed has: which device, which guest, what goes wrong. Each seed leaves most kinds of things out. */

import { VirtioFeature, featureMask } from '@viommu/common';
import type { EndpointOptions, IommuDeviceOptions } from '@viommu/device';
import { DRIVER_FEATURES, type IommuDriverOptions } from '@viommu/driver';
import type { Random } from '../fuzz/random.ts';

/** What may go wrong. After the last five, calls may fail until the guest has started anew. */
export const STRIKES = [
  'spurious wake-up',
  'spurious interrupt',
  'configuration change',
  'pause',
  'migration',
  'long pause',
  'DEVICE_NEEDS_RESET',
  'reset',
  'death',
  'scribble',
] as const;
export type Strike = (typeof STRIKES)[number];

/** What the guest does. */
export const OPERATIONS = [
  'map',
  'unmap',
  'list',
  'coherent',
  'sync',
  'late',
  'rest',
  'events',
  'drain',
  'disk',
  'plug',
  'type',
  'owner',
  'sleep',
  'queue reset',
  'restart',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/** A device of the guest that does DMA. */
export interface EnginePlan {
  readonly name: string;
  readonly ids: readonly number[];
  readonly untrusted: boolean;
  readonly dmaMask: bigint | undefined;
}

export interface Plan {
  readonly device: IommuDeviceOptions;
  readonly driver: Partial<IommuDriverOptions>;
  /** Turns without work before the host asks for notifications and sleeps. */
  readonly hostPolls: number;
  /** The driver asks for turns itself in place of polling and sleeping. */
  readonly idle: boolean;
  readonly commandLine: string;
  /** Not every device can have all the domains that it could use. */
  readonly fewDomains: boolean;
  /** Every buffer bounces. */
  readonly bounced: boolean;
  readonly engines: readonly EnginePlan[];
  readonly disk: boolean;
  readonly strikes: readonly Strike[];
  readonly strikePeriod: number;
  readonly accessPeriod: number;
  readonly delays: boolean;
  /** Race points between two that another context uses, about; 0: there is one context. */
  readonly racePeriod: number;
  readonly operations: readonly Operation[];
  readonly steps: number;
}

export const DISK_ID = 16;
/** Reserved for some endpoints. */
export const RESERVED = [
  { start: 0xfff0_0000n, last: 0xfff0_3fffn, type: 'reserved' },
  { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
] as const;

const POLICIES = [
  'iommu.strict=1',
  'iommu.strict=0 iommu.fqSize=4 iommu.fqTimeout=5',
  'iommu.strict=0 iommu.fqSize=16',
  'iommu.strict=0 iommu.fq=single iommu.fqSize=8 iommu.fqTimeout=40',
  'iommu.passthrough=1',
] as const;
const RING_FEATURES = [
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.IN_ORDER,
] as const;

export function makePlan(random: Random): Plan {
  const bounced = random.once(8);
  const disk = random.once(3);
  const fewDomains = random.once(6);
  const reserved = random.once(2) ? RESERVED : [];
  const engines = enginesOf(random);
  const endpoints: EndpointOptions[] = engines.flatMap(({ ids }) =>
    ids.map((id) => ({ id, reserved: [...reserved] })),
  );
  const harsh = random.once(3);
  const strikes = STRIKES.slice(0, harsh ? undefined : 5).filter(() => random.once(2));
  // An owner's domains stay with the group, and there would be none for a device that comes back.
  const others = OPERATIONS.slice(3).filter(
    (operation) => random.once(2) && !(fewDomains && operation === 'owner'),
  );
  return {
    bounced,
    fewDomains,
    disk,
    engines,
    device: {
      endpoints: disk ? [...endpoints, { id: DISK_ID }] : endpoints,
      queueSize: random.pick([64, 256, 16, 128, 4, 64, 8]),
      batchUsed: random.once(3),
      bypass: random.once(4),
      inputRange: { start: random.pick([0n, 0x1000n]), last: random.pick(LASTS) },
      domainRange: { first: random.number(2), last: fewDomains ? 5 : 64 },
      features: { packed: random.once(2), notificationData: random.once(4) },
      ...(random.once(8) && { limits: { mappingsPerDomain: 12, mappings: 20 } }),
    },
    driver: {
      features: RING_FEATURES.filter(() => random.once(3)).reduce(
        (bits, bit) => bits & ~featureMask(bit),
        DRIVER_FEATURES,
      ),
      eventQueueSize: random.pick([16, 2, 4]),
      pollsMax: random.pick([0, 1, 3]),
    },
    hostPolls: random.pick([0, 3, 12]),
    idle: random.once(4),
    commandLine: [
      random.pick(POLICIES),
      bounced ? 'swiotlb=128,force' : 'swiotlb=128',
      ...(random.once(4) ? [`viommu.bypass=${random.number(2)}`] : []),
    ].join(' '),
    strikes,
    strikePeriod: strikes.length === 0 ? 0 : random.pick(harsh ? [200, 80] : [40, 12, 150]),
    accessPeriod: random.pick([20, 0, 4, 150]),
    delays: random.once(2),
    racePeriod: random.pick([0, 3, 12]),
    operations: ['map', 'map', 'list', 'unmap', 'unmap', ...others],
    steps: 12 + random.number(40),
  };
}

const LASTS = [(1n << 48n) - 1n, 0xffff_ffffn, 0xfff0_7fffn, 0x3f_ffffn] as const;

function enginesOf(random: Random): EnginePlan[] {
  const count = 1 + random.number(3);
  return Array.from({ length: count }, (_, index) => ({
    name: `engine${index}`,
    ids: random.once(4) ? [8 + 2 * index, 9 + 2 * index] : [8 + 2 * index],
    untrusted: random.once(4),
    dmaMask: random.once(4) ? 0xffff_ffffn : undefined,
  }));
}
