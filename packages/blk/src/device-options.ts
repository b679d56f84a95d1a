/** What a disk is made of. */

import type { TranslatedMemory, Translator } from '@viommu/ring';
import type { DiskBacking } from './backing.ts';
import type { BlkFeatureOffer } from './feature-offer.ts';

/** What stands between a disk and guest memory, where something does. */
export interface BlkAccess {
  /** The memory that the transport gets, too. */
  readonly memory: TranslatedMemory;
  /** For drivers that negotiated ACCESS_PLATFORM: their addresses are the device's own. */
  readonly platform: Translator;
  /** For all others: their addresses are guest-physical. All of memory if absent. */
  readonly physical?: Translator;
  /** The device works with ACCESS_PLATFORM only. Default false. */
  readonly insists?: boolean;
}

export interface BlkDeviceOptions {
  readonly backing: DiskBacking;
  /** Absent, the device uses the transport's memory as it is, and offers no ACCESS_PLATFORM. */
  readonly access?: BlkAccess;
  readonly features?: BlkFeatureOffer;
  /** The answer to GET_ID: up to 20 ASCII characters. */
  readonly name?: string;
  /** The driver cannot change anything. Default false. */
  readonly readOnly?: boolean;
  /** Request queues, 1 to 8; the driver may use fewer. Default 1. */
  readonly queues?: number;
  /** The largest size of each queue, up to 32768; without packed rings a power of two. Default 256. */
  readonly queueSize?: number;
  /** The most pieces that the data of a request lies in. Default 128. */
  readonly segmentsMax?: number;
  /** The most bytes of a piece; a multiple of 512. Default 1 MiB. */
  readonly segmentBytesMax?: number;
  /** What the disk calls a block, a power of two from 512 on. Default 512. */
  readonly blockBytes?: number;
  /** The most sectors of one DISCARD or WRITE_ZEROES segment. Default 65536. */
  readonly rangeSectorsMax?: number;
  /** The most segments of one DISCARD or WRITE_ZEROES. Default 32. */
  readonly rangesMax?: number;
  /**
   * The most bytes moved in one call of `serve`, a multiple of 512: what others of the same thread have to wait for.
   * Default 64 KiB.
   */
  readonly chunkBytes?: number;
}
