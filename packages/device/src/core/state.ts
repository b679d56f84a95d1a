/** Everything an IOMMU knows. The functions that handle requests work on this; nobody else sees it. */

import {
  IommuError,
  IommuFeature,
  PAGE_SIZE,
  type FaultReason,
  hasFeature,
  type Range,
} from '@viommu/common';
import { Domain } from './domain.ts';
import { Endpoint, type EndpointOptions } from './endpoint.ts';
import { type Limits, readLimits } from './limits.ts';
import { MappingPool } from './mapping-pool.ts';
import type { IommuObserver } from './observer.ts';
import { type BypassControl, type DomainRange, type IommuOptions, readOptions } from './options.ts';
import { PageRange } from './reserved-region.ts';
import type { TranslationKeeper } from './translation-keeper.ts';

/** Takes the report of a refused access to the driver. */
export interface FaultSink {
  /** `access` are bits of `MapFlag`, and the address is the first byte that could not be translated. */
  fault(endpoint: number, reason: FaultReason, access: number, page: number, offset: number): void;
}

/** The state of one IOMMU. */
export class IommuState {
  readonly endpoints: Map<number, Endpoint> = new Map<number, Endpoint>();
  readonly domains: Map<number, Domain> = new Map<number, Domain>();
  readonly pool: MappingPool = new MappingPool();
  readonly limits: Limits;
  readonly observer: IommuObserver | undefined;
  readonly faults: FaultSink | undefined;
  /** Who keeps translations; the same for all states of one IOMMU. */
  keepers: TranslationKeeper[] = [];

  readonly pageSizeMask: bigint;
  readonly inputRange: Range;
  readonly domainRange: DomainRange;
  readonly probeSize: number;
  readonly bypassControl: BypassControl;
  readonly initialBypass: boolean;

  /** The input range, for the hot path. */
  readonly input: PageRange;
  /** Bits of an offset that must be zero at the start of a granule. */
  readonly offsetMask: number;
  /** Pages in a granule; 1 if it is no larger than a page. */
  readonly granulePages: number;

  /** The `bypass` field of the configuration space. */
  bypass: boolean;
  /** What the driver negotiated, as a set and bit by bit. */
  features = 0n;
  mapUnmap = false;
  probe = false;
  mmio = false;
  bypassConfig = false;
  legacyBypass = false;

  readonly #options: IommuOptions;

  constructor(options: IommuOptions, faults: FaultSink | undefined) {
    this.#options = options;
    const checked = readOptions(options);
    this.pageSizeMask = checked.pageSizeMask;
    this.inputRange = checked.inputRange;
    this.domainRange = checked.domainRange;
    this.probeSize = checked.probeSize;
    this.bypassControl = checked.bypassControl;
    this.initialBypass = checked.bypassControl === 'config' && checked.bypass;
    this.bypass = this.initialBypass;
    this.limits = readLimits(options.limits);
    this.observer = options.observer;
    this.faults = faults;

    // Mappings are whole multiples of the smallest page.
    const granule = Number(this.pageSizeMask & -this.pageSizeMask);
    this.offsetMask = Math.min(granule, PAGE_SIZE) - 1;
    this.granulePages = Math.max(granule / PAGE_SIZE, 1);
    this.input = new PageRange(this.inputRange);
    for (const endpoint of options.endpoints ?? []) this.plug(endpoint);
  }

  plug(options: EndpointOptions): Endpoint {
    const endpoint = new Endpoint(options);
    if (this.endpoints.has(endpoint.id))
      throw new IommuError('EINVAL', `There is an endpoint ${endpoint.id} already.`);
    if (this.endpoints.size >= this.limits.endpoints)
      throw new IommuError('ENOSPC', `There are ${this.limits.endpoints} endpoints already.`);
    // 6.4
    if (endpoint.properties.length > this.probeSize)
      throw new IommuError(
        'EINVAL',
        `The properties of endpoint ${endpoint.id} do not fit ${this.probeSize} bytes.`,
      );
    this.endpoints.set(endpoint.id, endpoint);
    return endpoint;
  }

  /** A state without domains, for the same device with the endpoints that it has now. */
  fresh(): IommuState {
    const endpoints = Array.from(this.endpoints.values(), ({ id, reservations }) => ({
      id,
      reserved: reservations.map(({ region }) => region),
    }));
    return new IommuState({ ...this.#options, endpoints }, this.faults);
  }

  negotiate(features: bigint): void {
    this.features = features;
    this.mapUnmap = hasFeature(features, IommuFeature.MAP_UNMAP);
    this.probe = hasFeature(features, IommuFeature.PROBE);
    this.mmio = hasFeature(features, IommuFeature.MMIO);
    this.bypassConfig = hasFeature(features, IommuFeature.BYPASS_CONFIG);
    this.legacyBypass =
      this.bypassControl === 'legacy' && hasFeature(features, IommuFeature.BYPASS);
  }

  /** True if accesses of endpoints that are in no domain go through. */
  get unattachedPass(): boolean {
    // 7.3: the field rules from power-on, whether or not the driver knows of it. 7.14: the old feature does not.
    return this.bypassControl === 'config' ? this.bypass : this.legacyBypass;
  }

  /** Puts an endpoint, which is in no domain, into one that may not exist yet. */
  enter(endpoint: Endpoint, id: number, bypass: boolean): void {
    let domain = this.domains.get(id);
    if (domain === undefined) {
      domain = new Domain(id, bypass, this.pool);
      this.domains.set(id, domain);
    }
    domain.add(endpoint);
    this.revokeAll();
  }

  /** Takes an endpoint out of its domain, which ends with its last endpoint (3.4). */
  leave(endpoint: Endpoint, domain: Domain): void {
    domain.remove(endpoint);
    this.revokeAll();
    if (domain.endpoints.size > 0) return;
    domain.mappings.clear();
    this.domains.delete(domain.id);
  }

  /** Forgets attachments, domains, mappings and negotiated features (7.10); `bypass` stays (7.1). */
  reset(): void {
    for (const endpoint of this.endpoints.values()) endpoint.domain = undefined;
    this.domains.clear();
    this.pool.clear();
    this.negotiate(0n);
    this.revokeAll();
  }

  /** Translations of these pages, in whatever domain, are not to be used any more. */
  revoke(startPage: number, lastPage: number): void {
    const { keepers } = this;
    // By index: this runs with every UNMAP.
    for (let index = 0; index < keepers.length; index += 1)
      keepers[index]!.invalidate(startPage, lastPage); // Below the length.
  }

  /** No translation is to be used any more. */
  revokeAll(): void {
    for (const keeper of this.keepers) keeper.invalidateAll();
  }
}
