/** Domains: an address space that endpoints are attached to. */

import {
  type DomainId,
  type ErrorCode,
  IommuError,
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
import { Protection } from './protection.ts';
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
export class Domain implements RequestOwner {
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
  readonly mappings: MappingTree = new MappingTree();
  /** MAPs that failed since they were queued and that nobody has asked about. */
  readonly failedMaps: FailedMap[] = [];
  /** Ranges the device would not unmap, none touching another: not to be used again while the device holds the domain. */
  readonly stuckRanges: PageRange[] = [];
  /** UNMAPs that failed. */
  unmapFailures = 0;
  readonly #attached: Set<Endpoint> = new Set();
  /** First and last pages, in pairs, of what the endpoints' reserved regions touch. */
  #reserved: readonly number[] = [];

  constructor(type: 'paging' | 'identity', bypass: boolean) {
    this.type = type;
    this.bypass = bypass;
    this.attached = this.#attached;
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
   * Puts a paging domain on an IOMMU.
   *
   * @throws {IommuError} `ENODEV` if the IOMMU cannot map single pages, `ENOSPC` if it has no number left. The domain
   * stays as it was then.
   */
  finalise(instance: Instance): void {
    if ((instance.pageSizeBitmap & BigInt(PAGE_SIZE)) === 0n)
      throw new IommuError('ENODEV', 'The smallest page of the IOMMU is larger than a page here.');
    const id = instance.domainIds.take();
    if (id === undefined) throw new IommuError('ENOSPC', 'The IOMMU has no domain number left.');
    this.instance = instance;
    this.id = id;
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
    if (this.#attached.size > 0) return;
    this.failedMaps.length = 0;
    this.stuckRanges.length = 0;
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
 * Makes a domain to map into. With an endpoint it is complete, for that endpoint's IOMMU; with `null` it becomes so
 * when the first endpoint is attached.
 *
 * @throws {IommuError} `ENODEV` or `ENOSPC` as {@link Domain.finalise}.
 */
export function allocPaging(endpoint: Endpoint | null): Domain {
  const domain = new Domain('paging', false);
  if (endpoint !== null) domain.finalise(endpoint.instance);
  return domain;
}

/**
 * The domain in which the given endpoints, all of one IOMMU, reach every address as it is: the device's own bypass
 * domain, or where it has none a domain filled with mappings that leave out what is reserved for any of them.
 *
 * @throws {IommuError} `EINVAL` without an endpoint, `ENODEV` or `ENOSPC` as {@link Domain.finalise}.
 */
export function allocIdentity(endpoints: readonly Endpoint[]): Domain {
  const instance = endpoints[0]?.instance;
  if (instance === undefined)
    throw new IommuError('EINVAL', 'An identity domain is made for an endpoint.');
  if (instance.identityDomain !== undefined) return instance.identityDomain;
  const domain = new Domain('identity', false);
  domain.finalise(instance);
  const regions = endpoints
    .flatMap((endpoint) => endpoint.regions)
    .map(({ start, last }) => ({ startPage: pageOf(start), lastPage: pageOf(last) }))
    .toSorted((a, b) => a.startPage - b.startPage);
  const flags = Protection.READ | Protection.WRITE;
  const { lastPage } = instance;
  let page = instance.firstPage;
  for (const region of regions) {
    if (region.startPage > lastPage) break;
    if (region.startPage > page) domain.mappings.insert(page, region.startPage - 1, page, flags);
    page = Math.max(page, region.lastPage + 1);
  }
  if (page <= lastPage) domain.mappings.insert(page, lastPage, page, flags);
  return domain;
}

/**
 * Ends a domain that no endpoint is attached to. The device's own bypass domain stays for the next.
 *
 * @throws {IommuError} `EBUSY` while an endpoint is attached.
 */
export function freeDomain(domain: Domain): void {
  if (domain.attached.size > 0)
    throw new IommuError('EBUSY', `Domain ${domain.id} still has endpoints.`);
  if (domain.bypass || domain.freed) return;
  domain.freed = true;
  domain.mappings.clear();
  if (domain.id !== undefined && !domain.heldByDevice)
    domain.instance?.domainIds.release(domain.id);
  domain.instance = undefined;
  domain.id = undefined;
}
