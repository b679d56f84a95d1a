/**
 * The DMA operations of a device: what its driver calls, whichever way its memory reaches it.
 *
 * Memory is a page number and an offset; so is the address that the device gets, and `into` receives it. None of these
 * calls throws for ordinary failure.
 */

import type { Context, ErrorCode } from '@viommu/common';
import type { Device } from './device.ts';

/** Who writes the memory, a bit for each access the device makes: READ 1, WRITE 2, as in `Protection`. */
export const Direction = {
  NONE: 0,
  /** The device reads. */
  TO_DEVICE: 1,
  /** The device writes. */
  FROM_DEVICE: 2,
  BIDIRECTIONAL: 3,
} as const;

export type Direction = (typeof Direction)[keyof typeof Direction];

/** Bits that change how a buffer is mapped or unmapped. */
export const DmaAttribute = {
  /** The memory is device registers. */
  MMIO: 1,
  /** Unmap only: nobody wants what the device wrote. */
  SKIP_CPU_SYNC: 2,
  /**
   * Several together, with one wait for all of them. Mapping: the caller asks {@link DmaOps.finishMap} before the device
   * can see the address. Unmapping: it calls {@link DmaOps.finishUnmaps} before anybody uses the memory otherwise.
   */
  LATER: 4,
} as const;

/** An address as the device uses it. Reused by its owner, so that a mapping allocates nothing. */
export class DmaAddress {
  page = 0;
  /** 0..4095. */
  offset = 0;
}

/** One piece of memory in a list, and the segment the device sees in its place. */
export class ScatterEntry {
  /** Where the memory lies. */
  page = 0;
  /** From the start of {@link page}; may be 4096 or more. */
  offset = 0;
  /** Bytes of memory. */
  sizeBytes = 0;
  /** The segment: only the first {@link DmaOps.mapList} returned so many of the list are meaningful. */
  dmaPage = 0;
  dmaOffset = 0;
  /** 0 if the list is not mapped. */
  dmaSizeBytes = 0;
}

/** Memory that processor and device share while both use it. */
export interface CoherentMemory {
  /** Where it lies, whole pages. */
  readonly page: number;
  readonly sizeBytes: number;
  /** What the device calls it. */
  readonly dmaPage: number;
}

/** One way from a driver's buffers to a device. Chosen once for each device. */
export interface DmaOps {
  /** `physical`: addresses as they are. `direct`: the same, checked and bounced where needed. */
  readonly kind: 'physical' | 'direct' | 'iommu' | 'grant';
  /** Makes a buffer reachable. False, with `into` unchanged, if that is not possible (`DMA_MAPPING_ERROR`). */
  map(
    context: Context,
    device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
    into: DmaAddress,
  ): boolean;
  /** Ends what `map` made; takes what it gave and was given. */
  unmap(
    context: Context,
    device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
  ): void;
  /** Makes the first `count` pieces reachable. Returns the number of segments, 1 or more, or why there are none. */
  mapList(
    context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): number | ErrorCode;
  /** Ends what `mapList` made; takes what it was given. */
  unmapList(
    context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): void;
  /**
   * True if the device reaches what was mapped {@link DmaAttribute.LATER} at this address, a mapping or a segment of a
   * list. The first call waits for all that were mapped so far, those for the others find it done.
   *
   * False if it was refused: the caller then unmaps the mapping, or the whole list, and does not ask again.
   */
  finishMap(device: Device, dmaPage: number, dmaOffset: number, sizeBytes: number): boolean;
  /** Ends all that was unmapped {@link DmaAttribute.LATER} so far, with at most one wait. */
  finishUnmaps(context: Context, device: Device): void;
  /** Takes cleared pages that both sides reach; `undefined` if there are none. */
  allocateCoherent(context: Context, device: Device, sizeBytes: number): CoherentMemory | undefined;
  freeCoherent(context: Context, device: Device, memory: CoherentMemory): void;
  /** Before the processor looks at a mapped buffer, or a part of it. */
  syncForCpu(
    context: Context,
    device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
  ): void;
  /** Before the device looks at it again. */
  syncForDevice(
    context: Context,
    device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
  ): void;
  /** Checks a DMA mask, 2^n - 1. @throws {IommuError} `EIO` if the device cannot have it with these operations. */
  checkMask(device: Device, mask: bigint): void;
  /** The most bytes that one mapping can have; `Infinity` if there is no limit. */
  mappingBytesMax(device: Device): number;
}
