/**
 * Reserved regions of an endpoint: section "IOMMU Device / PROBE properties / RESV_MEM".
 *
 * They hold at all times, whether or not anybody probed for them (6.7). Ends are inclusive (6.6).
 */

import {
  IommuError,
  ProbeType,
  ReservedMemory,
  ReservedMemoryType,
  offsetInPage,
  overlaps,
  pageOf,
  range,
  type Range,
} from '@viommu/common';

/** What a region is for: nothing at all, or writes that are message-signalled interrupts. */
export type ReservedType = 'reserved' | 'msi';

/** A region that no mapping may touch. Both ends are included, and any alignment is fine. */
export interface ReservedRegion extends Range {
  readonly type: ReservedType;
}

/** A range as pages and offsets, for the hot paths. */
export class PageRange {
  readonly startPage: number;
  readonly startOffset: number;
  readonly lastPage: number;
  readonly lastOffset: number;

  constructor({ start, last }: Range) {
    this.startPage = pageOf(start);
    this.startOffset = offsetInPage(start);
    this.lastPage = pageOf(last);
    this.lastOffset = offsetInPage(last);
  }

  /** True if the range from `start` to `last` shares a byte with this one. */
  touches(startPage: number, startOffset: number, lastPage: number, lastOffset: number): boolean {
    return (
      !isBefore(lastPage, lastOffset, this.startPage, this.startOffset) &&
      !isBefore(this.lastPage, this.lastOffset, startPage, startOffset)
    );
  }

  /** True if the range from `start` to `last` lies inside this one. */
  holds(startPage: number, startOffset: number, lastPage: number, lastOffset: number): boolean {
    return (
      !isBefore(startPage, startOffset, this.startPage, this.startOffset) &&
      !isBefore(this.lastPage, this.lastOffset, lastPage, lastOffset)
    );
  }
}

/** True if address `a` is lower than address `b`. */
export function isBefore(aPage: number, aOffset: number, bPage: number, bOffset: number): boolean {
  return aPage < bPage || (aPage === bPage && aOffset < bOffset);
}

/** A reserved region as the device uses it. */
export class Reservation {
  readonly region: ReservedRegion;
  readonly msi: boolean;
  /**
   * The region to the byte. Mappings are whole granules, so they touch the region where they touch one of its granules,
   * and no rounding is needed for a region that is not aligned (6.11).
   */
  readonly pages: PageRange;

  constructor(region: ReservedRegion) {
    this.region = region;
    this.msi = region.type === 'msi';
    this.pages = new PageRange(region);
  }
}

/**
 * The regions of one endpoint, checked and in order.
 *
 * @throws {IommuError} `EINVAL` for regions that overlap, more than one for interrupts, or an end before its start;
 * `EOVERFLOW` for addresses beyond 64 bits.
 */
export function readRegions(regions: readonly ReservedRegion[]): Reservation[] {
  const ordered = regions
    .map((region) => ({ ...range(region.start, region.last), type: region.type }))
    .toSorted((a, b) => (a.start < b.start ? -1 : 1));
  ordered.forEach((region, index) => {
    const next = ordered[index + 1];
    // iommu.dev.resv.no-overlap
    if (next !== undefined && overlaps(region, next))
      throw new IommuError(
        'EINVAL',
        `Two reserved regions share the address 0x${next.start.toString(16)}.`,
      );
  });
  // iommu.dev.resv.single-msi
  if (ordered.filter(({ type }) => type === 'msi').length > 1)
    throw new IommuError('EINVAL', 'An endpoint has more than one region for interrupts.');
  return ordered.map((region) => new Reservation(region));
}

/** The properties that a PROBE returns for these regions. */
export function encodeProperties(reservations: readonly Reservation[]): Uint8Array {
  const bytes = new Uint8Array(reservations.length * ReservedMemory.size);
  const view = new DataView(bytes.buffer);
  reservations.forEach(({ region, msi }, index) => {
    // iommu.dev.probe.property-reserved-zero, iommu.dev.resv.reserved-zero: what is not named is written as zero.
    ReservedMemory.write(view, index * ReservedMemory.size, {
      type: ProbeType.RESV_MEM,
      // iommu.dev.probe.property-length: the header is not counted.
      length: ReservedMemory.size - ReservedMemory.offset.subtype,
      subtype: msi ? ReservedMemoryType.MSI : ReservedMemoryType.RESERVED,
      start: region.start,
      end: region.last,
    });
  });
  return bytes;
}
