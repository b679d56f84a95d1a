/**
 * Mappings of a domain: sections "MAP request" and "UNMAP request".
 *
 * The hot calls take whole pages by number; the two at the end take addresses. In `mapPages` and `unmapPages` the look
 * at the endpoints, the change of the guest's mappings and the queueing of the request happen under the domain's lock.
 */

import {
  type GuestPhysical,
  type Iova,
  IommuError,
  PAGE_MAX,
  PAGE_SIZE,
  addressAt,
  guestPhysical,
  offsetInPage,
  pageOf,
} from '@viommu/common';
import type { Domain } from './domain.ts';
import { mapFlagsOf } from './protection.ts';

const PAGE_BYTES = BigInt(PAGE_SIZE);

/**
 * Maps `pageCount` pages from `startPage` on to those from `physPage` on, as one mapping that is unmapped as a whole.
 * If the domain has endpoints a MAP is queued, and {@link iotlbSyncMap} sends it and learns its fate.
 *
 * @param protection - bits of `Protection`; only READ, WRITE and MMIO reach the device.
 * @throws {IommuError} `ENODEV` if the domain is on no IOMMU or cannot be mapped into, `EINVAL` for a protection that
 * the device has no flags for or pages that cannot be mapped, `EEXIST` if some are mapped, `EIO`, `EBUSY` or `ENOSPC`
 * if the request could not be queued. Nothing changes then.
 */
export function mapPages(
  domain: Domain,
  startPage: number,
  physPage: number,
  pageCount: number,
  protection: number,
): void {
  const { stateLock } = domain;
  stateLock.acquire();
  try {
    addMapping(domain, startPage, physPage, pageCount, protection);
  } finally {
    stateLock.release();
  }
}

function addMapping(
  domain: Domain,
  startPage: number,
  physPage: number,
  pageCount: number,
  protection: number,
): void {
  const { instance, id } = domain;
  if (instance === undefined || id === undefined || domain.bypass)
    throw new IommuError('ENODEV', 'The domain cannot be mapped into.');
  const flags = mapFlagsOf(protection);
  // An unknown bit makes all of them set.
  if (flags === 0 || (flags & ~instance.mapFlags) !== 0)
    throw new IommuError('EINVAL', `The IOMMU has no mappings of protection ${protection}.`);
  const lastPage = startPage + pageCount - 1;
  if (
    !(pageCount > 0 && startPage >= instance.firstPage && lastPage <= instance.lastPage) ||
    !(physPage >= 0 && physPage + pageCount - 1 <= PAGE_MAX)
  )
    throw new IommuError('EINVAL', `Pages ${startPage} to ${lastPage} cannot be mapped here.`);
  if (domain.touchesReserved(startPage, lastPage))
    throw new IommuError('EINVAL', `Pages ${startPage} to ${lastPage} are reserved.`);

  const { mappings } = domain;
  if (!mappings.insert(startPage, lastPage, physPage, flags))
    throw new IommuError('EEXIST', `Some of the pages ${startPage} to ${lastPage} are mapped.`);
  domain.concurrency.at('map:afterTree');
  if (domain.attached.size === 0) return;
  try {
    if (instance.frozen) throw new IommuError('EBUSY', 'The IOMMU is frozen.');
    instance.requests.addMap(domain, id, startPage, lastPage, physPage, flags);
  } catch (error) {
    mappings.remove(startPage, lastPage);
    throw error;
  }
}

/**
 * Removes the mappings that lie one behind the other from `startPage` on, up to the first hole or to `pageCount` pages.
 * Returns how many pages they had. If the domain has endpoints an UNMAP of just these is queued.
 *
 * Returns 0, and nothing changes, if no mapping begins at `startPage`, if the last one would be cut, or if the request
 * could not be queued.
 */
export function unmapPages(domain: Domain, startPage: number, pageCount: number): number {
  const { stateLock } = domain;
  stateLock.acquire();
  try {
    return removeMappings(domain, startPage, pageCount);
  } finally {
    stateLock.release();
  }
}

