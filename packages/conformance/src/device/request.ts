/** Requests as bytes, right in every field unless a case says otherwise. */

import {
  AttachRequest,
  DetachRequest,
  MapFlag,
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
} from '@viommu/common';

export interface MapFields {
  readonly domain: number;
  readonly virtStart: bigint;
  /** Included. */
  readonly virtEnd: bigint;
  readonly physStart: bigint;
  /** Default READ and WRITE. */
  readonly flags?: number;
}

export function attachBytes(domain: number, endpoint: number, flags = 0): Uint8Array {
  return AttachRequest.encode({ type: RequestType.ATTACH, domain, endpoint, flags });
}

export function detachBytes(domain: number, endpoint: number): Uint8Array {
  return DetachRequest.encode({ type: RequestType.DETACH, domain, endpoint });
}

export function mapBytes(fields: MapFields): Uint8Array {
  return MapRequest.encode({
    type: RequestType.MAP,
    flags: MapFlag.READ | MapFlag.WRITE,
    ...fields,
  });
}

export function unmapBytes(domain: number, virtStart: bigint, virtEnd: bigint): Uint8Array {
  return UnmapRequest.encode({ type: RequestType.UNMAP, domain, virtStart, virtEnd });
}

export function probeBytes(endpoint: number): Uint8Array {
  return ProbeRequest.encode({ type: RequestType.PROBE, endpoint });
}

/** `bytes` with some of them changed, by position: one deviation for a stimulus. */
export function withBytes(
  bytes: Uint8Array,
  changes: Readonly<Record<number, number>>,
): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (const [position, value] of Object.entries(changes)) copy[Number(position)] = value;
  return copy;
}
