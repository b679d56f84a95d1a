/** What the driver promises about endpoints that come, move and go, and about a device that is taken over again. */

import { type ErrorCode, type RefusedRequest, domainId, endpointId } from '@viommu/common';
import type { Domain } from '@viommu/driver';
import { expectedOf } from './property-list.ts';
import {
  type Promises,
  type PromisedDomain,
  type PromisedEndpoint,
  codeOf,
  isUnclear,
  mapOf,
} from './promise.ts';

/** A domain that was just made; `number` if it is on the IOMMU already. */
export function promiseDomain(api: Domain, number?: number): PromisedDomain {
  return {
    api,
    bypass: api.bypass,
    number,
    attached: new Set(),
    mappings: [],
    failed: [],
    told: [],
    stuck: [],
    held: false,
    freed: false,
    unmapFailures: 0,
  };
}

/** A domain gets its number, if it has none. */
export function finalise(p: Promises, domain: PromisedDomain): ErrorCode | undefined {
  if (domain.number !== undefined) return undefined;
  if (!p.verdict.mappable) return 'ENODEV';
  domain.number = p.takeNumber();
  return domain.number === undefined ? 'ENOSPC' : undefined;
}

/** The mappings of an identity domain: all pages to themselves, but those reserved. */
export function fillIdentity(
  p: Promises,
  domain: PromisedDomain,
  endpoints: readonly PromisedEndpoint[],
): void {
  const regions = endpoints.flatMap((endpoint) => endpoint.regions);
  let start = p.firstPage;
  while (start <= p.lastPage) {
    const inside = regions.find(
      ({ startPage, lastPage }) => startPage <= start && lastPage >= start,
    );
    if (inside !== undefined) {
      start = inside.lastPage + 1;
      continue;
    }
    const next = Math.min(
      ...regions.map(({ startPage }) => startPage).filter((page) => page > start),
    );
    const last = Math.min(next - 1, p.lastPage);
    domain.mappings.push({ start, last, phys: start, flags: 3 });
    start = last + 1;
  }
}

/** A PROBE was sent: the error of it. Regions are those of `bytes`, which the device has written. */
export function probed(p: Promises, id: number, bytes: Uint8Array): ErrorCode | undefined {
  if (p.frozen) return 'EBUSY';
  if (p.verdict.probeSize === 0) return undefined;
  p.settle();
  const code = codeOf(p.outcomeOf(p.take({ kind: 'probe', endpoint: endpointId(id) })));
  if (code !== undefined) return code;
  const { error, skipped, unknown } = expectedOf(bytes);
  if (error !== undefined) return error;
  p.count('propertySkipped', skipped);
  if (unknown > 0) p.count('subtypeUnknown');
  return undefined;
}

export function attached(
  p: Promises,
  domain: PromisedDomain,
  endpoint: PromisedEndpoint,
): ErrorCode | undefined {
  if (p.frozen) return 'EBUSY';
  if (domain.freed) return 'EINVAL';
  const error = finalise(p, domain);
  if (error !== undefined) return error;
  if (endpoint.domain === domain) {
    if (!endpoint.stuck) return undefined;
    detached(p, endpoint);
  }
  for (const { startPage, lastPage } of endpoint.regions)
    if (domain.mappings.some(({ start, last }) => start <= lastPage && last >= startPage))
      return 'EINVAL';
  return move(p, domain, endpoint);
}

export function detached(p: Promises, endpoint: PromisedEndpoint): void {
  const { domain } = endpoint;
  if (domain === null) return;
  if (!p.frozen) {
    p.settle();
    for (const id of endpoint.ids) {
      if (codeOf(sentDetach(p, domain, id)) === undefined) {
        p.lost.delete(id);
        continue;
      }
      domain.held = true;
      p.lost.add(id);
      p.count('detachFailed');
    }
  }
  leave(domain, endpoint);
  endpoint.domain = null;
}

/** A device that was reset gets all back. */
export function restored(p: Promises): ErrorCode | undefined {
  p.frozen = false;
  p.lost.clear();
  const byNumber = [...p.domains]
    .filter(({ number, freed }) => number !== undefined && !freed)
    .toSorted((a, b) => (a.number ?? 0) - (b.number ?? 0));
  for (const domain of byNumber) {
    forget(domain);
    domain.held = false;
    for (const endpoint of domain.attached) {
      for (const id of endpoint.ids) {
        const error = codeOf(sentAttach(p, domain, id));
        if (error !== undefined) return error;
      }
      endpoint.stuck = false;
    }
    const error = domain.attached.size === 0 ? undefined : replayed(p, domain);
    if (error !== undefined) return error;
  }
  return undefined;
}

