export { type DiskBacking } from './backing.ts';
export { BlkCounter, BlkDevice } from './blk-device.ts';
export { BlkDriver, type Transfer } from './blk-driver.ts';
export { BLK_DRIVER_FEATURES } from './disk-session.ts';
export { type BlkAccess, type BlkDeviceOptions } from './device-options.ts';
export { type BlkDriverOptions, type Submitted } from './driver-options.ts';
export { type BlkFeatureOffer } from './feature-offer.ts';
export { MemoryBacking } from './memory-backing.ts';
export { BlkConfig } from './spec/config.ts';
export { BlkFeature } from './spec/feature.ts';
export { BLK_DEVICE_ID, BLK_NAME_BYTES, SECTOR_BYTES } from './spec/identity.ts';
export {
  BLK_STATUS_BYTES,
  BlkRange,
  BlkRangeFlag,
  BlkRequestHead,
  BlkRequestType,
  BlkStatus,
} from './spec/request.ts';
