/** The used ring of a split queue after the driver broke rules. */

import { UsedElement, UsedRing } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';
import { Deviation } from './deviation.ts';

/** @throws {Deviation} if a chain was used that lies outside the table; the ring, at `used`, was fresh before. */
export function checkUsed(memory: GuestMemory, used: number, size: number): void {
  const count = memory.loadUint16(used + UsedRing.offset.idx);
  for (let slot = 0; slot < Math.min(count, size); slot += 1) {
    const id = memory.getUint32(used + UsedRing.size + UsedElement.size * slot);
    if (id >= size) throw new Deviation('ring', 'a chain outside the table is used', `id ${id}`);
  }
}
