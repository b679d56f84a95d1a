/** What must hold between any two calls; for tests and for whoever looks for a bug. */

import { PAGE_MAX, type Range, addressAt, assert, pageOf } from '@viommu/common';
import type { Domain } from './domain.ts';
import type { Instance } from './instance.ts';

/** What a device has in its tables; an `Iommu` of `@viommu/device` can tell. */
export interface DeviceTables {
  /** The numbers of its domains. */
  readonly domains: readonly number[];
  /** The number of the domain that an endpoint is attached to. */
  domainOf(endpoint: number): number | undefined;
  /** The mappings of a domain in ascending order. */
  mappings(domain: number): Iterable<{
    readonly virt: Range;
    readonly physStart: bigint;
    readonly flags: number;
  }>;
}

/**
 * Checks the guest's own tables, and that those of the device are the same. It looks at everything, so it is slow.
 *
 * Nothing may be in flight, and no call under way. What the device refused, or may not have done, is left out: domains
 * with failed MAPs or UNMAPs that nobody has asked about, and endpoints that are stuck.
 *
 * @throws {AssertionError} that names what does not hold.
 */
export function verify(instance: Instance, device?: DeviceTables): void {
  verifyGuest(instance);
  if (device === undefined) return;
  assert(instance.requests.inFlight === 0, 'nothing is in flight while the device is looked at');
  const known = new Set<number>();
  for (const domain of instance.domains) {
    const id = domain.id ?? -1;
    if (domain.attached.size > 0 || domain.heldByDevice) known.add(id);
    else assert(!device.domains.includes(id), `the device has forgotten domain ${id}`);
    for (const { ids, stuck } of domain.attached)
      for (const number of stuck ? [] : ids)
        assert(
          device.domainOf(number) === id,
          `endpoint ${number} is in domain ${id}, not in ${device.domainOf(number)}`,
        );
    if (domain.attached.size > 0 && inStep(domain)) verifyMappings(domain, id, device);
  }
  for (const id of device.domains) assert(known.has(id), `the guest knows domain ${id}`);
  for (const [number, { domain, stuck }] of instance.endpoints)
    assert(
      domain !== null || stuck || device.domainOf(number) === undefined,
      `endpoint ${number} is in no domain`,
    );
}

function verifyGuest(instance: Instance): void {
  const numbers = new Set<number>();
  for (const domain of instance.domains) {
    const { id, attached } = domain;
    assert(domain.instance === instance && !domain.freed, 'a live domain knows its instance');
    assert(id !== undefined && !numbers.has(id), `domain number ${id} is there once`);
    assert(instance.domainIds.includes(id), `domain number ${id} is one of the device's`);
    numbers.add(id);
    for (const endpoint of attached) {
      assert(endpoint.domain === domain, `${endpoint.name} points to its domain`);
      for (const { start, last } of endpoint.regions)
        assert(
          !domain.mappings.touches(pageOf(start), pageOf(last)),
          `nothing is mapped where ${endpoint.name} has a reserved region`,
        );
    }
    let next = instance.firstPage;
    domain.mappings.forEach((startPage, lastPage, physPage) => {
      assert(startPage >= next && startPage <= lastPage, `mappings of domain ${id} are in order`);
      assert(physPage + (lastPage - startPage) <= PAGE_MAX, 'targets are addresses');
      next = lastPage + 1;
    });
    assert(next <= instance.lastPage + 1, `mappings of domain ${id} lie in the aperture`);
  }
  for (const endpoint of instance.endpoints.values()) {
    const { domain, name } = endpoint;
    if (domain === null) continue;
    assert(instance.domains.has(domain), `${name} is in a live domain`);
    assert(domain.attached.has(endpoint), `${name} is in the domain that it points to`);
  }
}

function inStep({ failedMaps, stuckRanges, heldByDevice, attached }: Domain): boolean {
  if (failedMaps.length > 0 || stuckRanges.length > 0 || heldByDevice) return false;
  return [...attached].every(({ stuck }) => !stuck);
}

function verifyMappings(domain: Domain, id: number, device: DeviceTables): void {
  const found = device.mappings(id)[Symbol.iterator]();
  domain.mappings.forEach((startPage, lastPage, physPage, flags) => {
    const mapping = found.next().value;
    assert(
      mapping !== undefined &&
        mapping.virt.start === addressAt(startPage, 0) &&
        mapping.virt.last === addressAt(lastPage, 4095) &&
        mapping.physStart === addressAt(physPage, 0) &&
        mapping.flags === flags,
      `the device has the mapping of pages ${startPage} to ${lastPage} of domain ${id}`,
    );
  });
  assert(found.next().done, `the device has no mapping in domain ${id} that the guest has not`);
}
