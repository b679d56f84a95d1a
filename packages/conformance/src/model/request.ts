/** A request as a value: section "IOMMU Device / Device operations". Reserved bytes that have no influence are dropped. */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
} from '@viommu/common';

export interface Attach {
  readonly kind: 'attach';
  readonly domain: number;
  readonly endpoint: number;
  readonly flags: number;
  /** True if all reserved bytes behind the flags are zero. */
  readonly reservedZero: boolean;
}

export interface Detach {
  readonly kind: 'detach';
  readonly domain: number;
  readonly endpoint: number;
}

export interface Map {
  readonly kind: 'map';
  readonly domain: number;
  readonly start: bigint;
  /** Included in the range. */
  readonly last: bigint;
  readonly phys: bigint;
  readonly flags: number;
}

export interface Unmap {
  readonly kind: 'unmap';
  readonly domain: number;
  readonly start: bigint;
  /** Included in the range. */
  readonly last: bigint;
  /** True if all reserved bytes behind the range are zero. */
  readonly reservedZero: boolean;
}

export interface Probe {
  readonly kind: 'probe';
  readonly endpoint: number;
}

/** A request that can be understood. */
export type Request = Attach | Detach | Map | Unmap | Probe;

/** The kinds, and how many bytes each of them has. */
const KINDS: ReadonlyMap<number, readonly [kind: Request['kind'], bytes: number]> = new Map<
  number,
  readonly [kind: Request['kind'], bytes: number]
>([
  [RequestType.ATTACH, ['attach', AttachRequest.size]],
  [RequestType.DETACH, ['detach', DetachRequest.size]],
  [RequestType.MAP, ['map', MapRequest.size]],
  [RequestType.UNMAP, ['unmap', UnmapRequest.size]],
  [RequestType.PROBE, ['probe', ProbeRequest.size]],
]);

/** What the type byte says: the kind and its size, or undefined for a type that nobody knows. */
export function kindOf(bytes: Uint8Array): readonly [Request['kind'], number] | undefined {
  return KINDS.get(bytes[0] ?? 0);
}

/** The request that is read; none is larger. */
const copied = new Uint8Array(ProbeRequest.size);
const view = new DataView(copied.buffer);

/** Reads a request of a known kind, of which all bytes are there. */
export function readRequest(kind: Request['kind'], bytes: Uint8Array): Request {
  copied.set(bytes.length > copied.length ? bytes.subarray(0, copied.length) : bytes);
  switch (kind) {
    case 'attach': {
      const { offset } = AttachRequest;
      return {
        kind,
        domain: view.getUint32(offset.domain, true),
        endpoint: view.getUint32(offset.endpoint, true),
        flags: view.getUint32(offset.flags, true),
        reservedZero: view.getUint32(offset.reserved1, true) === 0,
      };
    }
    case 'detach': {
      const { offset } = DetachRequest;
      return {
        kind,
        domain: view.getUint32(offset.domain, true),
        endpoint: view.getUint32(offset.endpoint, true),
      };
    }
    case 'map': {
      const { offset } = MapRequest;
      return {
        kind,
        domain: view.getUint32(offset.domain, true),
        start: view.getBigUint64(offset.virtStart, true),
        last: view.getBigUint64(offset.virtEnd, true),
        phys: view.getBigUint64(offset.physStart, true),
        flags: view.getUint32(offset.flags, true),
      };
    }
    case 'unmap': {
      const { offset } = UnmapRequest;
      return {
        kind,
        domain: view.getUint32(offset.domain, true),
        start: view.getBigUint64(offset.virtStart, true),
        last: view.getBigUint64(offset.virtEnd, true),
        reservedZero: view.getUint32(offset.reserved1, true) === 0,
      };
    }
    case 'probe':
      return { kind, endpoint: view.getUint32(ProbeRequest.offset.endpoint, true) };
  }
}
