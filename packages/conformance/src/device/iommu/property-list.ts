/** The list of properties that a PROBE answers with, as it stands in its bytes: section "PROBE properties". */

import {
  PROBE_TYPE_MASK,
  ProbeProperty,
  ProbeType,
  ReservedMemory,
  ReservedMemoryType,
} from '@viommu/common';
import type { Session } from '../session.ts';

export interface Property {
  readonly at: number;
  /** Bits 0 to 11 of the type word, and bits 12 to 15. */
  readonly type: number;
  readonly reserved: number;
  /** Bytes of the value. */
  readonly length: number;
  /** A RESV_MEM that is whole. */
  readonly region?: {
    readonly subtype: number;
    readonly reserved: Uint8Array;
    readonly start: bigint;
    readonly end: bigint;
  };
}

export interface PropertyList {
  readonly properties: readonly Property[];
  /** The first byte behind the last property. */
  readonly end: number;
  /** What is wrong with the list, if it cannot be walked to its end. */
  readonly broken?: string;
}

/** Walks the list in `area`, the first `probe_size` bytes of an answer. */
export function walk(area: Uint8Array): PropertyList {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const properties: Property[] = [];
  let at = 0;
  while (at + ProbeProperty.size <= area.length) {
    const head = ProbeProperty.read(view, at);
    const type = head.type & PROBE_TYPE_MASK;
    if (type === ProbeType.NONE) return { properties, end: at };
    const next = at + ProbeProperty.size + head.length;
    if (next > area.length)
      return { properties, end: at, broken: `the property at ${at} runs past the end` };
    const whole = type === ProbeType.RESV_MEM && next - at >= ReservedMemory.size;
    properties.push({
      at,
      type,
      reserved: head.type >> 12,
      length: head.length,
      ...(whole ? { region: ReservedMemory.read(view, at) } : {}),
    });
    at = next;
  }
  return { properties, end: at };
}

/** PROBEs an endpoint, which must succeed, and walks what it says. */
export function probed(s: Session, endpoint: number): PropertyList & { area: Uint8Array } {
  const { bytes } = s.setUp(s.probe(endpoint));
  const area = bytes.slice(0, s.config.probeSize);
  return { ...walk(area), area };
}

/** A region as PROBE tells it. */
export interface ProbedRegion {
  readonly start: bigint;
  readonly end: bigint;
  readonly type: 'reserved' | 'msi' | 'other';
}

export function regionsOf({ properties }: PropertyList): ProbedRegion[] {
  return properties.flatMap(({ region }) =>
    region === undefined
      ? []
      : [{ start: region.start, end: region.end, type: typeOf(region.subtype) }],
  );
}

function typeOf(subtype: number): ProbedRegion['type'] {
  if (subtype === ReservedMemoryType.MSI) return 'msi';
  return subtype === ReservedMemoryType.RESERVED ? 'reserved' : 'other';
}
