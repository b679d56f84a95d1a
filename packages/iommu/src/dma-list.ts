/** What all DMA operations do with lists of buffers, and how many pages a buffer touches. */

import { type Context, type ErrorCode, PAGE_MAX, PAGE_SIZE } from '@viommu/common';
import type { Device } from './device.ts';
import {
  type Direction,
  type DmaAddress,
  DmaAttribute,
  type DmaOps,
  type ScatterEntry,
} from './dma-ops.ts';

/** The device has written nothing that anybody wants. */
const UNDO = DmaAttribute.SKIP_CPU_SYNC;

/** Pages that a buffer touches; `offset` may lie in a later page than the first. */
export function pagesTouched(offset: number, sizeBytes: number): number {
  const end = offset + sizeBytes + (PAGE_SIZE - 1);
  // A division costs more than the rest, and few buffers are as large as 2 GiB.
  return end < 0x8000_0000 ? end >> 12 : Math.floor(end / PAGE_SIZE);
}

/** Maps each entry by itself; `EIO`, with nothing mapped, if one cannot be. `address` is the caller's own. */
export function mapEach(
  ops: DmaOps,
  address: DmaAddress,
  context: Context,
  device: Device,
  list: readonly ScatterEntry[],
  count: number,
  direction: Direction,
  attributes: number,
): number | ErrorCode {
  if (!(count > 0 && count <= list.length)) return 'EINVAL';
  let done = 0;
  try {
    for (; done < count; done += 1) {
      const entry = list[done]!; // Below `length`.
      const { page, offset, sizeBytes } = entry;
      if (!ops.map(context, device, page, offset, sizeBytes, direction, attributes, address)) break;
      entry.dmaPage = address.page;
      entry.dmaOffset = address.offset;
      entry.dmaSizeBytes = sizeBytes;
    }
    if (done === count) return count;
  } catch (error) {
    unmapEach(ops, context, device, list, done, direction, UNDO);
    throw error;
  }
  unmapEach(ops, context, device, list, done, direction, UNDO);
  clearSegments(list, count);
  return 'EIO';
}

/** Ends what {@link mapEach} made. Can be started again if it was interrupted. */
export function unmapEach(
  ops: DmaOps,
  context: Context,
  device: Device,
  list: readonly ScatterEntry[],
  count: number,
  direction: Direction,
  attributes: number,
): void {
  for (let n = 0; n < count; n += 1) {
    const entry = list[n]!; // The caller's count.
    const { dmaPage, dmaOffset, dmaSizeBytes } = entry;
    if (dmaSizeBytes === 0) continue;
    ops.unmap(context, device, dmaPage, dmaOffset, dmaSizeBytes, direction, attributes);
    clearSegment(entry);
  }
}

/** Marks entries as not mapped. */
export function clearSegments(list: readonly ScatterEntry[], count: number): void {
  for (let n = 0; n < count; n += 1) clearSegment(list[n]!); // The caller's count.
}

/** Marks an entry as not mapped. The address of no mapping is the last one: all ones. */
export function clearSegment(entry: ScatterEntry): void {
  entry.dmaPage = PAGE_MAX;
  entry.dmaOffset = PAGE_SIZE - 1;
  entry.dmaSizeBytes = 0;
}
