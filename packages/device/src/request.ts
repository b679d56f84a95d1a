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

// Where a field lies among the words of its request. As constants of this module they cost nothing on the hot path;
// properties of imported objects are looked up each time.
const { ATTACH, DETACH, MAP, UNMAP } = RequestType;
const MAP_BYTES = MapRequest.size;
const MAP_DOMAIN = MapRequest.offset.domain / WORD;
const MAP_START = MapRequest.offset.virtStart / WORD;
const MAP_END = MapRequest.offset.virtEnd / WORD;
const MAP_PHYS = MapRequest.offset.physStart / WORD;
const MAP_FLAGS = MapRequest.offset.flags / WORD;
const UNMAP_BYTES = UnmapRequest.size;
const UNMAP_DOMAIN = UnmapRequest.offset.domain / WORD;
const UNMAP_START = UnmapRequest.offset.virtStart / WORD;
const UNMAP_END = UnmapRequest.offset.virtEnd / WORD;
const OFFSET_MASK = 0xfff;

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
  const { words } = into;
  const count = Math.min(size, REQUEST_BYTES_MAX) >>> 2;
  for (let word = 1; word < count; word += 1) words[word] = view.getUint32(at + word * WORD, true);
  return Decoded.REQUEST;
}

/** Does what a decoded request asks for. Not for PROBE, which has more to return than a status. */
export function handle(iommu: Iommu, { type, words }: Request): Status {
  switch (type) {
    case ATTACH:
      // iommu.dev.attach.reserved-nonzero
      if (words[AttachRequest.offset.reserved1 / WORD] !== 0) return Status.INVAL;
      return iommu.attach(
        word(words, AttachRequest.offset.domain),
        word(words, AttachRequest.offset.endpoint),
        word(words, AttachRequest.offset.flags),
      );
    case DETACH:
      // iommu.dev.detach.reserved-ignored
      return iommu.detach(
        word(words, DetachRequest.offset.domain),
        word(words, DetachRequest.offset.endpoint),
      );
    case MAP:
      return iommu.map(
        words[MAP_DOMAIN]!, // All these words are inside the request.
        pageAt(words, MAP_START),
        words[MAP_START]! & OFFSET_MASK,
        pageAt(words, MAP_END),
        words[MAP_END]! & OFFSET_MASK,
        pageAt(words, MAP_PHYS),
        words[MAP_PHYS]! & OFFSET_MASK,
        words[MAP_FLAGS]!,
      );
    case UNMAP:
      // 5.7: reserved bytes are ignored.
      return iommu.unmap(
        words[UNMAP_DOMAIN]!, // Likewise.
        pageAt(words, UNMAP_START),
        words[UNMAP_START]! & OFFSET_MASK,
        pageAt(words, UNMAP_END),
        words[UNMAP_END]! & OFFSET_MASK,
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
    case MAP:
      return MAP_BYTES;
    case UNMAP:
      return UNMAP_BYTES;
    case ATTACH:
      return AttachRequest.size;
    case DETACH:
      return DetachRequest.size;
    default:
      return ProbeRequest.size;
  }
}

function word(words: Uint32Array, offset: number): number {
  return words[offset / WORD]!; // An offset inside the request.
}

/** The page of the address whose low half is word `low`. */
function pageAt(words: Uint32Array, low: number): number {
  return pageOfWords(words[low]!, words[low + 1]!); // Inside the request.
}
