/** How a mapping may be used, in the words of the IOMMU core, and what of it goes to the device. */

import { MapFlag } from '@viommu/common';

/** Bits of a mapping's protection. */
export const Protection = {
  READ: 1,
  WRITE: 2,
  /** Accesses are cache coherent. */
  CACHE: 4,
  NOEXEC: 8,
  /** The target is device registers or a doorbell, not memory. */
  MMIO: 16,
  /** Privileged accesses only. */
  PRIV: 32,
} as const;

const PROTECTION_MASK = 0x3f;

/** The flags of a MAP request for `protection`: the bits that the standard can express. -1 if a bit is unknown. */
export function mapFlagsOf(protection: number): number {
  if ((protection & ~PROTECTION_MASK) !== 0) return -1;
  const access = protection & (Protection.READ | Protection.WRITE);
  return (protection & Protection.MMIO) === 0 ? access : access | MapFlag.MMIO;
}
