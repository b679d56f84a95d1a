/** Requests that succeed, one of each type: what cases change one thing of. */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  ProbeRequest,
  UnmapRequest,
} from '@viommu/common';
import { attachBytes, detachBytes, mapBytes, probeBytes, unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';

/** One request of each type that succeeds, as bytes, after what it needs. */
export interface GoodRequest {
  readonly name: 'attach' | 'detach' | 'map' | 'unmap' | 'probe';
  /** Of its readable part. */
  readonly bytes: number;
  readonly make: (s: Session) => Uint8Array;
  /** Whether it took effect. */
  readonly took: (s: Session, request: Uint8Array) => boolean;
}

const DOMAIN_AT = 4;

/** The domain that a request other than PROBE names. */
function domainOf(request: Uint8Array): number {
  return new DataView(request.buffer).getUint32(DOMAIN_AT, true);
}

export const GOOD_REQUESTS: readonly GoodRequest[] = [
  {
    name: 'attach',
    bytes: AttachRequest.size,
    make: (s) => attachBytes(s.domain(), s.a),
    // A domain comes into being with its first endpoint.
    took: (s, request) => s.mapPages(domainOf(request), 7).ok,
  },
  {
    name: 'detach',
    bytes: DetachRequest.size,
    make: (s) => detachBytes(s.attached(), s.a),
    took: (s, request) => !s.mapPages(domainOf(request), 7).ok,
  },
  {
    name: 'map',
    bytes: MapRequest.size,
    make: (s) => {
      const [virtStart, virtEnd] = [s.page(2), s.last(3)];
      return mapBytes({ domain: s.attached(), virtStart, virtEnd, physStart: s.physical(2) });
    },
    took: (s, request) => !s.mapPages(domainOf(request), 3).ok,
  },
  {
    name: 'unmap',
    bytes: UnmapRequest.size,
    make: (s) => {
      const domain = s.attached();
      s.mapped(domain, 2, 2);
      return unmapBytes(domain, s.page(2), s.last(3));
    },
    took: (s, request) => s.mapPages(domainOf(request), 3).ok,
  },
  { name: 'probe', bytes: ProbeRequest.size, make: (s) => probeBytes(s.a), took: () => true },
];

/** Bytes of the writable part of a request. */
export function writableOf({ name }: GoodRequest, s: Session): number {
  return name === 'probe' ? s.config.probeSize + 4 : 4;
}

/** What a device needs for it. */
export function needsOf({ name }: GoodRequest): readonly ('endpoint' | 'map-unmap' | 'probe')[] {
  return name === 'probe' ? ['endpoint', 'probe'] : ['endpoint', 'map-unmap'];
}

/** Takes the endpoint out again, so that the next domain is the first's successor. */
export function leave(s: Session, { name }: GoodRequest, request: Uint8Array): void {
  if (name !== 'detach' && name !== 'probe') s.detach(domainOf(request), s.a);
}
