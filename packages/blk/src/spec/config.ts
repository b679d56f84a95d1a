/** Section "Block Device / Device configuration layout". */

import { type Struct, struct } from '@viommu/common';

const fields = {
  capacity: 'le64',
  sizeMax: 'le32',
  segMax: 'le32',
  cylinders: 'le16',
  heads: 'u8',
  sectors: 'u8',
  blkSize: 'le32',
  physicalBlockExp: 'u8',
  alignmentOffset: 'u8',
  minIoSize: 'le16',
  optIoSize: 'le32',
  writeback: 'u8',
  reserved0: 'u8',
  numQueues: 'le16',
  maxDiscardSectors: 'le32',
  maxDiscardSeg: 'le32',
  discardSectorAlignment: 'le32',
  maxWriteZeroesSectors: 'le32',
  maxWriteZeroesSeg: 'le32',
  writeZeroesMayUnmap: 'u8',
  reserved1: 'u8[3]',
  maxSecureEraseSectors: 'le32',
  maxSecureEraseSeg: 'le32',
  secureEraseSectorAlignment: 'le32',
} as const;

/**
 * The configuration space, up to what zoned disks add. `capacity` counts sectors of 512 bytes and is always there; each
 * other field has a meaning with its feature only. Nothing here is written by the driver.
 */
export const BlkConfig: Struct<typeof fields> = struct('virtio_blk_config', 72, fields);
