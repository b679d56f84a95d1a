/**
 * Requests, out of guest memory: section "IOMMU Device / Device operations".
 *
 * Each shared byte is read once, into a local, and everything is judged there, so that a driver that writes over a
 * request while it is handled gains nothing.
 */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  ProbeRequest,
  RequestHead,
  RequestType,
  Status,
  UnmapRequest,
  pageOfWords,
} from '@viommu/common';
import type { Iommu } from './core/iommu.ts';

/** In place of a status: what is not answered with a tail alone. */
export const NoStatus = {
  /** A type that this device does not know, or that was not negotiated. */
  UNKNOWN: -1,
  /** A PROBE, be it cut off. */
  PROBE: -2,
} as const;

// As constants of this module they cost nothing on the hot path; properties of imported objects are looked up each time.
const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;
const { INVAL } = Status;
const TYPE = RequestHead.offset.type;
const MAP_BYTES = MapRequest.size;
const MAP_DOMAIN = MapRequest.offset.domain;
const MAP_START = MapRequest.offset.virtStart;
const MAP_END = MapRequest.offset.virtEnd;
const MAP_PHYS = MapRequest.offset.physStart;
const MAP_FLAGS = MapRequest.offset.flags;
const UNMAP_BYTES = UnmapRequest.size;
const UNMAP_DOMAIN = UnmapRequest.offset.domain;
const UNMAP_START = UnmapRequest.offset.virtStart;
const UNMAP_END = UnmapRequest.offset.virtEnd;
/** From the low half of an address to the high one. */
const HIGH = 4;
const OFFSET_MASK = 0xfff;

/** Bytes of the longest request, without the reserved ones at the end of a PROBE, which nobody reads. */
export const REQUEST_BYTES_MAX: number = MapRequest.size;

/**
 * Does what the request at byte `at` of `view` asks for, of which the driver supplied `bytes` (at least 4); those behind
 * the structure are for later versions (1.8). Returns its status, or a value of {@link NoStatus}.
 */
export function handle(iommu: Iommu, view: DataView, at: number, bytes: number): number {
  // The reserved bytes of the head are dropped: iommu.dev.req.head-reserved-ignored.
  const type = view.getUint8(at + TYPE);
  if (!iommu.recognises(type)) return NoStatus.UNKNOWN; // 1.11, 1.12
  // 1.4: a known type without all of its bytes is INVAL.
  switch (type) {
    case MAP: {
      if (bytes < MAP_BYTES) return INVAL;
      const domain = view.getUint32(at + MAP_DOMAIN, true);
      const start = view.getUint32(at + MAP_START, true);
      const startHigh = view.getUint32(at + MAP_START + HIGH, true);
      const last = view.getUint32(at + MAP_END, true);
      const lastHigh = view.getUint32(at + MAP_END + HIGH, true);
      const phys = view.getUint32(at + MAP_PHYS, true);
      const physHigh = view.getUint32(at + MAP_PHYS + HIGH, true);
      return iommu.map(
        domain,
        pageOfWords(start, startHigh),
        start & OFFSET_MASK,
        pageOfWords(last, lastHigh),
        last & OFFSET_MASK,
        pageOfWords(phys, physHigh),
        phys & OFFSET_MASK,
        view.getUint32(at + MAP_FLAGS, true),
      );
    }
    case UNMAP: {
      if (bytes < UNMAP_BYTES) return INVAL;
      const start = view.getUint32(at + UNMAP_START, true);
      const startHigh = view.getUint32(at + UNMAP_START + HIGH, true);
      const last = view.getUint32(at + UNMAP_END, true);
      const lastHigh = view.getUint32(at + UNMAP_END + HIGH, true);
      // 5.7: reserved bytes are ignored.
      return iommu.unmap(
        view.getUint32(at + UNMAP_DOMAIN, true),
        pageOfWords(start, startHigh),
        start & OFFSET_MASK,
        pageOfWords(last, lastHigh),
        last & OFFSET_MASK,
      );
    }
    case ATTACH: {
      const { domain, endpoint, flags, reserved1 } = AttachRequest.offset;
      if (bytes < AttachRequest.size) return INVAL;
      // iommu.dev.attach.reserved-nonzero
      if (view.getUint32(at + reserved1, true) !== 0) return INVAL;
      return iommu.attach(
        view.getUint32(at + domain, true),
        view.getUint32(at + endpoint, true),
        view.getUint32(at + flags, true),
      );
    }
    case DETACH: {
      const { domain, endpoint } = DetachRequest.offset;
      if (bytes < DetachRequest.size) return INVAL;
      // iommu.dev.detach.reserved-ignored
      return iommu.detach(view.getUint32(at + domain, true), view.getUint32(at + endpoint, true));
    }
    case PROBE:
      return NoStatus.PROBE;
    default:
      return Status.DEVERR;
  }
}

/** The endpoint that a PROBE names, or undefined if it was cut off; reserved bytes are ignored: iommu.dev.probe.reserved-ignored. */
export function probedEndpoint(view: DataView, at: number, bytes: number): number | undefined {
  if (bytes < ProbeRequest.size) return undefined;
  return view.getUint32(at + ProbeRequest.offset.endpoint, true);
}
