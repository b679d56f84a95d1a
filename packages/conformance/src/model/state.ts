/** What a device knows: endpoints, domains, what is negotiated, and the `bypass` field. */

import { ADDRESS_MAX, IommuFeature, hasFeature } from '@viommu/common';
import { type Mapping, MappingSet } from './mapping-set.ts';

/** A region that no mapping may touch; both ends are included (6.6). */
export interface Region {
  readonly start: bigint;
  readonly last: bigint;
  /** `msi` for writes that are interrupts. */
  readonly type: 'reserved' | 'msi';
}

/** An endpoint as the platform declares it. */
export interface ModelEndpoint {
  readonly id: number;
  /** In the order in which PROBE shows them; pairwise disjoint. */
  readonly reserved?: readonly Region[];
}

/** A range of addresses, both ends included. */
export interface AddressRange {
  readonly start: bigint;
  readonly last: bigint;
}

/** What a device is, as its configuration space and its maker say. */
export interface Platform {
  /** The feature bits it offers. */
  readonly offered: bigint;
  readonly pageSizeMask: bigint;
  readonly inputRange: AddressRange;
  readonly domainRange: { readonly first: number; readonly last: number };
  readonly probeSize: number;
  /** The first value of the `bypass` field. */
  readonly bypass: boolean;
  /** How much it can keep; NOMEM beyond (4.15). */
  readonly limits: {
    readonly domains: number;
    readonly mappingsPerDomain: number;
    readonly mappings: number;
  };
}

/** An endpoint and its domain. */
export interface Endpoint {
  readonly id: number;
  readonly regions: readonly Region[];
  domain: Domain | undefined;
}

/** One address space. It begins with its first endpoint and ends with its last. */
export interface Domain {
  readonly id: number;
  readonly bypass: boolean;
  readonly endpoints: Set<Endpoint>;
  readonly mappings: MappingSet;
}

/** One change. Those of a request are made in order, once it is decided. */
export type Change =
  | { readonly kind: 'leave'; readonly endpoint: number }
  | {
      readonly kind: 'enter';
      readonly endpoint: number;
      readonly domain: number;
      readonly bypass: boolean;
    }
  | { readonly kind: 'map'; readonly domain: number; readonly mapping: Mapping }
  | {
      /** Removes the mappings that the range holds as a whole. */
      readonly kind: 'unmap';
      readonly domain: number;
      readonly start: bigint;
      readonly last: bigint;
    };

export class State {
  readonly platform: Platform;
  readonly endpoints: Map<number, Endpoint> = new Map<number, Endpoint>();
  readonly domains: Map<number, Domain> = new Map<number, Domain>();
  #features = 0n;
  /** The bits of it that this model looks at. */
  #accepted: ReadonlySet<number> = new Set();
  readonly #offered: ReadonlySet<number>;
  bypass: boolean;
  /** The bits of an address below the granule, which is the lowest bit of the page size mask. */
  readonly granuleMask: bigint;

  constructor(platform: Platform) {
    this.platform = platform;
    this.bypass = platform.bypass;
    this.#offered = bitsOf(platform.offered);
    this.granuleMask = (platform.pageSizeMask & -platform.pageSizeMask) - 1n;
  }

  /** What the driver accepted. */
  get features(): bigint {
    return this.#features;
  }

  set features(features: bigint) {
    this.#features = features;
    this.#accepted = bitsOf(features);
  }

  accepted(feature: number): boolean {
    return this.#accepted.has(feature);
  }

  offered(feature: number): boolean {
    return this.#offered.has(feature);
  }

  /** True if an endpoint without a domain has access to everything. */
  get unattachedPass(): boolean {
    // 7.3: the field rules if it is offered, accepted or not. fact.iommu.bypass-unnegotiated
    if (this.offered(IommuFeature.BYPASS_CONFIG)) return this.bypass;
    // 7.14: the older feature has an effect once it is accepted. iommu.dev.req.unattached-no-access
    return this.offered(IommuFeature.BYPASS) && this.accepted(IommuFeature.BYPASS);
  }

  /** Mappings in all domains. */
  get mappings(): number {
    let count = 0;
    for (const { mappings } of this.domains.values()) count += mappings.size;
    return count;
  }

  /** True if a range touches a reserved region of an endpoint in the domain (4.12). */
  isReserved(domain: Domain, start: bigint, last: bigint): boolean {
    for (const { regions } of domain.endpoints)
      for (const region of regions) if (region.start <= last && region.last >= start) return true;
    return false;
  }

  apply(change: Change): void {
    switch (change.kind) {
      case 'leave':
        this.#leave(this.endpoints.get(change.endpoint));
        return;
      case 'enter': {
        const endpoint = this.endpoints.get(change.endpoint);
        if (endpoint === undefined) return;
        // fact.iommu.attach-creates
        const domain: Domain = this.domains.get(change.domain) ?? {
          id: change.domain,
          bypass: change.bypass,
          endpoints: new Set<Endpoint>(),
          mappings: new MappingSet(),
        };
        this.domains.set(domain.id, domain);
        domain.endpoints.add(endpoint);
        endpoint.domain = domain;
        return;
      }
      case 'map':
        this.domains.get(change.domain)?.mappings.add(change.mapping);
        return;
      case 'unmap':
        this.domains.get(change.domain)?.mappings.removeInside(change.start, change.last);
        return;
    }
  }

  /** Forgets all domains: fact.iommu.reset-unattached. */
  dropDomains(): void {
    for (const endpoint of this.endpoints.values()) endpoint.domain = undefined;
    this.domains.clear();
  }

  plug({ id, reserved = [] }: ModelEndpoint): void {
    this.endpoints.set(id, { id, regions: reserved, domain: undefined });
  }

  /** Takes an endpoint away, out of its domain first (2.10). */
  unplug(id: number): void {
    this.#leave(this.endpoints.get(id));
    this.endpoints.delete(id);
  }

  /** The same state once more, which goes its own way. */
  copy(): State {
    const copy = new State(this.platform);
    copy.features = this.features;
    copy.bypass = this.bypass;
    for (const { id, regions } of this.endpoints.values()) copy.plug({ id, reserved: regions });
    for (const { id, bypass, endpoints, mappings } of this.domains.values()) {
      const members = new Set<Endpoint>();
      const domain: Domain = { id, bypass, endpoints: members, mappings: mappings.copy() };
      copy.domains.set(id, domain);
      for (const endpoint of endpoints) {
        const member = copy.endpoints.get(endpoint.id)!; // It was plugged in above.
        member.domain = domain;
        members.add(member);
      }
    }
    return copy;
  }

  #leave(endpoint: Endpoint | undefined): void {
    const domain = endpoint?.domain;
    if (endpoint === undefined || domain === undefined) return;
    domain.endpoints.delete(endpoint);
    endpoint.domain = undefined;
    // fact.iommu.last-detach-destroys, 3.4
    if (domain.endpoints.size === 0) this.domains.delete(domain.id);
  }
}

/** The numbers of the feature bits that are set, as far as they are the IOMMU's own. */
function bitsOf(features: bigint): ReadonlySet<number> {
  return new Set(Object.values(IommuFeature).filter((bit) => hasFeature(features, bit)));
}

/** The domains and addresses of a device that names no range. */
export const ALL_DOMAINS: { readonly first: number; readonly last: number } = {
  first: 0,
  last: 0xffff_ffff,
};
export const ALL_ADDRESSES: AddressRange = { start: 0n, last: ADDRESS_MAX };
