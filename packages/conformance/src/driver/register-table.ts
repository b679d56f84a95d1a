/** The registers of virtio-mmio and the fields of an IOMMU's configuration, by what a driver may do with them. */

import {
  IommuConfig,
  IommuFeature,
  MmioRegister,
  VirtioFeature,
  featureMask,
  featureSet,
} from '@viommu/common';

const R = MmioRegister;
const at = IommuConfig.offset;

export const READ_ONLY: ReadonlySet<number> = new Set([
  R.MagicValue,
  R.Version,
  R.DeviceID,
  R.VendorID,
  R.DeviceFeatures,
  R.QueueSizeMax,
  R.InterruptStatus,
  R.SHMLenLow,
  R.SHMLenHigh,
  R.SHMBaseLow,
  R.SHMBaseHigh,
  R.ConfigGeneration,
]);
export const WRITE_ONLY: ReadonlySet<number> = new Set([
  R.DeviceFeaturesSel,
  R.DriverFeatures,
  R.DriverFeaturesSel,
  R.QueueSel,
  R.QueueSize,
  R.QueueNotify,
  R.InterruptACK,
  R.QueueDescLow,
  R.QueueDescHigh,
  R.QueueDriverLow,
  R.QueueDriverHigh,
  R.QueueDeviceLow,
  R.QueueDeviceHigh,
  R.SHMSel,
]);
export const KNOWN: ReadonlySet<number> = new Set(Object.values(R).filter((at) => at < R.Config));
export const SHARED_MEMORY: ReadonlySet<number> = new Set([
  R.SHMSel,
  R.SHMLenLow,
  R.SHMLenHigh,
  R.SHMBaseLow,
  R.SHMBaseHigh,
]);
export const LAYOUT: ReadonlySet<number> = new Set([
  R.QueueSize,
  R.QueueDescLow,
  R.QueueDescHigh,
  R.QueueDriverLow,
  R.QueueDriverHigh,
  R.QueueDeviceLow,
  R.QueueDeviceHigh,
]);
/** Fields of the configuration that are there with a feature only: first byte, last byte. */
export const OPTIONAL_FIELDS: readonly (readonly [feature: number, first: number, last: number])[] =
  [
    [IommuFeature.INPUT_RANGE, at.inputRangeStart, at.domainRangeStart - 1],
    [IommuFeature.DOMAIN_RANGE, at.domainRangeStart, at.probeSize - 1],
    [IommuFeature.PROBE, at.probeSize, at.bypass - 1],
    [IommuFeature.BYPASS_CONFIG, at.bypass, at.bypass],
  ];
/** Bits that a driver of an IOMMU over virtio-mmio can know. */
export const KNOWN_FEATURES: bigint = featureSet([
  ...Object.values(IommuFeature),
  ...Object.values(VirtioFeature),
]);
/** Bits of other transports. */
export const FOREIGN_FEATURES: bigint =
  featureMask(VirtioFeature.SR_IOV) |
  featureMask(VirtioFeature.NOTIF_CONFIG_DATA) |
  featureMask(VirtioFeature.ADMIN_VQ);

/** All of an IOMMU but the old BYPASS, and the usual rings. */
export const USUAL_FEATURES: bigint = featureSet([
  IommuFeature.INPUT_RANGE,
  IommuFeature.DOMAIN_RANGE,
  IommuFeature.MAP_UNMAP,
  IommuFeature.PROBE,
  IommuFeature.MMIO,
  IommuFeature.BYPASS_CONFIG,
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.VERSION_1,
]);
