/** What a device that obeys the standard answers, in the plainest form: the tables that a driver must keep in step with. */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  RequestHead,
  RequestType,
  Status,
  UnmapRequest,
} from '@viommu/common';

export interface ModelMapping {
  readonly last: bigint;
  readonly phys: bigint;
  readonly flags: number;
}

export interface ModelDomain {
  readonly bypass: boolean;
  readonly endpoints: Set<number>;
  /** By first address. */
  readonly mappings: Map<bigint, ModelMapping>;
}

export class ModelIommu {
  readonly domains: Map<number, ModelDomain> = new Map();

  handle(bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    switch (RequestHead.read(view).type) {
      case RequestType.ATTACH:
        return this.#attach(AttachRequest.read(view));
      case RequestType.DETACH:
        return this.#detach(DetachRequest.read(view));
      case RequestType.MAP:
        return this.#map(MapRequest.read(view));
      case RequestType.UNMAP:
        return this.#unmap(UnmapRequest.read(view));
      case RequestType.PROBE:
        return Status.OK;
      default:
        return Status.UNSUPP;
    }
  }

  #leave(endpoint: number): void {
    for (const [id, domain] of this.domains)
      if (domain.endpoints.delete(endpoint) && domain.endpoints.size === 0) this.domains.delete(id);
  }

  #attach({ domain: id, endpoint, flags }: ReturnType<typeof AttachRequest.read>): number {
    const bypass = flags === 1;
    const domain = this.domains.get(id);
    if (domain?.endpoints.has(endpoint) === true) return Status.OK;
    if (domain !== undefined && domain.bypass !== bypass) return Status.INVAL;
    this.#leave(endpoint);
    const joined = domain ?? { bypass, endpoints: new Set(), mappings: new Map() };
    joined.endpoints.add(endpoint);
    this.domains.set(id, joined);
    return Status.OK;
  }

  #detach({ domain, endpoint }: ReturnType<typeof DetachRequest.read>): number {
    if (this.domains.get(domain)?.endpoints.has(endpoint) !== true) return Status.INVAL;
    this.#leave(endpoint);
    return Status.OK;
  }

  #map(request: ReturnType<typeof MapRequest.read>): number {
    const { virtStart, virtEnd, physStart, flags } = request;
    const domain = this.domains.get(request.domain);
    if (domain === undefined) return Status.NOENT;
    if (domain.bypass || virtEnd <= virtStart) return Status.INVAL;
    for (const [start, { last }] of domain.mappings)
      if (start <= virtEnd && last >= virtStart) return Status.INVAL;
    domain.mappings.set(virtStart, { last: virtEnd, phys: physStart, flags });
    return Status.OK;
  }

  #unmap(request: ReturnType<typeof UnmapRequest.read>): number {
    const { virtStart, virtEnd } = request;
    const domain = this.domains.get(request.domain);
    if (domain === undefined) return Status.NOENT;
    if (domain.bypass) return Status.INVAL;
    const touched = [...domain.mappings].filter(
      ([start, { last }]) => start <= virtEnd && last >= virtStart,
    );
    if (touched.some(([start, { last }]) => start < virtStart || last > virtEnd))
      return Status.RANGE;
    for (const [start] of touched) domain.mappings.delete(start);
    return Status.OK;
  }
}
