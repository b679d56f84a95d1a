/** Properties of a PROBE as bytes, right or wrong. */

import { ProbeProperty, ProbeType, ReservedMemory, ReservedMemoryType } from '@viommu/common';

const { RESERVED } = ReservedMemoryType;

/** Both ends are included. */
export interface PropertyRegion {
  readonly start: bigint;
  readonly last: bigint;
}

export interface AnyRegion {
  readonly start: bigint;
  readonly end: bigint;
  /** RESERVED if absent. */
  readonly subtype?: number;
  /** The `type` word, its reserved bits included; RESV_MEM if absent. */
  readonly type?: number;
  /** What the header says; 20 if absent. */
  readonly length?: number;
  readonly reserved?: readonly number[];
  /** Bytes behind the fields, which the header counts. */
  readonly extra?: number;
}

/** A RESV_MEM property. */
export function region({
  start,
  end,
  subtype = RESERVED,
  type = 1,
  extra = 0,
  length = ReservedMemory.size - ProbeProperty.size + extra,
  reserved = [0, 0, 0],
}: AnyRegion): Uint8Array {
  const bytes = ReservedMemory.encode({
    type,
    length,
    subtype,
    reserved: Uint8Array.from(reserved),
    start,
    end,
  });
  return list(bytes.length + extra, bytes);
}

/** A property of any type, filled with something. */
export function property(type: number, length: number, fill = 0xa5): Uint8Array {
  return list(
    ProbeProperty.size + length,
    ProbeProperty.encode({ type, length }),
    new Uint8Array(length).fill(fill),
  );
}

/** Properties one behind the other, then zeros, cut at `bytes`. */
export function list(bytes: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part.subarray(0, Math.max(0, bytes - at)), Math.min(at, bytes));
    at += part.length;
  }
  return whole;
}

/** The regions that a right reader finds in a list of properties. */
export function regionsOf(properties: Uint8Array | undefined): PropertyRegion[] {
  const regions: PropertyRegion[] = [];
  if (properties === undefined) return regions;
  const view = new DataView(properties.buffer, properties.byteOffset, properties.byteLength);
  for (let at = 0; at + ProbeProperty.size <= view.byteLength;) {
    const { type, length } = ProbeProperty.read(view, at);
    if (type === ProbeType.NONE) break;
    if (type === ProbeType.RESV_MEM && at + ReservedMemory.size <= view.byteLength) {
      const { start, end } = ReservedMemory.read(view, at);
      if (end >= start) regions.push({ start, last: end });
    }
    at += ProbeProperty.size + length;
  }
  return regions;
}
