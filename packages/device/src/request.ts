/**
 * Requests, out of guest memory: section "IOMMU Device / Device operations".
 *
 * Decoding reads each shared byte once, into words that only the device can reach; everything is judged there, so that
 * a driver that writes over a request while it is handled gains nothing.
 */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  ProbeRequest,
  RequestType,
  Status,
  UnmapRequest,
  pageOfWords,
} from '@viommu/common';
import type { Iommu } from './core/iommu.ts';

/** What a decoded request is. */
export const Decoded = {
  /** All there. */
  REQUEST: 0,
  /** A known type without all of its bytes. */
  SHORT: 1,
  /** A type that this device does not know, or that was not negotiated. */
  UNKNOWN: 2,
} as const;

export type Decoded = (typeof Decoded)[keyof typeof Decoded];

const WORD = 4;

/** Bytes of the longest request, without the reserved ones at the end of a PROBE, which nobody reads. */
export const REQUEST_BYTES_MAX: number = MapRequest.size;

/** One request in private memory. A device makes it once and decodes into it again and again. */
export class Request {
  /** The type byte. */
  type = 0;
  /** The bytes of the request as little-endian words. */
  readonly words: Uint32Array = new Uint32Array(REQUEST_BYTES_MAX / WORD);
}

/**
 * Reads the request at byte `at` of `view`, of which the driver supplied `bytes` (at least 4); those behind the
 * structure are for later versions (1.8).
 */
export function decode(
  view: DataView,
  at: number,
  bytes: number,
  iommu: Iommu,
  into: Request,
): Decoded {
  // The reserved bytes of the head are dropped: iommu.dev.req.head-reserved-ignored.
  const type = view.getUint32(at, true) & 0xff;
  into.type = type;
  if (!iommu.recognises(type)) return Decoded.UNKNOWN; // 1.11, 1.12
  const size = sizeOf(type);
  if (bytes < size) return Decoded.SHORT;
  const length = Math.min(size, REQUEST_BYTES_MAX);
  for (let offset = WORD; offset < length; offset += WORD)
    into.words[offset / WORD] = view.getUint32(at + offset, true);
  return Decoded.REQUEST;
}

/** Does what a decoded request asks for. Not for PROBE, which has more to return than a status. */
export function handle(iommu: Iommu, { type, words }: Request): Status {
  switch (type) {
    case RequestType.ATTACH:
      // iommu.dev.attach.reserved-nonzero
      if (words[AttachRequest.offset.reserved1 / WORD] !== 0) return Status.INVAL;
      return iommu.attach(
        word(words, AttachRequest.offset.domain),
        word(words, AttachRequest.offset.endpoint),
        word(words, AttachRequest.offset.flags),
      );
    case RequestType.DETACH:
      // iommu.dev.detach.reserved-ignored
      return iommu.detach(
        word(words, DetachRequest.offset.domain),
        word(words, DetachRequest.offset.endpoint),
      );
    case RequestType.MAP:
      return iommu.map(
        word(words, MapRequest.offset.domain),
        page(words, MapRequest.offset.virtStart),
        offsetInPage(words, MapRequest.offset.virtStart),
        page(words, MapRequest.offset.virtEnd),
        offsetInPage(words, MapRequest.offset.virtEnd),
        page(words, MapRequest.offset.physStart),
        offsetInPage(words, MapRequest.offset.physStart),
        word(words, MapRequest.offset.flags),
      );
    case RequestType.UNMAP:
      // 5.7: reserved bytes are ignored.
      return iommu.unmap(
        word(words, UnmapRequest.offset.domain),
        page(words, UnmapRequest.offset.virtStart),
        offsetInPage(words, UnmapRequest.offset.virtStart),
        page(words, UnmapRequest.offset.virtEnd),
        offsetInPage(words, UnmapRequest.offset.virtEnd),
      );
    default:
      return Status.DEVERR;
  }
}

/** The endpoint that a decoded PROBE names; its reserved bytes are ignored: iommu.dev.probe.reserved-ignored. */
export function probedEndpoint({ words }: Request): number {
  return word(words, ProbeRequest.offset.endpoint);
}

function sizeOf(type: number): number {
  switch (type) {
    case RequestType.ATTACH:
      return AttachRequest.size;
    case RequestType.DETACH:
      return DetachRequest.size;
    case RequestType.MAP:
      return MapRequest.size;
    case RequestType.UNMAP:
      return UnmapRequest.size;
    default:
      return ProbeRequest.size;
  }
}

function word(words: Uint32Array, offset: number): number {
  return words[offset / WORD]!; // An offset inside the request.
}

function page(words: Uint32Array, offset: number): number {
  return pageOfWords(word(words, offset), word(words, offset + WORD));
}

function offsetInPage(words: Uint32Array, offset: number): number {
  return word(words, offset) & 0xfff;
}
