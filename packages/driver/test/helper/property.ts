/** PROBE properties as bytes, right or wrong. */

import { ProbeProperty, ReservedMemory, ReservedMemoryType } from '@viommu/common';

export const RESERVED = ReservedMemoryType.RESERVED;
export const MSI = ReservedMemoryType.MSI;

/** A RESV_MEM property; `type` and `length` are those of a good one if absent. */
export function region(
  subtype: number,
  start: bigint,
  end: bigint,
  { type = 1, length = 20, reserved = Uint8Array.of(0, 0, 0), extra = 0 } = {},
): Uint8Array {
  const bytes = ReservedMemory.encode({
    type,
    length: length + extra,
    subtype,
    reserved,
    start,
    end,
  });
  return concat(bytes, new Uint8Array(extra));
}

/** A property of any type, filled with `fill`. */
export function property(type: number, length: number, fill = 0xa5): Uint8Array {
  return concat(ProbeProperty.encode({ type, length }), new Uint8Array(length).fill(fill));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A list of `size` bytes: the parts, then zeros. */
export function list(size: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(concat(...parts).subarray(0, size));
  return bytes;
}
