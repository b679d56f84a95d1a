/**
 * What the driver promises, as plainly as it can be written: domains, their mappings and endpoints as a guest knows them,
 * and the requests that follow from each call, with what became of them by what the device really answered.
 *
 * Each method is told of a call after it returned, and says how it must have ended.
 */

import {
  type ErrorCode,
  IommuFeature,
  PAGE_MAX,
  type RefusedRequest,
  VirtioFeature,
  addressAt,
  alignInward,
  domainId,
  guestPhysical,
  iova,
  pageOf,
} from '@viommu/common';
import type { Domain, Endpoint, IommuDriver } from '@viommu/driver';
import type { Seen } from './seen-request.ts';
import type { Verdict } from './platform.ts';
import type { ExpectedRegion } from './property-list.ts';
import type { World } from './world.ts';

export interface PromisedMapping {
  readonly start: number;
  readonly last: number;
  readonly phys: number;
  readonly flags: number;
}

export interface PageSpan {
  readonly start: number;
  readonly last: number;
}

export interface PromisedEndpoint {
  readonly api: Endpoint;
  readonly ids: readonly number[];
  readonly regions: readonly ExpectedRegion[];
  domain: PromisedDomain | null;
  stuck: boolean;
}

export interface PromisedDomain {
  readonly api: Domain;
  readonly bypass: boolean;
  number: number | undefined;
  readonly attached: Set<PromisedEndpoint>;
  mappings: PromisedMapping[];
  failed: (PageSpan & { readonly error: ErrorCode })[];
  /** Those of which the caller knows that they failed, and that stay until they are unmapped. */
  told: PageSpan[];
  stuck: PageSpan[];
  held: boolean;
  freed: boolean;
  unmapFailures: number;
}

/** A request that has to come. */
export type Expected = RefusedRequest;

/** Requests whose fate is nobody's but their domain's. */
interface Queued {
  readonly domain: PromisedDomain;
  readonly request: Expected;
  readonly span: PageSpan;
}

const READ_WRITE = 3;
const [MMIO_PROTECTION, MMIO_FLAG] = [16, 4];
const PROTECTION_BITS = 0x3f;

export class Promises {
  readonly world: World;
  driver: IommuDriver;
  readonly verdict: Verdict;
  readonly firstPage: number;
  readonly lastPage: number;
  /** Requests that the request queue has room for, and those in flight before the call that is told of. */
  capacity: number;
  inFlightBefore = 0;
  frozen = false;
  readonly domains: Set<PromisedDomain> = new Set();
  readonly endpoints: Set<PromisedEndpoint> = new Set();
  /** Numbers of endpoints of which nobody knows where the device has them, and of domains that are never used again. */
  readonly lost: Set<number> = new Set();
  readonly burnt: Set<number> = new Set();
  readonly counters: Record<string, number> = {};
  queued: Queued[] = [];
  readonly #numbers: Set<number> = new Set();
  #cursor: number;

  constructor(world: World, driver: IommuDriver, verdict: Verdict) {
    this.world = world;
    this.driver = driver;
    this.verdict = verdict;
    this.#cursor = world.opponent.seen.length;
    this.capacity = this.#capacity();
    const mask = world.platform.config.pageSizeMask ?? 0n;
    const lowest = mask & -mask;
    const granule = lowest < 0x1000n ? 0x1000n : lowest;
    const whole = alignInward(verdict.input, granule);
    this.firstPage = whole === undefined ? 0 : pageOf(whole.start);
    this.lastPage = whole === undefined ? -1 : pageOf(whole.last);
  }

  // --- Mappings ----------------------------------------------------------------------------------------------------

  map(
    domain: PromisedDomain,
    start: number,
    phys: number,
    count: number,
    protection: number,
  ): ErrorCode | undefined {
    if (domain.number === undefined || domain.freed || domain.bypass) return 'ENODEV';
    const flags =
      (protection & READ_WRITE) | ((protection & MMIO_PROTECTION) === 0 ? 0 : MMIO_FLAG);
    if ((protection & ~PROTECTION_BITS) !== 0 || flags === 0) return 'EINVAL';
    if ((flags & MMIO_FLAG) !== 0 && !this.driver.has(IommuFeature.MMIO)) return 'EINVAL';
    const last = start + count - 1;
    if (count < 1 || start < this.firstPage || last > this.lastPage) return 'EINVAL';
    if (phys < 0 || phys + count - 1 > PAGE_MAX) return 'EINVAL';
    if (this.reservedIn(domain, start, last)) return 'EINVAL';
    if (domain.mappings.some((other) => other.start <= last && other.last >= start))
      return 'EEXIST';
    if (domain.attached.size > 0 && this.frozen) return 'EBUSY';
    const place = domain.mappings.findIndex((other) => other.start > last);
    domain.mappings.splice(place < 0 ? domain.mappings.length : place, 0, {
      start,
      last,
      phys,
      flags,
    });
    if (domain.attached.size > 0)
      this.#queue(domain, mapOf(domain, { start, last, phys, flags }), { start, last });
    return undefined;
  }

