/**
 * Watches a stream of requests, live or recorded, for what a driver must not send: section "Device operations".
 *
 * It never answers. It remembers what the device granted, so that it can tell what a request means; where the device did
 * not say clearly, it doubts and lets the driver be.
 */

import {
  AttachFlag,
  IommuFeature,
  MapFlag,
  type RefusedRequest,
  Status,
  hasFeature,
  overlaps,
} from '@viommu/common';
import type { Ledger } from './ledger.ts';
import { RangeBook } from './range-book.ts';

/** The fields of a request; ends may lie below starts. */
export type MonitoredRequest = RefusedRequest;

/** What the device said about itself. */
export interface MonitoredDevice {
  /** Features that are negotiated. */
  readonly features: bigint;
  readonly pageSizeMask: bigint;
  readonly inputStart: bigint;
  readonly inputLast: bigint;
  readonly domainFirst: number;
  readonly domainLast: number;
  readonly probeSize: number;
}

/** A region that a PROBE told of; both ends are included. */
export interface MonitoredRegion {
  readonly start: bigint;
  readonly last: bigint;
}

interface WatchedDomain {
  readonly bypass: boolean;
  readonly endpoints: Set<number>;
  readonly mappings: RangeBook;
  /** MAPs that were refused, perhaps after the UNMAP was on its way. */
  readonly refused: RangeBook;
}

interface WatchedEndpoint {
  domain: number | undefined;
  /** An ATTACH or DETACH was not answered clearly. */
  doubtful: boolean;
  probed: boolean;
  attached: boolean;
  regions: readonly MonitoredRegion[];
}

const MAP_FLAGS = MapFlag.READ | MapFlag.WRITE | MapFlag.MMIO;

export class Monitor {
  readonly #ledger: Ledger;
  #device: MonitoredDevice | undefined;
  readonly #domains: Map<number, WatchedDomain> = new Map();
  readonly #endpoints: Map<number, WatchedEndpoint> = new Map();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** A device is taken over, or says this about itself. */
  begin(device: MonitoredDevice): void {
    this.#device = device;
  }

  /** The device was reset: it knows nothing any more. What PROBE told still holds. */
  reset(): void {
    this.#domains.clear();
    for (const endpoint of this.#endpoints.values()) {
      endpoint.domain = undefined;
      endpoint.doubtful = endpoint.attached = false;
    }
  }

