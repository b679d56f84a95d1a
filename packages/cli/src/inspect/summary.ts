/** What a recording holds, counted while its events pass by. Nothing here is about time, which no recording has. */

import type {
  ConfigEvent,
  DomainId,
  EndpointId,
  RefusedRequest,
  StreamAccess,
  StreamEvent,
} from '@viommu/common';

/** What happened to one endpoint. */
export interface EndpointSummary {
  readonly endpoint: EndpointId;
  probes: number;
  attaches: number;
  detaches: number;
  /** Accesses that went through, by what they asked for. */
  accesses: Record<StreamAccess, number>;
  /** Of those, how many passed untranslated. */
  untranslated: number;
  faults: number;
  /** The domain at the end. */
  domain: DomainId | undefined;
}

/** What happened to one domain number, in all its lives. */
export interface DomainSummary {
  readonly domain: DomainId;
  /** Attached at the end. */
  readonly endpoints: Set<EndpointId>;
  attaches: number;
  maps: number;
  unmaps: number;
  removed: number;
  live: number;
  liveMost: number;
  liveBytes: bigint;
  liveBytesMost: bigint;
}

/** How many values fell into a class that reaches up to `atMost`. */
export interface SizeClass {
  readonly atMost: bigint;
  count: number;
}

/** Requests that follow each other without an access between them. */
export interface BatchSummary {
  count: number;
  requests: number;
  longest: number;
  /** The line of the first request of the longest one. */
  longestLine: number;
}

/** Counts the events of one recording. */
export class RecordingSummary {
  features = 0n;
  config: ConfigEvent | undefined;
  readonly counts: Map<StreamEvent['kind'], number> = new Map();
  /** Refused requests by their status. */
  readonly refusals: Map<number, number> = new Map();
  readonly endpoints: Map<EndpointId, EndpointSummary> = new Map();
  readonly domains: Map<DomainId, DomainSummary> = new Map();
  /** Sizes of mappings, by the power of two they fit. */
  readonly sizes: Map<bigint, number> = new Map();
  readonly batches: BatchSummary = { count: 0, requests: 0, longest: 0, longestLine: 0 };
  /** The largest number of mappings alive at one time, in all domains together. */
  liveMost = 0;
  #live = 0;
  #batch = 0;
  #batchLine = 0;

  /** Takes the next event. */
  add(event: StreamEvent, line: number): void {
    this.counts.set(event.kind, this.count(event.kind) + 1);
    this.#addToBatch(event, line);
    switch (event.kind) {
      case 'features':
        this.features = event.bits;
        break;
      case 'config':
        this.config = event;
        break;
      case 'probe':
      case 'probe-empty':
        this.#endpoint(event.endpoint).probes += 1;
        break;
      case 'attach':
        this.#attach(event.endpoint, event.domain);
        break;
      case 'detach':
        this.#endpoint(event.endpoint).detaches += 1;
        this.#leave(event.endpoint);
        break;
      case 'map':
        this.#map(event);
        break;
      case 'unmap':
        this.#unmap(event);
        break;
      case 'access': {
        const endpoint = this.#endpoint(event.endpoint);
        endpoint.accesses[event.access] += 1;
        if (event.result === '=') endpoint.untranslated += 1;
        break;
      }
      case 'fault':
        this.#endpoint(event.endpoint).faults += 1;
        break;
      case 'refused':
        this.refusals.set(event.status, (this.refusals.get(event.status) ?? 0) + 1);
        this.#name(event.request);
        break;
      case 'device-reset':
      case 'system-reset':
        for (const endpoint of this.endpoints.keys()) this.#leave(endpoint);
        break;
      case 'bypass':
      case 'notify':
        break;
    }
  }

  /** Events of one kind so far. */
  count(kind: StreamEvent['kind']): number {
    return this.counts.get(kind) ?? 0;
  }

  /** Mappings alive now. */
  get live(): number {
    return this.#live;
  }

  /** The classes of mapping sizes that occur, smallest first. */
  sizeClasses(): SizeClass[] {
    return [...this.sizes]
      .map(([atMost, count]) => ({ atMost, count }))
      .toSorted((a, b) => (a.atMost < b.atMost ? -1 : 1));
  }