export function freed(p: Promises, domain: PromisedDomain): ErrorCode | undefined {
  if (domain.bypass) return undefined;
  if (domain.attached.size > 0) return 'EBUSY';
  if (domain.freed) return undefined;
  domain.freed = true;
  domain.mappings = [];
  if (domain.number !== undefined) {
    if (domain.held) p.burnt.add(domain.number);
    else p.giveNumber(domain.number);
  }
  domain.number = undefined;
  return undefined;
}

function move(
  p: Promises,
  domain: PromisedDomain,
  endpoint: PromisedEndpoint,
): ErrorCode | undefined {
  const old = endpoint.domain;
  const moved: number[] = [];
  p.settle();
  for (const id of endpoint.ids) {
    const outcome = sentAttach(p, domain, id);
    const error = codeOf(outcome);
    if (error !== undefined) {
      if (isUnclear(outcome)) {
        stick(p, domain, endpoint);
        p.lost.add(id);
      }
      moveBack(p, domain, endpoint, moved);
      return error;
    }
    moved.push(id);
  }
  if (old !== null) leave(old, endpoint);
  if (!isKnown(domain) && !domain.bypass) {
    const error = replayed(p, domain);
    if (error !== undefined) {
      const back = moveBack(p, domain, endpoint, moved);
      if (back && old !== null && !isKnown(old) && !old.bypass)
        if (replayed(p, old) !== undefined) stick(p, old, endpoint);
      old?.attached.add(endpoint);
      return error;
    }
  }
  domain.attached.add(endpoint);
  endpoint.domain = domain;
  endpoint.stuck = false;
  for (const id of endpoint.ids) p.lost.delete(id);
  return undefined;
}

/** The device has the domain if it has an endpoint of it for certain. */
function isKnown({ attached: some }: PromisedDomain): boolean {
  return [...some].some(({ stuck }) => !stuck);
}

function moveBack(
  p: Promises,
  domain: PromisedDomain,
  endpoint: PromisedEndpoint,
  moved: readonly number[],
): boolean {
  const old = endpoint.domain;
  let done = true;
  for (const id of moved) {
    const outcome = old === null ? sentDetach(p, domain, id) : sentAttach(p, old, id);
    if (codeOf(outcome) === undefined) continue;
    done = false;
    p.lost.add(id);
  }
  if (!done) stick(p, domain, endpoint);
  return done;
}

function stick(p: Promises, domain: PromisedDomain, endpoint: PromisedEndpoint): void {
  domain.held = true;
  if (!endpoint.stuck) p.count('endpointStuck');
  endpoint.stuck = true;
}

/** All mappings again; what the first that fails fails with, in the order in which the device answers. */
function replayed(p: Promises, domain: PromisedDomain): ErrorCode | undefined {
  const seen = domain.mappings.map((mapping) => p.take(mapOf(domain, mapping)));
  return seen
    .toSorted((a, b) => a.turn - b.turn)
    .map((one) => codeOf(p.outcomeOf(one)))
    .find((code) => code !== undefined);
}

function leave(domain: PromisedDomain, endpoint: PromisedEndpoint): void {
  domain.attached.delete(endpoint);
  if (domain.attached.size === 0) forget(domain);
}

function forget(domain: PromisedDomain): void {
  domain.failed = [];
  domain.told = [];
  domain.stuck = [];
}

function sentAttach(p: Promises, { number, bypass }: PromisedDomain, id: number): number {
  const flags = bypass ? 1 : 0;
  const request: RefusedRequest = {
    kind: 'attach',
    domain: domainId(number ?? -1),
    endpoint: endpointId(id),
    flags,
  };
  return p.outcomeOf(p.take(request));
}

function sentDetach(p: Promises, { number }: PromisedDomain, id: number): number {
  const request: RefusedRequest = {
    kind: 'detach',
    domain: domainId(number ?? -1),
    endpoint: endpointId(id),
  };
  return p.outcomeOf(p.take(request));
}
