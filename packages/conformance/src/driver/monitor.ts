/**
 * Watches a stream of requests, live or recorded, for what a driver must not send: section "Device operations".
 *
 * It never answers. It remembers what the device granted, so that it can tell what a request means; where the device did
 * not say clearly, it doubts and lets the driver be.
 */

import {
  AttachFlag,
  IommuConfig,
  IommuFeature,
  MapFlag,
  type RefusedRequest,
  hasFeature,
  overlaps,
} from '@viommu/common';
import type { Ledger } from './ledger.ts';
import { Shadow } from './shadow.ts';

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

/** What a configuration space says, with the features that were accepted. */
export function monitored(config: DataView, features: bigint): MonitoredDevice {
  const fields = IommuConfig.read(config);
  return {
    features,
    pageSizeMask: fields.pageSizeMask,
    inputStart: fields.inputRangeStart,
    inputLast: fields.inputRangeEnd,
    domainFirst: fields.domainRangeStart,
    domainLast: fields.domainRangeEnd,
    probeSize: fields.probeSize,
  };
}

/** A region that a PROBE told of; both ends are included. */
export interface MonitoredRegion {
  readonly start: bigint;
  readonly last: bigint;
}

const MAP_FLAGS = MapFlag.READ | MapFlag.WRITE | MapFlag.MMIO;

export class Monitor {
  readonly #ledger: Ledger;
  #device: MonitoredDevice | undefined;
  readonly #shadow: Shadow = new Shadow();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** A device is taken over, or says this about itself. */
  begin(device: MonitoredDevice): void {
    this.#device = device;
  }

  /** The device was reset: it knows nothing any more. What PROBE told still holds. */
  reset(): void {
    this.#shadow.reset();
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
        this.#shadow.endpoint(request.endpoint).probed = true;
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
    this.#shadow.answered(request, status, regions);
  }

  /** A region of an endpoint, from wherever it is known. */
  region(endpoint: number, region: MonitoredRegion): void {
    const known = this.#shadow.endpoint(endpoint);
    known.regions = [...known.regions, region];
  }

  #attach({
    domain: id,
    endpoint: number,
    flags,
  }: Extract<MonitoredRequest, { kind: 'attach' }>): void {
    this.#domainNumber(id);
    const endpoint = this.#shadow.endpoint(number);
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
    const domain = this.#shadow.domains.get(id);
    if (domain === undefined) return;
    // One that holds nobody else is another one afterwards, perhaps.
    if ([...domain.endpoints].every((other) => other === number)) return;
    const message = `endpoint ${number} joins domain ${id}, a ${domain.bypass ? 'bypass' : 'translated'} one, with flags ${flags}`;
    if (domain.bypass) this.#check('iommu.drv.attach.bypass-flag-existing-bypass', bypass, message);
    else this.#check('iommu.drv.attach.no-bypass-flag-existing-normal', !bypass, message);
  }

  #detach({ domain, endpoint: number }: Extract<MonitoredRequest, { kind: 'detach' }>): void {
    this.#domainNumber(domain);
    const endpoint = this.#shadow.endpoint(number);
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
    const domain = this.#shadow.domains.get(id);
    this.#check('advice.map.domain', domain !== undefined, `${where}, which does not exist`);
    if (domain === undefined) return;
    this.#check('iommu.drv.map.not-on-bypass-domain', !domain.bypass, `${where}, a bypass domain`);
    const overlapping = domain.mappings
      .touching(virtStart, virtLast)
      .filter(({ doubtful }) => !doubtful);
    this.#check('advice.map.overlap', overlapping.length === 0, `${where} touches a mapping`);
    const regions = [...domain.endpoints].flatMap(
      (endpoint) => this.#shadow.endpoint(endpoint).regions,
    );
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
    const domain = this.#shadow.domains.get(id);
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

  #check(clause: string, condition: boolean, message: string): void {
    this.#ledger.check(clause, condition, message);
  }
}
