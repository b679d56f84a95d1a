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
  const view = begin(AttachRequest.size, RequestType.ATTACH);
  view.setUint32(AttachRequest.offset.domain, domain, true);
  view.setUint32(AttachRequest.offset.endpoint, endpoint, true);
  view.setUint32(AttachRequest.offset.flags, flags, true);
  return bytesOf(view);
}

export function detachBytes(domain: number, endpoint: number): Uint8Array {
  const view = begin(DetachRequest.size, RequestType.DETACH);
  view.setUint32(DetachRequest.offset.domain, domain, true);
  view.setUint32(DetachRequest.offset.endpoint, endpoint, true);
  return bytesOf(view);
}

export function mapBytes(
  domain: number,
  start: bigint,
  last: bigint,
  phys: bigint,
  flags: number,
): Uint8Array {
  const view = begin(MapRequest.size, RequestType.MAP);
  view.setUint32(MapRequest.offset.domain, domain, true);
  view.setBigUint64(MapRequest.offset.virtStart, start, true);
  view.setBigUint64(MapRequest.offset.virtEnd, last, true);
  view.setBigUint64(MapRequest.offset.physStart, phys, true);
  view.setUint32(MapRequest.offset.flags, flags, true);
  return bytesOf(view);
}

export function unmapBytes(domain: number, start: bigint, last: bigint): Uint8Array {
  const view = begin(UnmapRequest.size, RequestType.UNMAP);
  view.setUint32(UnmapRequest.offset.domain, domain, true);
  view.setBigUint64(UnmapRequest.offset.virtStart, start, true);
  view.setBigUint64(UnmapRequest.offset.virtEnd, last, true);
  return bytesOf(view);
}

export function probeBytes(endpoint: number): Uint8Array {
  const view = begin(ProbeRequest.size, RequestType.PROBE);
  view.setUint32(ProbeRequest.offset.endpoint, endpoint, true);
  return bytesOf(view);
}

function begin(size: number, type: number): DataView {
  const view = new DataView(new ArrayBuffer(size));
  view.setUint8(RequestHead.offset.type, type);
  return view;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer);
}
