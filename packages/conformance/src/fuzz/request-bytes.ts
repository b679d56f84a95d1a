/** Requests as bytes, written field by field: a fuzzer makes hundreds of thousands a second. */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  ProbeRequest,
  RequestHead,
  RequestType,
  UnmapRequest,
} from '@viommu/common';

export function attachBytes(domain: number, endpoint: number, flags = 0): Uint8Array {
  const view = begin(RequestType.ATTACH);
  view.setUint32(AttachRequest.offset.domain, domain, true);
  view.setUint32(AttachRequest.offset.endpoint, endpoint, true);
  view.setUint32(AttachRequest.offset.flags, flags, true);
  return end(AttachRequest.size);
}

export function detachBytes(domain: number, endpoint: number): Uint8Array {
  const view = begin(RequestType.DETACH);
  view.setUint32(DetachRequest.offset.domain, domain, true);
  view.setUint32(DetachRequest.offset.endpoint, endpoint, true);
  return end(DetachRequest.size);
}

export function mapBytes(
  domain: number,
  start: bigint,
  last: bigint,
  phys: bigint,
  flags: number,
): Uint8Array {
  const view = begin(RequestType.MAP);
  view.setUint32(MapRequest.offset.domain, domain, true);
  view.setBigUint64(MapRequest.offset.virtStart, start, true);
  view.setBigUint64(MapRequest.offset.virtEnd, last, true);
  view.setBigUint64(MapRequest.offset.physStart, phys, true);
  view.setUint32(MapRequest.offset.flags, flags, true);
  return end(MapRequest.size);
}

export function unmapBytes(domain: number, start: bigint, last: bigint): Uint8Array {
  const view = begin(RequestType.UNMAP);
  view.setUint32(UnmapRequest.offset.domain, domain, true);
  view.setBigUint64(UnmapRequest.offset.virtStart, start, true);
  view.setBigUint64(UnmapRequest.offset.virtEnd, last, true);
  return end(UnmapRequest.size);
}

export function probeBytes(endpoint: number): Uint8Array {
  const view = begin(RequestType.PROBE);
  view.setUint32(ProbeRequest.offset.endpoint, endpoint, true);
  return end(ProbeRequest.size);
}

/** Requests are put together here, none is larger: bytes with a buffer of their own would cost more than all else about them. */
const BYTES = new Uint8Array(ProbeRequest.size);
const VIEW = new DataView(BYTES.buffer);

function begin(type: number): DataView {
  BYTES.fill(0);
  VIEW.setUint8(RequestHead.offset.type, type);
  return VIEW;
}

function end(size: number): Uint8Array {
  return BYTES.slice(0, size);
}

/** The domain that an ATTACH, DETACH, MAP or UNMAP names. */
export function domainIn(request: Uint8Array): number {
  return new DataView(request.buffer, request.byteOffset).getUint32(MapRequest.offset.domain, true);
}
