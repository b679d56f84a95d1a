/** Our device as the suite runs it, whichever thread it is in. */

import { IommuFeature, VirtioFeature, hasFeature } from '@viommu/common';
import type { EndpointOptions, FeatureOffer, IommuDeviceOptions } from '@viommu/device';
import type { TargetEndpoint, TargetRegion, TargetWish } from '../target.ts';

/** As on a PC, and one region more for the first endpoint. */
const MSI: TargetRegion = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' };
const RESERVED: TargetRegion = { start: 0x800_0000n, last: 0x800_ffffn, type: 'reserved' };
const [A, B, C, ABSENT] = [8, 0x1_0028, 9, 77];

/** The options of a device as a case wishes it. */
export function coreOptions(wish: TargetWish): Omit<
  IommuDeviceOptions,
  'endpoints' | 'observer'
> & {
  readonly endpoints: readonly EndpointOptions[];
} {
  const { withoutFeatures = 0n, withFeatures = 0n, reserved = [RESERVED, MSI] } = wish;
  const { pageSizeMask, inputRange, domainRange, probeSize, bypass, queueSize, limits } = wish;
  return {
    endpoints: [
      { id: A, reserved },
      { id: B, reserved: [MSI] },
      { id: C, reserved: [MSI] },
    ],
    features: offerOf(withoutFeatures, withFeatures),
    ...(pageSizeMask !== undefined && { pageSizeMask }),
    ...(inputRange !== undefined && { inputRange }),
    ...(domainRange !== undefined && { domainRange }),
    ...(probeSize !== undefined && { probeSize }),
    ...(bypass !== undefined && { bypass }),
    ...(queueSize !== undefined && { queueSize }),
    ...(limits !== undefined && { limits }),
  };
}

/** The endpoints as the suite knows them: all can make accesses. */
export function targetEndpoints(endpoints: readonly EndpointOptions[]): TargetEndpoint[] {
  return [
    ...endpoints.map(({ id, reserved = [] }): TargetEndpoint => ({
      id,
      role: 'present',
      reserved,
      dma: {},
    })),
    { id: ABSENT, role: 'absent' },
  ];
}

function offerOf(without: bigint, extra: bigint): FeatureOffer {
  const on = (bit: number, usual = true): boolean =>
    (usual || hasFeature(extra, bit)) && !hasFeature(without, bit);
  return {
    inputRange: on(IommuFeature.INPUT_RANGE),
    domainRange: on(IommuFeature.DOMAIN_RANGE),
    mapUnmap: on(IommuFeature.MAP_UNMAP),
    legacyBypass: on(IommuFeature.BYPASS, false),
    probe: on(IommuFeature.PROBE),
    mmio: on(IommuFeature.MMIO),
    bypassConfig: on(IommuFeature.BYPASS_CONFIG),
    indirect: on(VirtioFeature.INDIRECT_DESC),
    eventIndex: on(VirtioFeature.EVENT_IDX),
    inOrder: on(VirtioFeature.IN_ORDER),
    // Options of the device, and tried by the suite all the same.
    packed: on(VirtioFeature.RING_PACKED),
    notificationData: on(VirtioFeature.NOTIFICATION_DATA),
    ringReset: on(VirtioFeature.RING_RESET),
  };
}
