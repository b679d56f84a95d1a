/** Section "IOMMU Device / UNMAP request". */

import { type Iova, Status, addressAt, iova, type Range } from '@viommu/common';
import type { MappingPool } from './mapping-pool.ts';
import type { MappingStore } from './mapping-store.ts';
import { isBefore } from './reserved-region.ts';
import type { IommuState } from './state.ts';

// As constants of this module they cost nothing on the hot path.
const { OK, INVAL, RANGE, NOENT } = Status;

/**
 * Removes the mappings inside the range from `start` to `last`, both included; gaps are fine (5.1, 5.4), and so is any
 * alignment (5.3). What is removed is added to `removed`, if anybody wants to know.
 */
export function unmap(
  state: IommuState,
  domainId: number,
  startPage: number,
  startOffset: number,
  lastPage: number,
  lastOffset: number,
  removed: Range<Iova>[] | undefined,
): Status {
  if (isBefore(lastPage, lastOffset, startPage, startOffset)) return INVAL; // 5.2
  const domain = state.domains.get(domainId);
  if (domain === undefined) return NOENT; // iommu.dev.unmap.domain-missing
  if (domain.bypass) return INVAL; // iommu.dev.unmap.bypass-domain
  const { mappings } = domain;
  if (removed !== undefined)
    collect(state.pool, mappings, startPage, startOffset, lastPage, lastOffset, removed);
  // 5.6: all or nothing.
  if (!mappings.removeInside(startPage, startOffset, lastPage, lastOffset)) return RANGE; // iommu.dev.unmap.split-status, iommu.dev.unmap.split-removes-nothing
  state.revoke(startPage, lastPage);
  return OK; // iommu.dev.unmap.partial-coverage-ok
}

function collect(
  pool: MappingPool,
  mappings: MappingStore,
  startPage: number,
  startOffset: number,
  lastPage: number,
  lastOffset: number,
  into: Range<Iova>[],
): void {
  let slot = mappings.firstOverlap(startPage, startOffset, lastPage, lastOffset);
  while (slot >= 0 && pool.startsUpTo(slot, lastPage, lastOffset)) {
    into.push({
      start: iova(addressAt(pool.startPage(slot), pool.startOffset(slot))),
      last: iova(addressAt(pool.lastPage(slot), pool.lastOffset(slot))),
    });
    slot = mappings.next(slot);
  }
}
