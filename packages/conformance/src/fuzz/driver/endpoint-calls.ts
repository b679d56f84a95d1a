/** Calls about endpoints and domains, and what the driver promises of each. */

import { type ErrorCode, IommuFeature, RequestType } from '@viommu/common';
import { allocIdentity, allocPaging, attach, detach, freeDomain } from '@viommu/driver';
import {
  attached,
  detached,
  fillIdentity,
  finalise,
  freed,
  probed,
  promiseDomain,
} from './attachment.ts';
import { Caller } from './caller.ts';
import { handlerOutcome } from './fault-record.ts';
import type { PromisedDomain, PromisedEndpoint } from './promise.ts';
import { expectedOf } from './property-list.ts';

/** The numbers of the devices behind the IOMMU; that of the last one it does not know. */
export const DEVICES: readonly (readonly number[])[] = [
  [8],
  [9],
  [0x1_0028],
  [1, 2],
  [0xffff_ffff],
  [77],
];
export const ABSENT = 77;
const { ATTACH, DETACH, MAP } = RequestType;
/** No type of any request. */
const NONE = -1;
const DOMAINS_MAX = 8;

export class EndpointCalls extends Caller {
  probe(): void {
    const { random, promises } = this;
    const taken = new Set([...promises.endpoints].flatMap(({ ids }) => ids));
    const ids = random.pick(
      DEVICES.filter(([id]) => id !== undefined && !taken.has(id)).concat([[]]),
    );
    const outcome = this.call('probe', ids, () => this.driver.probeDevice(ids));
    const [first] = ids;
    if (first === undefined) return this.expect(outcome, promises.frozen ? 'EBUSY' : 'EINVAL');
    const bytes = this.options.properties(first);
    this.expect(outcome, probed(promises, first, bytes));
    if (outcome.code !== undefined) return;
    const { regions } = promises.verdict.probeSize === 0 ? { regions: [] } : expectedOf(bytes);
    const api = outcome.value;
    const same =
      api.regions.length === regions.length &&
      regions.every(({ start, last, msi }, at) => {
        const found = api.regions[at];
        return (
          found?.start === start &&
          found.last === last &&
          found.type === (msi ? 'msi' : 'reserved') &&
          found.protection === (msi ? 26 : 0)
        );
      });
    if (!same)
      this.fail('other regions are reserved than the device says', `${api.regions.length}`);
    // A window for doorbells is the guest's, if the device has none.
    const listed = api.reservedRegions();
    const windows = listed.filter(({ kind }) => kind === 4).length;
    const ordered = listed.every(({ start }, at) => at === 0 || listed[at - 1]!.start <= start); // Above 0.
    if (
      windows !== (regions.some(({ msi }) => msi) ? 0 : 1) ||
      listed.length !== regions.length + windows ||
      !ordered
    )
      this.fail('the list of regions is not what it should be', `${listed.length}`);
    promises.endpoints.add({ api, ids, regions, domain: null, stuck: false });
  }

