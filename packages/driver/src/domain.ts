/**
 * Domains: an address space that endpoints are attached to.
 *
 * A domain's `stateLock` makes one step of each of these: a change of the mappings with the look at the endpoints and
 * the request that follows from it; an ATTACH with the replay and the endpoint's entry; a DETACH with its removal.
 * So requests reach the queue in the order in which the mappings changed. The queue itself needs no lock: it has no
 * place at which another context runs.
 */

import {
  type Concurrency,
  type DomainId,
  type ErrorCode,
  type IommuDomain,
  IommuError,
  type IommuFaultHandler,
  type Lock,
  LockRank,
  PAGE_SIZE,
  type Range,
  RequestType,
  pageOf,
} from '@viommu/common';
import { errorOfStatus } from './completion.ts';
import type { Endpoint } from './endpoint.ts';
import type { FaultHandler } from './event-queue.ts';
import type { Instance } from './instance.ts';
import { MappingTree } from './mapping-tree.ts';
import { flushIotlbAll, iotlbSync, iotlbSyncMap, mapPages, unmapPages } from './mapping.ts';
import type { RequestOwner } from './request-port.ts';

/** Pages, both ends inclusive. */
export interface PageRange {
  readonly startPage: number;
  readonly lastPage: number;
}

/** A MAP that the device refused after it was queued. */
export interface FailedMap extends PageRange {
  readonly error: ErrorCode;
}

/** An address space. Its mappings live in the guest and outlast any attachment. */
export class Domain implements IommuDomain, RequestOwner {
  /** `identity`: every address leads to itself. */
  readonly type: 'paging' | 'identity';
  /** True for an identity domain of the device's own, which has no mappings. */
  readonly bypass: boolean;
  /** The IOMMU it lives on, once that is known. */
  instance: Instance | undefined = undefined;
  /** Its number on that IOMMU. */
  id: DomainId | undefined = undefined;
  freed = false;
  /** True if the device may know the domain though no endpoint is attached; its number is not used again then. */
  heldByDevice = false;
  /** Is told about faults of its endpoints; what it returns goes into the report. */
  faultHandler: FaultHandler | undefined = undefined;

  /** The endpoints in the domain. The device knows the domain, and its mappings, only while there are any. */
  readonly attached: ReadonlySet<Endpoint>;
  /** Guards the endpoints, the mappings, and the order in which requests of this domain are queued. */
  readonly stateLock: Lock;
  readonly concurrency: Concurrency;
  readonly mappings: MappingTree = new MappingTree();
  /** MAPs that failed since they were queued and that nobody has asked about. */
  readonly failedMaps: FailedMap[] = [];
  /** Ranges the device would not unmap, none touching another: not to be used again while the device holds the domain. */
  readonly stuckRanges: PageRange[] = [];
  /** UNMAPs that failed. */
  unmapFailures = 0;
  readonly #finaliseLock: Lock;
  readonly #attached: Set<Endpoint> = new Set();
  /** First and last pages, in pairs, of what the endpoints' reserved regions touch. */
  #reserved: readonly number[] = [];

  constructor(concurrency: Concurrency, type: 'paging' | 'identity', bypass = false) {
    this.type = type;
    this.bypass = bypass;
    this.attached = this.#attached;
    this.concurrency = concurrency;
    this.stateLock = concurrency.lock('domain.stateLock', LockRank.domain);
    this.#finaliseLock = concurrency.lock('domain.finaliseLock', LockRank.finalise);
  }

  /** The addresses that can be mapped; `undefined` until the IOMMU is known. */
  get aperture(): Range | undefined {
    return this.instance?.aperture;
  }

  /** Sizes that mappings are made of; 0 until the IOMMU is known. */
  get pageSizeBitmap(): bigint {
    return this.instance?.pageSizeBitmap ?? 0n;
  }

  /**
   * Puts a paging domain that is on no IOMMU yet on this one.
   *
   * @throws {IommuError} `ENODEV` if the IOMMU cannot map single pages, `ENOSPC` if it has no number left. The domain
   * stays as it was then.
   */
  finalise(instance: Instance): void {
    this.#finaliseLock.acquire();
    try {
      if (this.instance !== undefined) return;
      if ((instance.pageSizeBitmap & BigInt(PAGE_SIZE)) === 0n)
        throw new IommuError('ENODEV', 'The smallest page of the IOMMU is larger than a page.');
      this.settle(instance);
    } finally {
      this.#finaliseLock.release();
    }
  }

  /** Takes a number of the IOMMU. @throws {IommuError} `ENOSPC` if there is none. */
  settle(instance: Instance): void {
    this.concurrency.at('finalise:beforeId');
    const id = instance.domainIds.take();
    if (id === undefined) throw new IommuError('ENOSPC', 'The IOMMU has no domain number left.');
    this.instance = instance;
    this.id = id;
    instance.domains.add(this);
  }

  /** True if a page from `startPage` to `lastPage` is reserved for one of the endpoints. */
  touchesReserved(startPage: number, lastPage: number): boolean {
    const reserved = this.#reserved;
    for (let at = 0; at < reserved.length; at += 2)
      if (reserved[at]! <= lastPage && reserved[at + 1]! >= startPage) return true; // Pairs.
    return false;
  }

