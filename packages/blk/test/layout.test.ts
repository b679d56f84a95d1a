/** The structures of a disk, from tables that were written with the standard open, and its numbers. */

import {
  BLK_DEVICE_ID,
  BLK_NAME_BYTES,
  BLK_STATUS_BYTES,
  BlkConfig,
  BlkFeature,
  BlkRange,
  BlkRangeFlag,
  BlkRequestHead,
  BlkRequestType,
  BlkStatus,
  SECTOR_BYTES,
} from '@viommu/blk';
import { describe, expect, it } from 'vitest';

type Row = readonly [field: string, offset: number, width: number];

const LAYOUTS: readonly (readonly [
  typeof BlkConfig | typeof BlkRange | typeof BlkRequestHead,
  string,
  number,
  readonly Row[],
])[] = [
  [
    BlkConfig,
    'virtio_blk_config',
    72,
    [
      ['capacity', 0, 8],
      ['sizeMax', 8, 4],
      ['segMax', 12, 4],
      ['cylinders', 16, 2],
      ['heads', 18, 1],
      ['sectors', 19, 1],
      ['blkSize', 20, 4],
      ['physicalBlockExp', 24, 1],
      ['alignmentOffset', 25, 1],
      ['minIoSize', 26, 2],
      ['optIoSize', 28, 4],
      ['writeback', 32, 1],
      ['reserved0', 33, 1],
      ['numQueues', 34, 2],
      ['maxDiscardSectors', 36, 4],
      ['maxDiscardSeg', 40, 4],
      ['discardSectorAlignment', 44, 4],
      ['maxWriteZeroesSectors', 48, 4],
      ['maxWriteZeroesSeg', 52, 4],
      ['writeZeroesMayUnmap', 56, 1],
      ['reserved1', 57, 3],
      ['maxSecureEraseSectors', 60, 4],
      ['maxSecureEraseSeg', 64, 4],
      ['secureEraseSectorAlignment', 68, 4],
    ],
  ],
  [
    BlkRequestHead,
    'virtio_blk_req',
    16,
    [
      ['type', 0, 4],
      ['reserved', 4, 4],
      ['sector', 8, 8],
    ],
  ],
  [
    BlkRange,
    'virtio_blk_discard_write_zeroes',
    16,
    [
      ['sector', 0, 8],
      ['numSectors', 8, 4],
      ['flags', 12, 4],
    ],
  ],
];

describe('layouts', () => {
  it.each(LAYOUTS)(
    '%# has its fields at the offsets of the standard',
    (layout, name, size, rows) => {
      expect([layout.name, layout.size]).toEqual([name, size]);
      expect(layout.fields.map((field) => [field.name, field.offset, field.width])).toEqual(rows);
    },
  );

  it('numbers are those of the standard', () => {
    expect([BLK_DEVICE_ID, SECTOR_BYTES, BLK_NAME_BYTES, BLK_STATUS_BYTES]).toEqual([
      2, 512, 20, 1,
    ]);
    expect(BlkFeature).toEqual({
      SIZE_MAX: 1,
      SEG_MAX: 2,
      GEOMETRY: 4,
      RO: 5,
      BLK_SIZE: 6,
      FLUSH: 9,
      TOPOLOGY: 10,
      CONFIG_WCE: 11,
      MQ: 12,
      DISCARD: 13,
      WRITE_ZEROES: 14,
      LIFETIME: 15,
      SECURE_ERASE: 16,
      ZONED: 17,
    });
    expect(BlkRequestType).toEqual({
      IN: 0,
      OUT: 1,
      FLUSH: 4,
      GET_ID: 8,
      GET_LIFETIME: 10,
      DISCARD: 11,
      WRITE_ZEROES: 13,
      SECURE_ERASE: 14,
    });
    expect([BlkStatus, BlkRangeFlag]).toEqual([{ OK: 0, IOERR: 1, UNSUPP: 2 }, { UNMAP: 1 }]);
  });
});
