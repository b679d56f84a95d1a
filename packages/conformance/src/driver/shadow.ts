/** What a monitor knows of the device's tables, by what the device granted. */

import { ADDRESS_MAX, AttachFlag, Status } from '@viommu/common';
import type { MonitoredRegion, MonitoredRequest } from './monitor.ts';
import { RangeBook } from './range-book.ts';

export interface WatchedDomain {
  readonly bypass: boolean;
  readonly endpoints: Set<number>;
  readonly mappings: RangeBook;
  /** MAPs that were refused, perhaps after the UNMAP was on its way. */
  readonly refused: RangeBook;
}

export interface WatchedEndpoint {
  domain: number | undefined;
  /** An ATTACH or DETACH was not answered clearly. */
  doubtful: boolean;
  probed: boolean;
  attached: boolean;
  regions: readonly MonitoredRegion[];
}

export class Shadow {
  readonly domains: Map<number, WatchedDomain> = new Map();
  readonly #endpoints: Map<number, WatchedEndpoint> = new Map();

  /** The device knows nothing any more. What PROBE told still holds. */
  reset(): void {
    this.domains.clear();
    for (const endpoint of this.#endpoints.values()) {
      endpoint.domain = undefined;
      endpoint.doubtful = endpoint.attached = false;
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
      const endpoint = this.endpoint(request.endpoint);
      endpoint.regions = [...endpoint.regions, ...regions];
      return;
    }
    if (request.kind === 'attach') {
      // Whether the mappings survive is the device's choice.
      if (this.endpoint(request.endpoint).domain === request.domain)
        return this.domains.get(request.domain)?.mappings.doubt(0n, ADDRESS_MAX);
      this.#leave(request.endpoint);
      this.#domain(request.domain, (request.flags & AttachFlag.BYPASS) !== 0).endpoints.add(
        request.endpoint,
      );
      const endpoint = this.endpoint(request.endpoint);
      endpoint.domain = request.domain;
      endpoint.doubtful = false;
      return;
    }
    if (request.kind === 'detach') return this.#leave(request.endpoint);
    const domain = this.domains.get(request.domain);
    const { virtStart, virtLast } = request;
    if (request.kind === 'map') domain?.mappings.add(virtStart, virtLast);
    else {
      domain?.mappings.removeWithin(virtStart, virtLast);
      domain?.refused.removeTouching(virtStart, virtLast);
    }
  }

  #domain(id: number, bypass: boolean): WatchedDomain {
    let domain = this.domains.get(id);
    if (domain === undefined) {
      domain = {
        bypass,
        endpoints: new Set(),
        mappings: new RangeBook(),
        refused: new RangeBook(),
      };
      this.domains.set(id, domain);
    }
    return domain;
  }

  /** The endpoint with this number, new if nobody named it before. */
  endpoint(number: number): WatchedEndpoint {
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

  #refused(request: MonitoredRequest): void {
    if (request.kind === 'map')
      this.domains.get(request.domain)?.refused.add(request.virtStart, request.virtLast);
    if (request.kind === 'unmap')
      // Whatever the driver believes now.
      this.domains.get(request.domain)?.mappings.doubt(request.virtStart, request.virtLast);
  }

  #doubt(request: MonitoredRequest): void {
    if (request.kind === 'probe') return;
    const domain = this.domains.get(request.domain);
    if (request.kind === 'map') domain?.mappings.add(request.virtStart, request.virtLast, true);
    else if (request.kind === 'unmap') domain?.mappings.doubt(request.virtStart, request.virtLast);
    else this.endpoint(request.endpoint).doubtful = true;
  }

  #leave(number: number): void {
    const endpoint = this.endpoint(number);
    const { domain: id } = endpoint;
    endpoint.domain = undefined;
    endpoint.doubtful = false;
    const domain = id === undefined ? undefined : this.domains.get(id);
    if (id === undefined || domain === undefined) return;
    domain.endpoints.delete(number);
    if (domain.endpoints.size === 0) this.domains.delete(id);
  }
}
