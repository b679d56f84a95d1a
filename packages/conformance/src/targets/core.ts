/** Our device, in this thread. */

import { iova as iovaOf, MapFlag, IommuFeature, VirtioFeature, hasFeature } from '@viommu/common';
import {
  type EndpointOptions,
  IommuDevice,
  type IommuDeviceOptions,
  PieceKind,
  TranslateOutcome,
  type FeatureOffer,
} from '@viommu/device';
import type { SharedMemory } from '@viommu/ring';
import type {
  DeviceTargetFactory,
  DmaDirection,
  DmaOutcome,
  TargetEndpoint,
  TargetRegion,
  TargetWish,
} from '../target.ts';
import { type VirtioDeviceParts, virtioDeviceTarget } from './virtio-device-target.ts';

/** As on a PC: an MSI window below 4 GiB. The first endpoint has one more region, and wide open numbers are used. */
const MSI: TargetRegion = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' };
const RESERVED: TargetRegion = { start: 0x800_0000n, last: 0x800_ffffn, type: 'reserved' };
const A = 8;
const B = 0x1_0028;
const C = 9;
const ABSENT = 77;

/** `viommu conform --target core`. */
export const coreTarget: DeviceTargetFactory = virtioDeviceTarget('core', (wish) =>
  createCore(wish),
);

/** A device as a case wishes it; `more` changes options of it. */
export function createCore(
  wish: TargetWish,
  more: IommuDeviceOptions = {},
): VirtioDeviceParts & { readonly device: IommuDevice } {
  const { reserved = [RESERVED, MSI], withoutFeatures = 0n, withFeatures = 0n } = wish;
  const endpoints: EndpointOptions[] = [
    { id: A, reserved },
    { id: B, reserved: [MSI] },
    { id: C, reserved: [MSI] },
  ];
  const device = new IommuDevice({
    endpoints,
    features: offerOf(withoutFeatures, withFeatures),
    ...(wish.pageSizeMask === undefined ? {} : { pageSizeMask: wish.pageSizeMask }),
    ...(wish.inputRange === undefined ? {} : { inputRange: wish.inputRange }),
    ...(wish.domainRange === undefined ? {} : { domainRange: wish.domainRange }),
    ...(wish.probeSize === undefined ? {} : { probeSize: wish.probeSize }),
    ...(wish.bypass === undefined ? {} : { bypass: wish.bypass }),
    ...(wish.queueSize === undefined ? {} : { queueSize: wish.queueSize }),
    ...more,
  });
  return {
    device,
    endpoints: [
      ...endpoints.map(({ id, reserved: regions = [] }): TargetEndpoint => ({
        id,
        role: 'present',
        reserved: regions,
        dma: {},
      })),
      { id: ABSENT, role: 'absent' },
    ],
    dma: (...access) => translatedAccess(device, ...access),
  };
}

/** An endpoint of our device reads or writes memory. */
export function translatedAccess(
  { iommu }: IommuDevice,
  endpoint: number,
  direction: DmaDirection,
  iova: bigint,
  bytes: Uint8Array,
  memory: SharedMemory,
): DmaOutcome {
  const access = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
  const { outcome, translation } = iommu.translateRange(
    endpoint,
    iovaOf(iova),
    bytes.length,
    access,
  );
  if (outcome !== TranslateOutcome.OK) return 'refused';
  let at = 0;
  for (let piece = 0; piece < translation.count; piece += 1) {
    const length = translation.length[piece] ?? 0;
    // A doorbell goes to the interrupt controller, which is not part of the suite.
    if (translation.kind[piece] !== PieceKind.MSI) {
      const address = translation.address(piece);
      const position = memory.locate(
        Number(address & 0xffff_ffffn),
        Number(address >> 32n),
        length,
      );
      if (position < 0) return 'refused';
      if (direction === 'read') memory.read(position, bytes, at, length);
      else memory.write(position, bytes, at, length);
    }
    at += length;
  }
  return 'done';
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
    // Not offered by default, and tried by the suite all the same.
    packed: on(VirtioFeature.RING_PACKED),
    notificationData: on(VirtioFeature.NOTIFICATION_DATA),
    ringReset: on(VirtioFeature.RING_RESET),
  };
}