/** The request first: what cannot be queued then needs no undoing. */
function removeMappings(domain: Domain, startPage: number, pageCount: number): number {
  const { instance, id, mappings } = domain;
  const lastPage = mappings.lastOfRun(startPage, startPage + pageCount - 1);
  if (lastPage < 0 || instance === undefined || id === undefined) return 0;
  if (domain.attached.size > 0) {
    if (instance.frozen) return 0;
    try {
      instance.requests.addUnmap(domain, id, startPage, lastPage);
    } catch (error) {
      if (error instanceof IommuError) return 0;
      throw error;
    }
  }
  domain.concurrency.at('unmap:beforeTree');
  mappings.remove(startPage, lastPage);
  domain.concurrency.at('unmap:afterTree');
  if (domain.failedMaps.length > 0) domain.takeFailures(startPage, lastPage);
  return lastPage - startPage + 1;
}

/** Where `iova` leads: in an identity domain to itself, else as the guest's mappings say, or `null`. */
export function iovaToPhys(domain: Domain, iova: Iova): GuestPhysical | null {
  const page = domain.translate(pageOf(iova));
  return page < 0 ? null : guestPhysical(addressAt(page, offsetInPage(iova)));
}

/**
 * Waits until the device has handled every MAP so far.
 *
 * @throws {IommuError} what the first refused MAP of the range failed with; `EIO` if the IOMMU is lost. The mapping
 * stays in the guest's books until it is unmapped.
 */
export function iotlbSyncMap(domain: Domain, startPage: number, pageCount: number): void {
  flushIotlbAll(domain);
  if (domain.failedMaps.length === 0) return;
  const error = domain.takeFailures(startPage, startPage + pageCount - 1);
  if (error !== undefined)
    throw new IommuError(error, `The IOMMU refused a mapping from page ${startPage} on.`);
}

/**
 * Waits until the device has handled every UNMAP so far: no endpoint reaches anything that was unmapped.
 *
 * @throws {IommuError} `EIO` if the IOMMU is lost. UNMAPs that were refused are in `domain.stuckRanges`.
 */
export function iotlbSync(domain: Domain): void {
  flushIotlbAll(domain);
}

/**
 * As {@link iotlbSync}: the device has no other way to forget translations.
 *
 * @throws {IommuError} `EIO` if the IOMMU is lost.
 */
export function flushIotlbAll(domain: Domain): void {
  const { instance } = domain;
  if (instance === undefined || !hasEndpoints(domain)) return;
  const error = instance.requests.syncReq();
  if (error !== undefined)
    throw new IommuError(error, `The IOMMU is lost: ${instance.requests.broken}.`);
}

/** Under the lock, which nobody keeps while waiting: an attach that is under way ends first. */
function hasEndpoints({ stateLock, attached }: Domain): boolean {
  stateLock.acquire();
  const some = attached.size > 0;
  stateLock.release();
  return some;
}

/**
 * As {@link mapPages}, with addresses. Returns the bytes mapped, which is all of them.
 *
 * @throws {IommuError} as there; `EINVAL` if anything is not whole pages.
 */
export function mapRange(
  domain: Domain,
  iova: Iova,
  physical: GuestPhysical,
  sizeBytes: bigint,
  protection: number,
): bigint {
  if ((iova | physical | sizeBytes) % PAGE_BYTES !== 0n)
    throw new IommuError('EINVAL', 'Mappings are made of whole pages.');
  mapPages(domain, pageOf(iova), pageOf(physical), Number(sizeBytes / PAGE_BYTES), protection);
  return sizeBytes;
}

/** As {@link unmapPages}, with addresses. Returns the bytes unmapped; 0 also if anything is not whole pages. */
export function unmapRange(domain: Domain, iova: Iova, sizeBytes: bigint): bigint {
  if ((iova | sizeBytes) % PAGE_BYTES !== 0n) return 0n;
  return BigInt(unmapPages(domain, pageOf(iova), Number(sizeBytes / PAGE_BYTES))) * PAGE_BYTES;
}
