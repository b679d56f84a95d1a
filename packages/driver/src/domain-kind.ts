/** The domains that there are: those to map into, and those in which every address leads to itself. */

import { IommuError, Protection, pageOf } from '@viommu/common';
import { Domain } from './domain.ts';
import type { Endpoint } from './endpoint.ts';

/**
 * Makes a domain to map into, complete, for the endpoint's IOMMU.
 *
 * @throws {IommuError} `ENODEV` or `ENOSPC` as {@link Domain.finalise}.
 */
export function allocPaging({ instance }: Endpoint): Domain {
  const domain = new Domain(instance.concurrency, 'paging');
  domain.finalise(instance);
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
  const domain = new Domain(instance.concurrency, 'identity');
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