  /** How many pages are unmapped. */
  unmap(domain: PromisedDomain, start: number, count: number): number {
    const limit = start + count - 1;
    const first = domain.mappings.findIndex((mapping) => mapping.start === start);
    if (first < 0 || domain.number === undefined) return 0;
    let end = first;
    let last = start - 1;
    for (;;) {
      const mapping = domain.mappings[end];
      if (mapping === undefined || mapping.start !== last + 1) break;
      if (end > first && last === limit) break;
      if (mapping.last > limit) return 0;
      last = mapping.last;
      end += 1;
    }
    if (domain.attached.size > 0) {
      if (this.frozen) return 0;
      const virtStart = iova(addressAt(start, 0));
      const virtLast = iova(addressAt(last, 0xfff));
      const id = domainId(domain.number);
      this.#queue(domain, { kind: 'unmap', domain: id, virtStart, virtLast }, { start, last });
    }
    domain.mappings.splice(first, end - first);
    this.takeFailures(domain, start, last);
    return last - start + 1;
  }

  /** A sync of a domain that has endpoints: everything is answered. */
  sync(domain: PromisedDomain): void {
    if (domain.attached.size > 0) this.settle();
  }

  syncMap(domain: PromisedDomain, start: number, count: number): ErrorCode | undefined {
    this.sync(domain);
    return this.takeFailures(domain, start, start + count - 1);
  }

  translate(domain: PromisedDomain, page: number): number {
    if (domain.bypass) return page;
    const found = domain.mappings.find(({ start, last }) => start <= page && last >= page);
    return found === undefined ? -1 : found.phys + page - found.start;
  }

  takeFailures(domain: PromisedDomain, start: number, last: number): ErrorCode | undefined {
    const touched = domain.failed.filter((one) => one.start <= last && one.last >= start);
    domain.failed = domain.failed.filter((one) => !touched.includes(one));
    domain.told.push(...touched);
    return touched[0]?.error;
  }

  reservedIn(domain: PromisedDomain, start: number, last: number): boolean {
    return [...domain.attached].some(({ regions }) =>
      regions.some((region) => region.startPage <= last && region.lastPage >= start),
    );
  }

  isStuck(domain: PromisedDomain, start: number, count: number): boolean {
    if (domain.held && domain.attached.size === 0) return true;
    return domain.stuck.some((one) => one.start <= start + count - 1 && one.last >= start);
  }

  // --- Numbers -----------------------------------------------------------------------------------------------------