  /** The driver sent a request. */
  request(request: MonitoredRequest): void {
    switch (request.kind) {
      case 'probe':
        this.#check(
          'advice.probe.feature',
          this.#has(IommuFeature.PROBE),
          'PROBE is not negotiated',
        );
        this.#endpoint(request.endpoint).probed = true;
        return;
      case 'attach':
        return this.#attach(request);
      case 'detach':
        return this.#detach(request);
      case 'map':
        return this.#map(request);
      case 'unmap':
        return this.#unmap(request);
    }
  }

  /** The device answered it, with this status; `undefined` if it did not say clearly. */
  answered(
    request: MonitoredRequest,
    status: number | undefined,
    regions: readonly MonitoredRegion[] = [],
  ): void {
    if (status === undefined) return this.#doubt(request);
    if (status !== Status.OK) return this.#refused(request);
    if (request.kind === 'probe') {
      const endpoint = this.#endpoint(request.endpoint);
      endpoint.regions = [...endpoint.regions, ...regions];
      return;
    }
    if (request.kind === 'attach') {
      this.#leave(request.endpoint);
      this.#domain(request.domain, (request.flags & AttachFlag.BYPASS) !== 0).endpoints.add(
        request.endpoint,
      );
      const endpoint = this.#endpoint(request.endpoint);
      endpoint.domain = request.domain;
      endpoint.doubtful = false;
      return;
    }
    if (request.kind === 'detach') return this.#leave(request.endpoint);
    const domain = this.#domains.get(request.domain);
    const { virtStart, virtLast } = request;
    if (request.kind === 'map') domain?.mappings.add(virtStart, virtLast);
    else {
      domain?.mappings.removeWithin(virtStart, virtLast);
      domain?.refused.removeTouching(virtStart, virtLast);
    }
  }

  /** A region of an endpoint, from wherever it is known. */
  region(endpoint: number, region: MonitoredRegion): void {
    const known = this.#endpoint(endpoint);
    known.regions = [...known.regions, region];
  }

  #attach({
    domain: id,
    endpoint: number,
    flags,
  }: Extract<MonitoredRequest, { kind: 'attach' }>): void {
    this.#domainNumber(id);
    const endpoint = this.#endpoint(number);
    // Where probe_size is 0 there is nothing to ask for.
    if (this.#has(IommuFeature.PROBE) && this.#device?.probeSize !== 0 && !endpoint.attached)
      this.#check(
        'iommu.drv.init.probe-before-attach',
        endpoint.probed,
        `endpoint ${number} is attached and was not probed`,
      );
    endpoint.attached = true;
    const bypass = (flags & AttachFlag.BYPASS) !== 0;
    this.#check(
      'advice.attach.flags',
      (flags & ~AttachFlag.BYPASS) === 0,
      `ATTACH has flags ${flags}`,
    );
    if (bypass)
      this.#check(
        'advice.attach.bypass-feature',
        this.#has(IommuFeature.BYPASS_CONFIG),
        'BYPASS without BYPASS_CONFIG',
      );
    const domain = this.#domains.get(id);
    if (domain === undefined) return;
    // One that holds nobody else is another one afterwards, perhaps.
    if ([...domain.endpoints].every((other) => other === number)) return;
    const message = `endpoint ${number} joins domain ${id}, a ${domain.bypass ? 'bypass' : 'translated'} one, with flags ${flags}`;
    if (domain.bypass) this.#check('iommu.drv.attach.bypass-flag-existing-bypass', bypass, message);
    else this.#check('iommu.drv.attach.no-bypass-flag-existing-normal', !bypass, message);
  }

  #detach({ domain, endpoint: number }: Extract<MonitoredRequest, { kind: 'detach' }>): void {
    this.#domainNumber(domain);
    const endpoint = this.#endpoint(number);
    if (!endpoint.doubtful)
      this.#check(
        'advice.detach.attached',
        endpoint.domain === domain,
        `endpoint ${number} is not in domain ${domain}`,
      );
  }

  #map(request: Extract<MonitoredRequest, { kind: 'map' }>): void {
    const { domain: id, virtStart, virtLast, physStart, flags } = request;
    const where = `MAP of 0x${virtStart.toString(16)}..0x${virtLast.toString(16)} in domain ${id}`;
    this.#domainNumber(id);
    this.#inputRange(virtStart, virtLast, where);
    this.#check('iommu.drv.map.end-after-start', virtLast > virtStart, where);
    this.#check(
      'iommu.drv.map.flags-undefined-zero',
      (flags & ~MAP_FLAGS) === 0,
      `${where} has flags ${flags}`,
    );
    if (!this.#has(IommuFeature.MMIO))
      this.#check(
        'iommu.drv.map.mmio-flag-needs-feature',
        (flags & MapFlag.MMIO) === 0,
        `${where} has the MMIO flag`,
      );
    const granule = this.#granule();
    const whole =
      virtStart % granule === 0n && (virtLast + 1n) % granule === 0n && physStart % granule === 0n;
    this.#check('advice.map.alignment', whole, `${where} is not made of pages of ${granule} bytes`);
    const domain = this.#domains.get(id);
    this.#check('advice.map.domain', domain !== undefined, `${where}, which does not exist`);
    if (domain === undefined) return;
    this.#check('iommu.drv.map.not-on-bypass-domain', !domain.bypass, `${where}, a bypass domain`);
    const overlapping = domain.mappings
      .touching(virtStart, virtLast)
      .filter(({ doubtful }) => !doubtful);
    this.#check('advice.map.overlap', overlapping.length === 0, `${where} touches a mapping`);
    const regions = [...domain.endpoints].flatMap((endpoint) => this.#endpoint(endpoint).regions);
    if (regions.length > 0)
      this.#check(
        'iommu.drv.resv.no-map-in-region',
        !regions.some((region) => overlaps(region, { start: virtStart, last: virtLast })),
        `${where} touches a reserved region`,
      );
  }

  #unmap({ domain: id, virtStart, virtLast }: Extract<MonitoredRequest, { kind: 'unmap' }>): void {
    const where = `UNMAP of 0x${virtStart.toString(16)}..0x${virtLast.toString(16)} in domain ${id}`;
    this.#domainNumber(id);
    this.#inputRange(virtStart, virtLast, where);
    this.#check('advice.unmap.order', virtLast >= virtStart, `${where} ends before it starts`);
    const domain = this.#domains.get(id);
    this.#check('advice.unmap.domain', domain !== undefined, `${where}, which does not exist`);
    if (domain === undefined) return;
    this.#check(
      'iommu.drv.unmap.not-on-bypass-domain',
      !domain.bypass,
      `${where}, a bypass domain`,
    );
    if (domain.bypass) return;
    const live = domain.mappings.touching(virtStart, virtLast);
    this.#check(
      'iommu.drv.unmap.start-on-boundary',
      live.every(({ start }) => start >= virtStart),
      `${where} starts within a mapping`,
    );
    this.#check(
      'iommu.drv.unmap.end-on-boundary',
      live.every(({ last }) => last <= virtLast),
      `${where} ends within a mapping`,
    );
    // A MAP that was refused counts: the driver may not have known yet.
    const all = [...live, ...domain.refused.touching(virtStart, virtLast)].toSorted((a, b) =>
      a.start < b.start ? -1 : 1,
    );
    const tight = all.every(
      ({ start }, turn) => turn === 0 || start <= (all[turn - 1]?.last ?? start) + 1n,
    );
    this.#check(
      'iommu.drv.unmap.covers-contiguous-mappings',
      all.length > 0 && tight,
      all.length === 0
        ? `${where}, where nothing is mapped`
        : `${where} covers mappings with a hole between`,
    );
    // A choice: there is nothing to break.
    this.#check('iommu.drv.unmap.may-spill', true, '');
  }

  #refused(request: MonitoredRequest): void {
    if (request.kind === 'map')
      this.#domains.get(request.domain)?.refused.add(request.virtStart, request.virtLast);
    if (request.kind === 'unmap')
      // Whatever the driver believes now.
      this.#domains.get(request.domain)?.mappings.doubt(request.virtStart, request.virtLast);
  }

  #doubt(request: MonitoredRequest): void {
    if (request.kind === 'probe') return;
    const domain = this.#domains.get(request.domain);
    if (request.kind === 'map') domain?.mappings.add(request.virtStart, request.virtLast, true);
    else if (request.kind === 'unmap') domain?.mappings.doubt(request.virtStart, request.virtLast);
    else this.#endpoint(request.endpoint).doubtful = true;
  }

  #leave(number: number): void {
    const endpoint = this.#endpoint(number);
    const { domain: id } = endpoint;
    endpoint.domain = undefined;
    endpoint.doubtful = false;
    const domain = id === undefined ? undefined : this.#domains.get(id);
    if (id === undefined || domain === undefined) return;
    domain.endpoints.delete(number);
    if (domain.endpoints.size === 0) this.#domains.delete(id);
  }

  #domainNumber(id: number): void {
    const { domainFirst = 0, domainLast = 0xffff_ffff } = this.#device ?? {};
    if (this.#has(IommuFeature.DOMAIN_RANGE))
      this.#check(
        'iommu.drv.req.domain-range',
        id >= domainFirst && id <= domainLast,
        `domain ${id} is not in ${domainFirst}..${domainLast}`,
      );
  }

  #inputRange(start: bigint, last: bigint, where: string): void {
    if (this.#device === undefined || !this.#has(IommuFeature.INPUT_RANGE)) return;
    const { inputStart, inputLast } = this.#device;
    this.#check(
      'iommu.drv.req.input-range',
      start >= inputStart && last <= inputLast,
      `${where} leaves the input range`,
    );
  }

  #granule(): bigint {
    const mask = this.#device?.pageSizeMask ?? 1n;
    return mask === 0n ? 1n : mask & -mask;
  }

  #has(feature: number): boolean {
    return hasFeature(this.#device?.features ?? 0n, feature);
  }

  #domain(id: number, bypass: boolean): WatchedDomain {
    let domain = this.#domains.get(id);
    if (domain === undefined) {
      domain = {
        bypass,
        endpoints: new Set(),
        mappings: new RangeBook(),
        refused: new RangeBook(),
      };
      this.#domains.set(id, domain);
    }
    return domain;
  }

  #endpoint(number: number): WatchedEndpoint {
    let endpoint = this.#endpoints.get(number);
    if (endpoint === undefined) {
      endpoint = {
        domain: undefined,
        doubtful: false,
        probed: false,
        attached: false,
        regions: [],
      };
      this.#endpoints.set(number, endpoint);
    }
    return endpoint;
  }

  #check(clause: string, condition: boolean, message: string): void {
    this.#ledger.check(clause, condition, message);
  }
}
