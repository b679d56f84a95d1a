/**
 * The properties that PROBE returns: sections "PROBE request" and "PROBE properties".
 *
 * The bytes come from the device, which may have written anything. They are a private copy here, so that nothing
 * changes between a check and a use; each step moves on by at least a header, so that every list ends.
 */

import {
  ADDRESS_MAX,
  PROBE_TYPE_MASK,
  ProbeProperty,
  ProbeType,
  Protection,
  type Range,
  ReservedMemory,
  ReservedMemoryType,
} from '@viommu/common';

/** Addresses of an endpoint that must not be mapped. */
export interface ReservedRegion extends Range {
  readonly type: 'reserved' | 'msi';
  /** Bits of {@link Protection} for whoever maps the region; 0 if nobody may. */
  readonly protection: number;
}

/** What the list says. */
export interface ProbeResult {
  /** In ascending order of their starts. */
  readonly regions: readonly ReservedRegion[];
  /** Properties that were passed over: of unknown type, or with reserved bits set. */
  readonly skipped: number;
  /** Regions whose subtype the standard does not define; they count as reserved. */
  readonly unknownSubtypes: number;
}

/** Why the list cannot be used: a bug of the device. */
export type ProbeFailure = 'EINVAL' | 'EOVERFLOW';

/** Protection of a doorbell's mapping. */
export const MSI_PROTECTION: number = Protection.WRITE | Protection.NOEXEC | Protection.MMIO;

const HEADER_BYTES = ProbeProperty.size;
const REGION_LENGTH = ReservedMemory.size - HEADER_BYTES;

/**
 * Reads a list of properties.
 *
 * A reserved region that cannot be read in full fails the list, since overlooking it would map over it: `EINVAL` if it
 * is short or runs past the end, `EOVERFLOW` if it ends before it starts or covers all 2^64 addresses.
 */
export function parseProbe(bytes: Uint8Array): ProbeResult | ProbeFailure {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const regions: ReservedRegion[] = [];
  let skipped = 0;
  let unknownSubtypes = 0;
  for (let at = 0; at + HEADER_BYTES <= bytes.length;) {
    const header = ProbeProperty.read(view, at);
    const type = header.type & PROBE_TYPE_MASK;
    if (type === ProbeType.NONE) break;
    const next = at + HEADER_BYTES + header.length;
    if (header.type !== ProbeType.RESV_MEM) {
      // Of unknown type, or with reserved bits set. One that runs past the end ends the list with it.
      skipped += 1;
      at = next;
      continue;
    }
    if (next > bytes.length || header.length < REGION_LENGTH) return 'EINVAL';
    const { subtype, start, end } = ReservedMemory.read(view, at);
    if (end < start || (start === 0n && end === ADDRESS_MAX)) return 'EOVERFLOW';
    const msi = subtype === ReservedMemoryType.MSI;
    if (!msi && subtype !== ReservedMemoryType.RESERVED) unknownSubtypes += 1;
    regions.push({
      start,
      last: end,
      type: msi ? 'msi' : 'reserved',
      protection: msi ? MSI_PROTECTION : 0,
    });
    at = next;
  }
  regions.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  return { regions, skipped, unknownSubtypes };
}
