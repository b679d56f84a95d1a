/** The options of a disk with everything filled in and checked, and what follows from them. */

import { IommuError, hasFeature } from '@viommu/common';
import type { BlkDeviceOptions } from './device-options.ts';
import type { DiskRules } from './disk-work.ts';
import { offeredBlkFeatures } from './feature-offer.ts';
import { BlkConfig } from './spec/config.ts';
import { BlkFeature } from './spec/feature.ts';
import { BLK_NAME_BYTES, SECTOR_BYTES } from './spec/identity.ts';

const QUEUES_MAX = 8;
const BLOCK_BYTES_MAX = 65_536;
const RANGES_MAX = 4096;
const U32_MAX = 0xffff_ffff;
/** Descriptors of a request besides those of its data: head and status. */
const FRAME = 2;

/** What a disk is. */
export interface BlkSettings {
  readonly offered: bigint;
  readonly config: Uint8Array;
  readonly queues: number;
  readonly queueSize: number;
  readonly name: Uint8Array;
  readonly chunkBytes: number;
  readonly rangesMax: number;
  /** What holds with a set of features. */
  rules(features: bigint): DiskRules;
}

/** Checks options. @throws {IommuError} `EINVAL` for those that make no disk. */
export function blkSettings(options: BlkDeviceOptions, queueSizeMax: number): BlkSettings {
  const { backing, readOnly = false, queues = 1, queueSize = 256, blockBytes = 512 } = options;
  const { segmentBytesMax = 1 << 20, rangeSectorsMax = 65_536, rangesMax = 32 } = options;
  const { chunkBytes = 65_536, name = 'viommu', access } = options;
  const packed = options.features?.packed === true;
  const segmentsMax = options.segmentsMax ?? Math.max(1, Math.min(128, queueSize - FRAME));
  const { sizeBytes } = backing;

  const check = (good: boolean, what: string): void => {
    if (!good) throw new IommuError('EINVAL', `A disk cannot have ${what}.`);
  };
  const isCount = (value: number, max: number): boolean =>
    Number.isInteger(value) && value >= 1 && value <= max;
  const isSectors = (bytes: number, max: number): boolean =>
    isCount(bytes, max) && bytes % SECTOR_BYTES === 0;
  const isPower = (value: number): boolean => Number.isInteger(Math.log2(value));
  check(sizeBytes === 0 || isSectors(sizeBytes, Number.MAX_SAFE_INTEGER), `${sizeBytes} bytes`);
  check(isCount(queues, QUEUES_MAX), `${queues} queues`);
  check(isCount(queueSize, queueSizeMax), `queues of ${queueSize} descriptors`);
  check(packed || isPower(queueSize), `split queues of ${queueSize} descriptors`);
  check(isPower(blockBytes) && isSectors(blockBytes, BLOCK_BYTES_MAX), `blocks of ${blockBytes}`);
  check(isCount(segmentsMax, Math.max(1, queueSize - FRAME)), `${segmentsMax} segments`);
  check(isSectors(segmentBytesMax, U32_MAX), `segments of ${segmentBytesMax} bytes`);
  check(isCount(rangeSectorsMax, U32_MAX), `ranges of ${rangeSectorsMax} sectors`);
  check(isCount(rangesMax, RANGES_MAX), `${rangesMax} ranges in a request`);
  check(isSectors(chunkBytes, Number.MAX_SAFE_INTEGER), `chunks of ${chunkBytes} bytes`);
  check(/^[ -~]{0,20}$/.test(name), `the name ${name}`);

  const platform = access !== undefined;
  const nature = { readOnly, multiQueue: queues > 1, platform };
  const offered = offeredBlkFeatures(options.features, nature);
  const has = (bit: number): boolean => hasFeature(offered, bit);
  const discard = has(BlkFeature.DISCARD);
  const writeZeroes = has(BlkFeature.WRITE_ZEROES);
  const config = BlkConfig.encode({
    capacity: BigInt(sizeBytes / SECTOR_BYTES),
    sizeMax: has(BlkFeature.SIZE_MAX) ? segmentBytesMax : 0,
    segMax: has(BlkFeature.SEG_MAX) ? segmentsMax : 0,
    cylinders: 0,
    heads: 0,
    sectors: 0,
    blkSize: has(BlkFeature.BLK_SIZE) ? blockBytes : 0,
    physicalBlockExp: 0,
    alignmentOffset: 0,
    minIoSize: 0,
    optIoSize: 0,
    writeback: 0,
    numQueues: has(BlkFeature.MQ) ? queues : 0,
    maxDiscardSectors: discard ? rangeSectorsMax : 0,
    maxDiscardSeg: discard ? rangesMax : 0,
    discardSectorAlignment: discard ? blockBytes / SECTOR_BYTES : 0,
    maxWriteZeroesSectors: writeZeroes ? rangeSectorsMax : 0,
    maxWriteZeroesSeg: writeZeroes ? rangesMax : 0,
    writeZeroesMayUnmap: writeZeroes ? 1 : 0,
    maxSecureEraseSectors: 0,
    maxSecureEraseSeg: 0,
    secureEraseSectorAlignment: 0,
  });
  const nameBytes = new Uint8Array(BLK_NAME_BYTES);
  nameBytes.set(Array.from(name, (character) => character.charCodeAt(0)));
  return {
    offered,
    config,
    queues,
    queueSize,
    name: nameBytes,
    chunkBytes,
    rangesMax,
    rules(features) {
      const negotiated = (bit: number): boolean => hasFeature(features, bit);
      return {
        readOnly,
        flush: negotiated(BlkFeature.FLUSH),
        writeThrough: has(BlkFeature.FLUSH) && !negotiated(BlkFeature.FLUSH),
        discard: negotiated(BlkFeature.DISCARD),
        writeZeroes: negotiated(BlkFeature.WRITE_ZEROES),
        // A driver that was not told of a limit need not keep it.
        segmentsMax: negotiated(BlkFeature.SEG_MAX) ? segmentsMax : Infinity,
        segmentBytesMax: negotiated(BlkFeature.SIZE_MAX) ? segmentBytesMax : Infinity,
        rangeSectorsMax,
        rangesMax,
      };
    },
  };
}