  /** Takes an endpoint in that the device has attached. */
  join(endpoint: Endpoint): void {
    this.#attached.add(endpoint);
    this.#collectReserved();
  }

  /** Lets an endpoint go that the device has moved away. Without any the device forgets the domain. */
  leave(endpoint: Endpoint): void {
    this.#attached.delete(endpoint);
    this.#collectReserved();
    if (this.#attached.size === 0) this.forget();
  }

  /** The device has forgotten the domain, and with it what it would not map or unmap. */
  forget(): void {
    this.failedMaps.length = 0;
    this.stuckRanges.length = 0;
  }

  // What the IOMMU core calls: the functions of the other files, as methods.

  mapPages(
    startPage: number,
    physPage: number,
    blockPages: number,
    count: number,
    protection: number,
  ): number {
    const pageCount = blockPages * count;
    // One request and one mapping, however many blocks.
    mapPages(this, startPage, physPage, pageCount, protection);
    return pageCount;
  }

  unmapPages(startPage: number, blockPages: number, count: number): number {
    return unmapPages(this, startPage, blockPages * count);
  }

  translate(page: number): number {
    return this.bypass ? page : this.mappings.translate(page);
  }

  syncMap(startPage: number, pageCount: number): void {
    iotlbSyncMap(this, startPage, pageCount);
  }

  sync(): void {
    iotlbSync(this);
  }

  flushAll(): void {
    flushIotlbAll(this);
  }

  isStuck(startPage: number, pageCount: number): boolean {
    // Unmapping sends nothing without endpoints; a device that did not let the last one go still has everything.
    if (this.heldByDevice && this.#attached.size === 0) return true;
    const { stuckRanges } = this;
    const lastPage = startPage + pageCount - 1;
    for (let at = 0; at < stuckRanges.length; at += 1) {
      const range = stuckRanges[at]!; // Below the length.
      if (range.startPage <= lastPage && range.lastPage >= startPage) return true;
    }
    return false;
  }

  setFaultHandler(handler: IommuFaultHandler | undefined): void {
    this.faultHandler =
      handler &&
      (({ endpoint, address, flags }) =>
        endpoint === undefined ? 'ENODEV' : handler(endpoint, address, flags));
  }

  free(): void {
    freeDomain(this);
  }

  /** Removes the failed MAPs that touch the range and returns what the first of them failed with. */
  takeFailures(startPage: number, lastPage: number): ErrorCode | undefined {
    let error: ErrorCode | undefined;
    const { failedMaps } = this;
    for (let at = 0; at < failedMaps.length;) {
      const failed = failedMaps[at]!; // Below the length.
      if (failed.startPage <= lastPage && failed.lastPage >= startPage) {
        error ??= failed.error;
        failedMaps.splice(at, 1);
      } else at += 1;
    }
    return error;
  }

  requestDone(slot: number, status: number): void {
    const error = errorOfStatus(status);
    const { instance } = this;
    if (error === undefined || instance === undefined) return;
    const { requests, log } = instance;
    const startPage = requests.startPageOf(slot);
    const lastPage = requests.lastPageOf(slot);
    if (requests.typeOf(slot) === RequestType.MAP) {
      // The failure of a mapping that is gone again is nobody's.
      if (this.mappings.has(startPage, lastPage))
        this.failedMaps.push({ startPage, lastPage, error });
      return;
    }
    this.unmapFailures += 1;
    this.#addStuck(startPage, lastPage);
    log.warn('unmapFailed', `an UNMAP of domain ${this.id} failed with ${error}`);
  }

  #addStuck(startPage: number, lastPage: number): void {
    let start = startPage;
    let last = lastPage;
    const { stuckRanges } = this;
    for (let at = 0; at < stuckRanges.length;) {
      const other = stuckRanges[at]!; // Below the length.
      if (other.startPage <= last + 1 && other.lastPage >= start - 1) {
        start = Math.min(start, other.startPage);
        last = Math.max(last, other.lastPage);
        stuckRanges.splice(at, 1);
      } else at += 1;
    }
    stuckRanges.push({ startPage: start, lastPage: last });
  }

  #collectReserved(): void {
    this.#reserved = [...this.#attached].flatMap(({ regions }) =>
      regions.flatMap(({ start, last }) => [pageOf(start), pageOf(last)]),
    );
  }
}

/**
 * Ends a domain that no endpoint is attached to. The one for bypass stays, since others have it too.
 *
 * @throws {IommuError} `EBUSY` while an endpoint is attached to one that maps.
 */
export function freeDomain(domain: Domain): void {
  if (domain.bypass) return;
  domain.stateLock.acquire();
  try {
    if (domain.attached.size > 0)
      throw new IommuError('EBUSY', `Domain ${domain.id} still has endpoints.`);
    if (domain.freed) return;
    domain.freed = true;
    domain.mappings.clear();
    const { instance, id } = domain;
    instance?.domains.delete(domain);
    if (id !== undefined && !domain.heldByDevice) instance?.domainIds.release(id);
    domain.instance = undefined;
    domain.id = undefined;
  } finally {
    domain.stateLock.release();
  }
}
