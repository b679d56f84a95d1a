/** Reads the properties of a PROBE, for the plain driver. */

import { ProbeProperty, ReservedMemory } from '@viommu/common';
import type { TargetRegion } from '../../src/target.ts';

/** What of an endpoint is reserved, as a right reader finds it; `undefined` if that cannot be read. */
export function parseProperties(bytes: Uint8Array): TargetRegion[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const regions: TargetRegion[] = [];
  for (let at = 0; at + ProbeProperty.size <= bytes.length;) {
    const { type, length } = ProbeProperty.read(view, at);
    if ((type & 0xfff) === 0) break;
    const next = at + ProbeProperty.size + length;
    if (type === 1) {
      if (length < 20 || next > bytes.length) return undefined;
      const { start, end, subtype } = ReservedMemory.read(view, at);
      if (end < start) return undefined;
      regions.push({ start, last: end, type: subtype === 1 ? 'msi' : 'reserved' });
    }
    at = next;
  }
  return regions;
}
