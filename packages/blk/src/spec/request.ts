/** Section "Block Device / Device Operation". */

import { type Struct, struct } from '@viommu/common';

/** The `type` of a request. */
export const BlkRequestType = {
  /** The device writes memory: a read of the disk. */
  IN: 0,
  /** The device reads memory: a write to the disk. */
  OUT: 1,
  FLUSH: 4,
  GET_ID: 8,
  GET_LIFETIME: 10,
  DISCARD: 11,
  WRITE_ZEROES: 13,
  SECURE_ERASE: 14,
} as const;

export type BlkRequestType = (typeof BlkRequestType)[keyof typeof BlkRequestType];

/** The last device-writable byte of every request. */
export const BlkStatus = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;

export type BlkStatus = (typeof BlkStatus)[keyof typeof BlkStatus];

/** Bytes of the status. */
export const BLK_STATUS_BYTES = 1;

const head = { type: 'le32', reserved: 'le32', sector: 'le64' } as const;

/** The first device-readable bytes of every request. `sector` matters to IN and OUT. */
export const BlkRequestHead: Struct<typeof head> = struct('virtio_blk_req', 16, head, {
  type: { values: BlkRequestType },
});

/** Bits of `flags` in a {@link BlkRange}. */
export const BlkRangeFlag = {
  /** WRITE_ZEROES only: the device may give up the storage. */
  UNMAP: 0x1,
} as const;

const range = { sector: 'le64', numSectors: 'le32', flags: 'le32' } as const;

/** One segment of the data of DISCARD and WRITE_ZEROES. */
export const BlkRange: Struct<typeof range> = struct('virtio_blk_discard_write_zeroes', 16, range, {
  flags: { bits: BlkRangeFlag },
});