  allocate(): void {
    const { promises } = this;
    const random = this.random;
    if (promises.domains.size > DOMAINS_MAX) return;
    const endpoint = this.endpoint();
    const kind = random.number(endpoint === undefined ? 1 : 4);
    if (endpoint === undefined || kind === 0) {
      const outcome = this.call('allocate', [], () => this.driver.allocPaging(null));
      if (outcome.code === undefined) this.#add(promiseDomain(outcome.value));
      return this.expect(outcome, undefined);
    }
    if (kind < 3) {
      const outcome = this.call('allocate for', endpoint.ids, () => allocPaging(endpoint.api));
      if (outcome.code !== undefined) return this.expect(outcome, this.#finaliseNothing());
      const domain = promiseDomain(outcome.value);
      this.expect(outcome, finalise(promises, domain));
      return this.#add(domain);
    }
    const group = [endpoint, ...(random.once(2) ? [this.endpoint() ?? endpoint] : [])];
    const outcome = this.call('identity', endpoint.ids, () =>
      allocIdentity(group.map(({ api }) => api)),
    );
    if (outcome.code !== undefined) return this.expect(outcome, this.#finaliseNothing());
    const { value } = outcome;
    if (value.bypass !== this.driver.has(IommuFeature.BYPASS_CONFIG))
      this.fail('identity is of the wrong kind', '');
    if (value.bypass) return this.expect(outcome, undefined);
    const domain = promiseDomain(value);
    this.expect(outcome, finalise(promises, domain));
    fillIdentity(promises, domain, group);
    this.#add(domain);
  }

  attach(): void {
    const [domain, endpoint] = [this.domain(true), this.endpoint()];
    if (domain === undefined || endpoint === undefined) return;
    this.#attachOne(domain, endpoint);
  }

  #attachOne(domain: PromisedDomain, endpoint: PromisedEndpoint): void {
    const outcome = this.call('attach', [endpoint.ids, domain.number], () =>
      attach(domain.api, endpoint.api),
    );
    this.expect(outcome, attached(this.promises, domain, endpoint));
  }

  /** A domain that maps what is reserved for an endpoint does not get it. */
  attachOver(): void {
    const { promises, random } = this;
    const domain = this.domain(true);
    const endpoint = this.endpoint();
    if (domain === undefined || endpoint === undefined || endpoint.regions.length === 0) return;
    const { startPage, lastPage } = random.pick(endpoint.regions);
    const [from, to] = [
      Math.max(startPage, promises.firstPage),
      Math.min(lastPage, promises.lastPage),
    ];
    if (to < from) return;
    this.mapOne(domain, random.once(2) ? to : from, 0x4_0000, 1, 3);
    this.#attachOne(domain, endpoint);
  }

  /** An endpoint moves, and one of the requests that this takes is refused. */
  moveInVain(): void {
    const { random, promises } = this;
    const endpoint = this.endpoint();
    if (endpoint === undefined || promises.frozen) return;
    const others = [...promises.domains].filter((one) => one !== endpoint.domain);
    if (others.length === 0) return;
    const to = random.pick(others);
    for (const domain of [to, endpoint.domain])
      if (domain !== null && domain.mappings.length < 2)
        this.mapOne(domain, this.page(domain), 0x4_0000, 1, 3);
    this.options.refuse(random.pick([MAP, ATTACH, DETACH]), random.pick([0, 1, 2]));
    this.#attachOne(to, endpoint);
    if (random.once(2)) this.#attachOne(endpoint.domain ?? to, endpoint);
    this.options.refuse(NONE, 0);
  }

  detach(): void {
    const endpoint = this.endpoint();
    if (endpoint === undefined) return;
    this.#detachOne(endpoint, this.random.once(4));
  }

  free(): void {
    const domain = this.domain(true);
    if (domain === undefined) return;
    const outcome = this.call('free', [domain.number], () => freeDomain(domain.api));
    this.expect(outcome, freed(this.promises, domain));
    if (domain.freed && this.random.once(2)) this.promises.domains.delete(domain);
  }

  /** Ends a domain, whoever is in it, and makes another one. */
  replace(): void {
    const domain = this.domain(true);
    if (domain === undefined || domain.bypass) return;
    for (const endpoint of domain.attached) this.#detachOne(endpoint, false);
    const outcome = this.call('free', [domain.number], () => freeDomain(domain.api));
    this.expect(outcome, freed(this.promises, domain));
    this.promises.domains.delete(domain);
    this.allocate();
  }

  #detachOne(endpoint: PromisedEndpoint, release: boolean): void {
    const outcome = this.call(release ? 'release' : 'detach', endpoint.ids, () =>
      release ? endpoint.api.release() : detach(endpoint.api),
    );
    detached(this.promises, endpoint);
    this.expect(outcome, undefined);
    if (release) this.promises.endpoints.delete(endpoint);
  }

  #add(domain: PromisedDomain): void {
    if (this.random.once(2)) domain.api.setFaultHandler((_, address) => handlerOutcome(address));
    this.promises.domains.add(domain);
  }

  /** Why a domain cannot be put on the IOMMU. */
  #finaliseNothing(): ErrorCode | undefined {
    if (!this.promises.verdict.mappable) return 'ENODEV';
    const number = this.promises.takeNumber();
    if (number === undefined) return 'ENOSPC';
    this.promises.giveNumber(number);
    return undefined;
  }
}
