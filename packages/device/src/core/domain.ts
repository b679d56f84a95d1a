/** A domain: an address space that endpoints share. It begins with its first endpoint and ends with its last. */

import { type DomainId, domainId } from '@viommu/common';
import type { Endpoint } from './endpoint.ts';
import type { MappingPool } from './mapping-pool.ts';
import { MappingStore } from './mapping-store.ts';
import type { PageRange, Reservation } from './reserved-region.ts';

/** A reserved region that endpoints of a domain have, and how many of them. */
interface Guard {
  readonly reservation: Reservation;
  endpoints: number;
}

/** One domain. */
export class Domain {
  readonly id: DomainId;
  /** A bypass domain: accesses are not translated, and nothing can be mapped. */
  readonly bypass: boolean;
  readonly endpoints: Set<Endpoint> = new Set<Endpoint>();
  readonly mappings: MappingStore;
  /** The reserved regions of all its endpoints (4.12); equal ones once, so that a MAP looks at few. */
  readonly #guards: Guard[] = [];

  constructor(id: number, bypass: boolean, pool: MappingPool) {
    this.id = domainId(id);
    this.bypass = bypass;
    this.mappings = new MappingStore(pool);
  }

  /** Puts an endpoint, which is in no domain, into this one. */
  add(endpoint: Endpoint): void {
    this.endpoints.add(endpoint);
    endpoint.domain = this;
    for (const reservation of endpoint.reservations) {
      const guard = this.#guardOf(reservation);
      if (guard === undefined) this.#guards.push({ reservation, endpoints: 1 });
      else guard.endpoints += 1;
    }
  }

  /** Takes an endpoint of this domain out of it. */
  remove(endpoint: Endpoint): void {
    this.endpoints.delete(endpoint);
    endpoint.domain = undefined;
    for (const reservation of endpoint.reservations) {
      const guard = this.#guardOf(reservation);
      if (guard === undefined) continue;
      guard.endpoints -= 1;
      if (guard.endpoints === 0) this.#guards.splice(this.#guards.indexOf(guard), 1);
    }
  }

  /** True if the range touches a granule of a reserved region. */
  isReserved(
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
  ): boolean {
    for (const { reservation } of this.#guards)
      if (reservation.guard.touches(startPage, startOffset, lastPage, lastOffset)) return true;
    return false;
  }

  /** True if a mapping touches a granule of a reserved region of `endpoint`. */
  conflictsWith(endpoint: Endpoint): boolean {
    return endpoint.reservations.some(({ guard }) => overlapsMapping(this.mappings, guard));
  }

  #guardOf({ guard: wanted }: Reservation): Guard | undefined {
    return this.#guards.find(
      ({ reservation: { guard } }) =>
        guard.startPage === wanted.startPage &&
        guard.startOffset === wanted.startOffset &&
        guard.lastPage === wanted.lastPage &&
        guard.lastOffset === wanted.lastOffset,
    );
  }
}

function overlapsMapping(mappings: MappingStore, of: PageRange): boolean {
  return mappings.overlaps(of.startPage, of.startOffset, of.lastPage, of.lastOffset);
}
