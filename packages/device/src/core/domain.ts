/** A domain: an address space that endpoints share. It begins with its first endpoint and ends with its last. */

import { type DomainId, domainId } from '@viommu/common';
import type { Endpoint } from './endpoint.ts';
import type { MappingPool } from './mapping-pool.ts';
import { MappingStore } from './mapping-store.ts';
import type { PageRange } from './reserved-region.ts';

/** A reserved region of endpoints of a domain, and how many have it. */
interface Guard {
  readonly pages: PageRange;
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
    for (const { pages } of endpoint.reservations) {
      const guard = this.#guardOf(pages);
      if (guard === undefined) this.#guards.push({ pages, endpoints: 1 });
      else guard.endpoints += 1;
    }
  }

  /** Takes an endpoint of this domain out of it. */
  remove(endpoint: Endpoint): void {
    this.endpoints.delete(endpoint);
    endpoint.domain = undefined;
    for (const { pages } of endpoint.reservations) {
      const guard = this.#guardOf(pages);
      if (guard === undefined) continue;
      guard.endpoints -= 1;
      if (guard.endpoints === 0) this.#guards.splice(this.#guards.indexOf(guard), 1);
    }
  }

  /** True if the range touches a reserved region. */
  isReserved(
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
  ): boolean {
    for (const { pages } of this.#guards)
      if (pages.touches(startPage, startOffset, lastPage, lastOffset)) return true;
    return false;
  }

  /** True if a mapping touches a reserved region of `endpoint`. */
  conflictsWith(endpoint: Endpoint): boolean {
    return endpoint.reservations.some(
      ({ pages: { startPage, startOffset, lastPage, lastOffset } }) =>
        this.mappings.overlaps(startPage, startOffset, lastPage, lastOffset),
    );
  }

  #guardOf(wanted: PageRange): Guard | undefined {
    return this.#guards.find(
      ({ pages }) =>
        pages.startPage === wanted.startPage &&
        pages.startOffset === wanted.startOffset &&
        pages.lastPage === wanted.lastPage &&
        pages.lastOffset === wanted.lastOffset,
    );
  }
}
