/** Accesses of endpoints: section "IOMMU Device / Device operations", and "Fault reporting" for those refused. */

import { FaultReason, MapFlag, PAGE_MAX, PAGE_SIZE } from '@viommu/common';
import type { Endpoint } from './endpoint.ts';
import { type MappingPool, NONE } from './mapping-pool.ts';
import { isBefore, type Reservation } from './reserved-region.ts';
import type { IommuState } from './state.ts';
import { PieceKind, TranslateOutcome, type Translation } from './translation.ts';

/**
 * Translates the `length` bytes from `offset` in `page` for an access of `endpoint`; `access` are bits of `MapFlag`.
 * Either every byte can be accessed so, or none is.
 */
export function translate(
  state: IommuState,
  endpoint: Endpoint,
  page: number,
  offset: number,
  length: number,
  access: number,
  into: Translation,
): TranslateOutcome {
  into.count = 0;
  // An endpoint that adds to an address of its guest's may leave 64 bits; there is no such address to report.
  if (page > PAGE_MAX) return refuse(FaultReason.UNKNOWN, PAGE_MAX, PAGE_SIZE - 1, into);
  // No access goes beyond the last address.
  if (page + Math.floor((offset + length - 1) / PAGE_SIZE) > PAGE_MAX)
    return refuse(FaultReason.UNKNOWN, page, offset, into);

  const { domain, reservations } = endpoint;
  let pass = false;
  if (domain === undefined) pass = state.unattachedPass;
  else pass = domain.bypass;
  const { pool } = state;
  let remaining = length;
  /** The mapping of the piece before this one. */
  let slot = NONE;
  while (remaining > 0) {
    let bytes = remaining;
    if (reservations.length > 0) {
      // 6.7: reserved regions come before everything else, in a bypass domain and without a domain as well.
      const reservation = reservationFrom(reservations, page, offset);
      if (reservation !== undefined) {
        const { pages, msi } = reservation;
        const before = distance(page, offset, pages.startPage, pages.startOffset);
        if (before <= 0) {
          // iommu.dev.resv.access-contained; 6.12: only a write is an interrupt.
          if (!msi || access !== MapFlag.WRITE)
            return refuse(FaultReason.MAPPING, page, offset, into);
          bytes = Math.min(bytes, distance(page, offset, pages.lastPage, pages.lastOffset) + 1);
          into.add(page, offset, bytes, PieceKind.MSI);
          remaining -= bytes;
          offset += bytes;
          page += Math.floor(offset / PAGE_SIZE);
          offset %= PAGE_SIZE;
          continue;
        }
        bytes = Math.min(bytes, before);
      }
    }
    if (pass) {
      into.add(page, offset, bytes, PieceKind.IDENTITY);
    } else {
      // iommu.dev.req.unattached-no-access, 8.10
      if (domain === undefined) return refuse(FaultReason.DOMAIN, page, offset, into);
      // Mappings side by side are found by a step from one to the next.
      if (slot !== NONE) slot = domain.mappings.next(slot);
      if (slot === NONE || !holds(pool, slot, page, offset))
        slot = domain.mappings.find(page, offset);
      // iommu.dev.map.write-needs-flag, 4.5, 4.6; 8.9: a missing permission is a missing mapping.
      if (slot === NONE || (pool.flags(slot) & access) !== access)
        return refuse(FaultReason.MAPPING, page, offset, into);
      bytes = Math.min(
        bytes,
        distance(page, offset, pool.lastPage(slot), pool.lastOffset(slot)) + 1,
      );
      // The physical address is as far into its range as the address is into the mapping.
      const physOffset = pool.physOffset(slot) + offset - pool.startOffset(slot);
      const carry = physOffset < 0 ? -1 : physOffset >= PAGE_SIZE ? 1 : 0;
      into.add(
        pool.physPage(slot) + (page - pool.startPage(slot)) + carry,
        physOffset - carry * PAGE_SIZE,
        bytes,
        PieceKind.MEMORY,
      );
    }
    remaining -= bytes;
    offset += bytes;
    page += Math.floor(offset / PAGE_SIZE);
    offset %= PAGE_SIZE;
  }
  return TranslateOutcome.OK;
}

/** 8.8: the address of a fault is the first byte that could not be translated. */
function refuse(
  reason: FaultReason,
  page: number,
  offset: number,
  into: Translation,
): TranslateOutcome {
  into.refuse(reason, page, offset);
  return TranslateOutcome.FAULT;
}

/** The lowest reservation that ends at or behind an address; there are few, in order. */
function reservationFrom(
  reservations: readonly Reservation[],
  page: number,
  offset: number,
): Reservation | undefined {
  for (const reservation of reservations) {
    const { lastPage, lastOffset } = reservation.pages;
    if (!isBefore(lastPage, lastOffset, page, offset)) return reservation;
  }
  return undefined;
}

function holds(pool: MappingPool, slot: number, page: number, offset: number): boolean {
  return pool.startsUpTo(slot, page, offset) && pool.reaches(slot, page, offset);
}

/** Bytes from one address to another; may round if they are 2^53 or more, which is more than any access has. */
function distance(page: number, offset: number, toPage: number, toOffset: number): number {
  return (toPage - page) * PAGE_SIZE + (toOffset - offset);
}
