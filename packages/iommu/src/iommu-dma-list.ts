/**
 * Lists of buffers as one range of addresses: how its pages lie, and which segments the device sees.
 *
 * Between the two steps an entry's `dmaPage` holds the number of its pages, so that nothing is allocated.
 */

import { PAGE_SIZE } from '@viommu/common';
import type { Device } from './device.ts';
import { clearSegment, pagesTouched } from './dma-list.ts';
import type { ScatterEntry } from './dma-ops.ts';
import type { PageRuns } from './map.ts';

/**
 * Puts the pages of a list one behind the other. Returns false if an entry is empty, or its size is no number.
 *
 * An entry that would cross the device's segment boundary begins at it, and the entry before is lengthened up to there:
 * the device then reaches what follows that entry in memory too, which is why this is for trusted devices only.
 */
export function layOut(
  list: readonly ScatterEntry[],
  count: number,
  device: Device,
  runs: PageRuns,
): boolean {
  const boundary = boundaryPages(device);
  let total = 0;
  for (let n = 0; n < count; n += 1) {
    const entry = list[n]!; // The caller's count.
    if (!(entry.sizeBytes > 0)) return false;
    const pages = pagesTouched(entry.offset & 0xfff, entry.sizeBytes);
    const left = boundary - (total % boundary);
    if (n > 0 && left !== boundary && left < pages) {
      list[n - 1]!.dmaPage += left; // Before `n`.
      total += left;
    }
    entry.dmaPage = pages;
    total += pages;
  }
  for (let n = 0; n < count; n += 1) {
    const { page, offset, dmaPage } = list[n]!; // The caller's count.
    runs.add(page + (offset >>> 12), dmaPage);
  }
  return true;
}

/** Writes the segments of a list that {@link layOut} saw and that is mapped from `firstPage` on. Returns how many. */
export function writeSegments(
  list: readonly ScatterEntry[],
  count: number,
  device: Device,
  firstPage: number,
): number {
  const boundary = boundaryPages(device);
  const { segmentBytesMax } = device;
  let segments = 0;
  let page = firstPage;
  let bytes = 0;
  // The last entry filled its last page, and so the next one can be part of its segment.
  let open = false;
  for (let n = 0; n < count; n += 1) {
    const entry = list[n]!; // The caller's count.
    const { sizeBytes, dmaPage: pages } = entry;
    const within = entry.offset & 0xfff;
    clearSegment(entry);
    if (open && within === 0 && page % boundary !== 0 && bytes + sizeBytes <= segmentBytesMax) {
      bytes += sizeBytes;
    } else {
      bytes = sizeBytes;
      const segment = list[segments]!; // There are no more segments than entries.
      segment.dmaPage = page;
      segment.dmaOffset = within;
      segments += 1;
    }
    list[segments - 1]!.dmaSizeBytes = bytes; // One was begun.
    page += pages;
    open = within + sizeBytes === pages * PAGE_SIZE;
  }
  return segments;
}

/** Pages from the start of the first segment to the end of the last. */
export function pagesOfSegments(list: readonly ScatterEntry[], count: number): number {
  let last = 0;
  while (last + 1 < count && list[last + 1]!.dmaSizeBytes > 0) last += 1; // The caller's count.
  const { dmaPage, dmaOffset, dmaSizeBytes } = list[last]!; // The same.
  return dmaPage - list[0]!.dmaPage + pagesTouched(dmaOffset, dmaSizeBytes); // The same.
}

function boundaryPages({ segmentBoundaryBytes }: Device): number {
  return Math.max(1, segmentBoundaryBytes / PAGE_SIZE);
}
