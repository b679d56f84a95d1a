/** Section "IOMMU Device / MAP request". */

import { MapFlag, PAGE_MAX, PAGE_SIZE, Status } from '@viommu/common';
import { isBefore } from './reserved-region.ts';
import type { IommuState } from './state.ts';

// As constants of this module they cost nothing on the hot path.
const { OK, INVAL, RANGE, NOENT, NOMEM } = Status;
const READ_AND_WRITE = MapFlag.READ | MapFlag.WRITE;
const { MMIO } = MapFlag;

/** Maps the range from `start` to `last`, both included, to the one that begins at `phys`. */
export function map(
  state: IommuState,
  domainId: number,
  startPage: number,
  startOffset: number,
  lastPage: number,
  lastOffset: number,
  physPage: number,
  physOffset: number,
  flags: number,
): Status {
  // iommu.dev.map.flags-unknown; 4.7: MMIO is known once negotiated. 4.4: no flag at all is a mapping as well.
  const known = state.mmio ? READ_AND_WRITE | MMIO : READ_AND_WRITE;
  if ((flags & ~known) !== 0) return INVAL;
  if (isBefore(lastPage, lastOffset, startPage, startOffset)) return INVAL; // 4.2
  if (!state.input.holds(startPage, startOffset, lastPage, lastOffset)) return RANGE; // 4.8
  // 4.9; exact, since page numbers stay below 2^53.
  const physLast = physOffset + lastOffset - startOffset;
  const carry = physLast < 0 ? -1 : physLast >= PAGE_SIZE ? 1 : 0;
  if (physPage + (lastPage - startPage) + carry > PAGE_MAX) return RANGE;

  const domain = state.domains.get(domainId);
  if (domain === undefined) return NOENT; // iommu.dev.map.domain-missing
  if (domain.bypass) return INVAL; // iommu.dev.map.bypass-domain

  // iommu.dev.map.unaligned
  if (
    !startsGranule(state, startPage, startOffset) ||
    !startsGranule(state, physPage, physOffset) ||
    !endsGranule(state, lastPage, lastOffset)
  )
    return RANGE;
  // iommu.dev.resv.map-overlap-rejected, 4.11
  if (domain.isReserved(startPage, startOffset, lastPage, lastOffset)) return INVAL;

  const { mappings } = domain;
  const { limits, pool } = state;
  if (mappings.size >= limits.mappingsPerDomain || pool.mappings >= limits.mappings) {
    // 9.5: a range that is taken already is the driver's error before it is our shortage; 4.15.
    const taken = mappings.overlaps(startPage, startOffset, lastPage, lastOffset);
    return taken ? INVAL : NOMEM;
  }
  const inserted = mappings.insert(
    startPage,
    startOffset,
    lastPage,
    lastOffset,
    physPage,
    physOffset,
    flags,
  );
  return inserted ? OK : INVAL; // iommu.dev.map.overlap
}

function startsGranule(state: IommuState, page: number, offset: number): boolean {
  return (
    (offset & state.offsetMask) === 0 &&
    (state.granulePages === 1 || page % state.granulePages === 0)
  );
}

function endsGranule(state: IommuState, page: number, offset: number): boolean {
  return (
    (offset & state.offsetMask) === state.offsetMask &&
    (state.granulePages === 1 || (page + 1) % state.granulePages === 0)
  );
}
