/** The configuration space as a driver reads it: sections "Device configuration layout" and "Device Initialization". */

import { IommuError, hasFeature } from '@viommu/common';
import type { DriverTransport } from '@viommu/transport';
import { BlkConfig } from './spec/config.ts';
import { BlkFeature } from './spec/feature.ts';
import { SECTOR_BYTES } from './spec/identity.ts';

const { offset: At } = BlkConfig;

/** What a device says about its disk; numbers that the driver can work with. */
export interface DriverConfig {
  readonly capacity: number;
  readonly blockBytes: number;
  readonly queues: number;
  readonly segmentsMax: number;
  readonly segmentBytesMax: number;
  readonly discardSectorsMax: number;
  readonly writeZeroesSectorsMax: number;
}

/** Sectors of the disk. @throws {IommuError} `EINVAL` for more than a number can count the bytes of. */
export function readCapacity(transport: DriverTransport): number {
  const capacity = transport.readConfig64(At.capacity);
  if (capacity * BigInt(SECTOR_BYTES) > BigInt(Number.MAX_SAFE_INTEGER))
    throw new IommuError('EINVAL', `A disk of ${capacity} sectors is none that exists.`);
  return Number(capacity);
}

/** Reads and checks everything. @throws {IommuError} `EINVAL` for what no disk can have, `EIO` if it keeps changing. */
export function readDriverConfig(transport: DriverTransport, features: bigint): DriverConfig {
  const capacity = readCapacity(transport);
  const read = (feature: number, offset: number, width: number, absent: number): number =>
    hasFeature(features, feature) ? transport.readConfig(offset, width) : absent;
  return transport.readConfigStable(() => {
    const blockBytes = read(BlkFeature.BLK_SIZE, At.blkSize, 4, SECTOR_BYTES);
    const queues = read(BlkFeature.MQ, At.numQueues, 2, 1);
    const segmentBytesMax = read(BlkFeature.SIZE_MAX, At.sizeMax, 4, Infinity);
    if (blockBytes < SECTOR_BYTES || !Number.isInteger(Math.log2(blockBytes)))
      throw new IommuError('EINVAL', `A disk cannot have blocks of ${blockBytes} bytes.`);
    if (queues < 1) throw new IommuError('EINVAL', 'A disk cannot be without a queue.');
    if (segmentBytesMax < SECTOR_BYTES)
      throw new IommuError('EINVAL', `Segments of ${segmentBytesMax} bytes hold no sector.`);
    return {
      capacity,
      blockBytes,
      queues,
      // A device that does not say takes one, and one that says none cannot mean it.
      segmentsMax: Math.max(1, read(BlkFeature.SEG_MAX, At.segMax, 4, 1)),
      segmentBytesMax,
      discardSectorsMax: read(BlkFeature.DISCARD, At.maxDiscardSectors, 4, 0),
      writeZeroesSectorsMax: read(BlkFeature.WRITE_ZEROES, At.maxWriteZeroesSectors, 4, 0),
    };
  });
}