  /** The lowest free number of a domain. */
  takeNumber(): number | undefined {
    const { first, last } = this.verdict.domains;
    for (let number = first; number <= last; number += 1) {
      if (this.#numbers.has(number)) continue;
      this.#numbers.add(number);
      return number;
    }
    return undefined;
  }

  giveNumber(number: number): void {
    this.#numbers.delete(number);
  }

  // --- Requests ----------------------------------------------------------------------------------------------------

  /** Everything that was queued is answered by now. */
  settle(count: number = this.queued.length): void {
    this.world.opponent.observe();
    const ends = this.queued
      .splice(0, count)
      .map((queued) => ({ queued, seen: this.take(queued.request) }));
    this.finish(ends);
  }

  /** Ends queued requests in the order in which the device gave them back. */
  finish(ends: readonly { readonly queued: Queued; readonly seen: Seen }[]): void {
    for (const { queued, seen } of ends.toSorted((a, b) => a.seen.turn - b.seen.turn))
      this.#end(queued, codeOf(this.outcomeOf(seen)));
  }

  /** The next request that the device has seen, which has to be this one. */
  take(expected: Expected): Seen {
    const seen = this.world.opponent.seen[this.#cursor];
    const want = textOf(expected);
    if (seen === undefined) return this.world.fail('request', 'a request is not sent', want);
    this.#cursor += 1;
    const got = seen.fields === undefined ? 'bytes that are no request' : textOf(seen.fields);
    if (got !== want)
      this.world.fail('request', 'another request is sent than is asked for', `${got} for ${want}`);
    return seen;
  }

  /** How a request ended that must have ended. */
  outcomeOf(seen: Seen): number {
    return (
      seen.outcome ??
      this.world.fail('request', 'it goes on before the device has answered', `${seen.type}`)
    );
  }

  /** Requests of this model that the device has seen and that were not accounted for. */
  get unexplained(): number {
    return this.world.opponent.seen.length - this.#cursor;
  }

  /** All that was sent is accounted for. */
  checkAll(): void {
    const seen = this.world.opponent.seen[this.#cursor + this.queued.length];
    if (seen !== undefined)
      this.world.fail(
        'request',
        'a request is sent that nobody asked for',
        JSON.stringify([...seen.bytes]),
      );
  }

  count(counter: string, by = 1): void {
    this.counters[counter] = (this.counters[counter] ?? 0) + by;
  }

  /** The request queue was reset: what the device has not answered ends, and what it was not shown stays. */
  retired(): void {
    this.world.opponent.observe();
    const shown = Math.min(this.queued.length, this.unexplained);
    const ends = this.queued
      .splice(0, shown)
      .map((queued) => ({ queued, seen: this.take(queued.request) }));
    const [given, open] = [
      ends.filter(({ seen }) => seen.outcome !== undefined),
      ends.filter(({ seen }) => seen.outcome === undefined),
    ];
    this.finish(given);
    for (const { queued } of open) this.#end(queued, 'EIO');
  }

  /** The call found no room, and waited for all before it. */
  madeRoom(): void {
    if (this.inFlightBefore < this.capacity)
      this.world.fail(
        'wait',
        'it waits though there is room',
        `${this.inFlightBefore} of ${this.capacity}`,
      );
    this.settle();
  }

  /** The sizes of queues have changed. */
  resized(): void {
    this.capacity = this.#capacity();
  }

  #capacity(): number {
    const { opponent } = this.world;
    const size = opponent.layoutOf(0)?.size ?? 0;
    return opponent.has(VirtioFeature.INDIRECT_DESC) && size >= 2 ? size : Math.floor(size / 2);
  }

  #queue(domain: PromisedDomain, request: Expected, span: PageSpan): void {
    // A full ring is emptied first.
    if (this.driver.requests.inFlight <= this.inFlightBefore) this.madeRoom();
    this.queued.push({ domain, request, span });
  }

  #end({ domain, request, span: { start, last } }: Queued, error: ErrorCode | undefined): void {
    if (error === undefined) return;
    if (request.kind === 'map') {
      if (domain.mappings.some((mapping) => mapping.start === start && mapping.last === last))
        domain.failed.push({ start, last, error });
      return;
    }
    domain.unmapFailures += 1;
    this.count('unmapFailed');
    let span = { start, last };
    // Ranges that touch become one.
    for (const other of domain.stuck.filter(
      (one) => one.start <= last + 1 && one.last >= start - 1,
    ))
      span = { start: Math.min(span.start, other.start), last: Math.max(span.last, other.last) };
    domain.stuck = domain.stuck.filter((one) => one.start > last + 1 || one.last < start - 1);
    domain.stuck.push(span);
  }
}

export function mapOf(
  { number }: PromisedDomain,
  { start, last, phys, flags }: PromisedMapping,
): Expected {
  return {
    kind: 'map',
    domain: domainId(number ?? -1),
    virtStart: iova(addressAt(start, 0)),
    virtLast: iova(addressAt(last, 0xfff)),
    physStart: guestPhysical(addressAt(phys, 0)),
    flags,
  };
}

const CODES: readonly (ErrorCode | undefined)[] = [
  undefined,
  'EIO',
  'ENOSYS',
  'EIO',
  'EINVAL',
  'ERANGE',
  'ENOENT',
  'EFAULT',
  'ENOMEM',
];

/** The error that an outcome stands for: a status byte, or none. */
export function codeOf(outcome: number): ErrorCode | undefined {
  return outcome === 0 ? undefined : (CODES[outcome] ?? 'EIO');
}

/** True if nobody knows whether the device did it. */
export function isUnclear(outcome: number): boolean {
  return outcome < 0 || outcome >= CODES.length;
}

function textOf(request: Expected): string {
  return Object.entries(request)
    .map(([name, value]) => (name === 'kind' ? value : `${name} 0x${value.toString(16)}`))
    .join(' ');
}