  #attach(endpointId: EndpointId, domainId: DomainId): void {
    const endpoint = this.#endpoint(endpointId);
    endpoint.attaches += 1;
    if (endpoint.domain !== domainId) this.#leave(endpointId);
    endpoint.domain = domainId;
    const domain = this.#domain(domainId);
    domain.attaches += 1;
    domain.endpoints.add(endpointId);
  }

  /** A domain ends with its last endpoint, and its mappings with it. */
  #leave(endpointId: EndpointId): void {
    const endpoint = this.#endpoint(endpointId);
    if (endpoint.domain === undefined) return;
    const domain = this.#domain(endpoint.domain);
    domain.endpoints.delete(endpointId);
    endpoint.domain = undefined;
    if (domain.endpoints.size > 0) return;
    this.#live -= domain.live;
    domain.live = 0;
    domain.liveBytes = 0n;
  }

  #map(event: Extract<StreamEvent, { kind: 'map' }>): void {
    const size = event.virtLast - event.virtStart + 1n;
    const atMost = powerOfTwoFrom(size);
    this.sizes.set(atMost, (this.sizes.get(atMost) ?? 0) + 1);
    const domain = this.#domain(event.domain);
    domain.maps += 1;
    domain.live += 1;
    domain.liveMost = Math.max(domain.liveMost, domain.live);
    domain.liveBytes += size;
    if (domain.liveBytes > domain.liveBytesMost) domain.liveBytesMost = domain.liveBytes;
    this.#live += 1;
    this.liveMost = Math.max(this.liveMost, this.#live);
  }

  /** A recording can say that more went than was there; then nothing is left. */
  #unmap(event: Extract<StreamEvent, { kind: 'unmap' }>): void {
    const domain = this.#domain(event.domain);
    domain.unmaps += 1;
    domain.removed += event.removed.length;
    const gone = Math.min(domain.live, event.removed.length);
    domain.live -= gone;
    this.#live -= gone;
    for (const { start, last } of event.removed) domain.liveBytes -= last - start + 1n;
    if (domain.liveBytes < 0n) domain.liveBytes = 0n;
  }

  /** Requests that were refused still name an endpoint or a domain. */
  #name(request: RefusedRequest): void {
    if ('endpoint' in request) this.#endpoint(request.endpoint);
    if ('domain' in request) this.#domain(request.domain);
  }

  #addToBatch(event: StreamEvent, line: number): void {
    switch (event.kind) {
      case 'features':
      case 'config':
      case 'notify':
        return;
      case 'access':
      case 'fault':
      case 'device-reset':
      case 'system-reset':
      case 'bypass':
        this.#batch = 0;
        return;
      case 'probe':
      case 'probe-empty':
      case 'attach':
      case 'detach':
      case 'map':
      case 'unmap':
      case 'refused':
        break;
    }
    if (this.#batch === 0) {
      this.batches.count += 1;
      this.#batchLine = line;
    }
    this.#batch += 1;
    this.batches.requests += 1;
    if (this.#batch <= this.batches.longest) return;
    this.batches.longest = this.#batch;
    this.batches.longestLine = this.#batchLine;
  }

  #endpoint(id: EndpointId): EndpointSummary {
    const known = this.endpoints.get(id);
    if (known !== undefined) return known;
    const accesses = { r: 0, w: 0, rw: 0 };
    const fresh: EndpointSummary = {
      endpoint: id,
      probes: 0,
      attaches: 0,
      detaches: 0,
      accesses,
      untranslated: 0,
      faults: 0,
      domain: undefined,
    };
    this.endpoints.set(id, fresh);
    return fresh;
  }

  #domain(id: DomainId): DomainSummary {
    const known = this.domains.get(id);
    if (known !== undefined) return known;
    const fresh: DomainSummary = {
      domain: id,
      endpoints: new Set(),
      attaches: 0,
      maps: 0,
      unmaps: 0,
      removed: 0,
      live: 0,
      liveMost: 0,
      liveBytes: 0n,
      liveBytesMost: 0n,
    };
    this.domains.set(id, fresh);
    return fresh;
  }
}

/** The smallest power of two that is not below `size`. */
function powerOfTwoFrom(size: bigint): bigint {
  return size <= 1n ? 1n : 1n << BigInt((size - 1n).toString(2).length);
}
