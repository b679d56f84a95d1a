/** Compares what the driver keeps with what it promises, and with the tables of the device. */

import { addressAt, pageOf } from '@viommu/common';
import type { PageSpan, Promises, PromisedDomain, PromisedMapping } from './promise.ts';

/** After each call. The device is looked at if nothing is in flight. */
export function compareAll(p: Promises): void {
  const { driver, world } = p;
  const fail = (matter: string, evidence: unknown): never =>
    world.fail('mirror', matter, String(evidence));
  const state = p.frozen ? 'frozen' : 'live';
  if (driver.state !== state)
    fail(`the driver is ${driver.state} and should be ${state}`, driver.requests.broken);
  if (driver.requests.inFlight > p.capacity)
    fail('more requests are in flight than there is room for', driver.requests.inFlight);
  if (world.pages.taken !== PIECES)
    fail('the driver has more or less memory than it needs', world.pages.taken);
  if (world.opponent.wantsInterrupt) fail('a driver that is awake wants to be interrupted', '');
  for (const domain of p.domains) compareDomain(p, domain);
  for (const { api, ids, domain, stuck } of p.endpoints) {
    if (api.domain !== (domain?.api ?? null)) fail('an endpoint is in another domain', ids);
    if (api.stuck !== stuck) fail(`an endpoint is ${stuck ? 'not ' : ''}stuck`, ids);
  }
  for (const counter of COUNTED) {
    const expected = p.counters[counter] ?? 0;
    const found = driver.log.counters[counter];
    if (found !== expected) fail(`${counter} is counted wrong`, `${found} for ${expected}`);
  }
  // What nobody waits for may be counted when it ends.
  if (driver.requests.inFlight > 0 || p.queued.length > 0) return;
  p.checkAll();
  if (!p.frozen) compareDevice(p);
}

/** Pieces of memory: two rings, requests, event buffers. */
const PIECES = 4;

const COUNTED = [
  'propertySkipped',
  'subtypeUnknown',
  'unmapFailed',
  'detachFailed',
  'endpointStuck',
  'queueBroken',
  'eventShort',
  'eventLong',
  'eventReserved',
  'faultReasonUnknown',
  'faultReported',
  'faultEndpointUnknown',
  'configChanged',
] as const;

function compareDomain(p: Promises, domain: PromisedDomain): void {
  const { api, number, attached, mappings } = domain;
  const fail = (matter: string, evidence: unknown): never =>
    p.world.fail('mirror', matter, `domain ${number}: ${String(evidence)}`);
  if (api.id !== number) fail('a domain has another number', api.id);
  if (api.freed !== domain.freed) fail('a domain is freed or not', api.freed);
  if (
    api.attached.size !== attached.size ||
    [...attached].some((one) => !api.attached.has(one.api))
  )
    fail('other endpoints are in a domain', api.attached.size);
  if (api.mappings.size !== mappings.length)
    fail('there are more or fewer mappings', `${api.mappings.size} for ${mappings.length}`);
  let index = 0;
  api.mappings.forEach((start, last, phys, flags) => {
    const mapping = mappings[index];
    index += 1;
    if (
      mapping?.start !== start ||
      mapping.last !== last ||
      mapping.phys !== phys ||
      mapping.flags !== flags
    )
      fail('a mapping is another', `${start} to ${last} at ${phys} with ${flags}`);
  });
  if (index !== mappings.length) fail('there are more or fewer mappings', index);
  if (api.heldByDevice !== domain.held)
    fail('whether the device holds a domain is not known', api.heldByDevice);
  if (api.unmapFailures !== domain.unmapFailures)
    fail('failed UNMAPs are counted wrong', api.unmapFailures);
  // In any order: those that nobody answers end in none.
  const failed = api.failedMaps
    .map(({ startPage, lastPage, error }) => `${startPage} ${lastPage} ${error}`)
    .toSorted();
  const expected = domain.failed
    .map(({ start, last, error }) => `${start} ${last} ${error}`)
    .toSorted();
  if (failed.join() !== expected.join())
    fail('other MAPs count as failed', `${failed.join()} for ${expected.join()}`);
  const stuck = api.stuckRanges
    .map(({ startPage, lastPage }) => `${startPage} ${lastPage}`)
    .toSorted();
  const kept = domain.stuck.map(({ start, last }) => `${start} ${last}`).toSorted();
  if (stuck.join() !== kept.join())
    fail('other ranges are stuck', `${stuck.join()} for ${kept.join()}`);
}

function compareDevice(p: Promises): void {
  const { iommu } = p.world.core;
  const fail = (matter: string, evidence: unknown): never =>
    p.world.fail('books', matter, String(evidence));
  for (const { ids, domain, stuck } of p.endpoints)
    for (const id of stuck ? [] : ids) {
      if (p.lost.has(id)) continue;
      const found = iommu.domainOf(id);
      if (found !== domain?.number)
        fail('an endpoint is in another domain on the device', `${id} in ${found}`);
    }
  const known = new Set<number>(p.burnt);
  for (const domain of p.domains) {
    const { number, attached, held } = domain;
    if (number === undefined) continue;
    known.add(number);
    const doubtful =
      held || [...attached].some(({ stuck, ids }) => stuck || ids.some((id) => p.lost.has(id)));
    if (doubtful) continue;
    if (attached.size === 0) {
      if (iommu.domains.some((id) => id === number) && p.lost.size === 0 && !someStuck(p))
        fail('the device knows a domain without endpoints', number);
    } else if (!domain.bypass) compareMappings(p, domain, number);
  }
  if (p.lost.size > 0 || someStuck(p)) return;
  for (const number of iommu.domains)
    if (!known.has(number)) fail('the device knows a domain that there is not', number);
}

function someStuck(p: Promises): boolean {
  return [...p.endpoints].some(({ stuck }) => stuck);
}

function compareMappings(p: Promises, domain: PromisedDomain, number: number): void {
  const fail = (matter: string, { start, last }: PageSpan): never =>
    p.world.fail('books', matter, `pages ${start} to ${last} of domain ${number}`);
  const doubtful = [...domain.failed, ...domain.told, ...domain.stuck];
  const isDoubtful = ({ start, last }: PageSpan): boolean =>
    doubtful.some((one) => one.start <= last && one.last >= start);
  let index = 0;
  for (const { virt, physStart, flags } of p.world.core.iommu.mappings(number)) {
    const found: PromisedMapping = {
      start: pageOf(virt.start),
      last: pageOf(virt.last),
      phys: pageOf(physStart),
      flags,
    };
    while (index < domain.mappings.length && domain.mappings[index]!.start < found.start) {
      const missing = domain.mappings[index]!; // Below the length.
      if (!isDoubtful(missing)) fail('the device lacks a mapping', missing);
      index += 1;
    }
    const mapping = domain.mappings[index];
    const same =
      mapping !== undefined &&
      mapping.start === found.start &&
      mapping.last === found.last &&
      mapping.phys === found.phys &&
      mapping.flags === flags &&
      physStart === addressAt(mapping.phys, 0);
    if (same) index += 1;
    else if (!isDoubtful(found)) fail('the device has a mapping that there is not', found);
  }
  for (const missing of domain.mappings.slice(index))
    if (!isDoubtful(missing)) fail('the device lacks a mapping', missing);
}
