/** What of a mapping's protection goes to the device. */

import { MapFlag, Protection } from '@viommu/common';

const PROTECTION_MASK = Object.values(Protection).reduce((mask, bit) => mask | bit, 0);

/** The flags of a MAP request for `protection`: the bits that the standard can express. -1 if a bit is unknown. */
export function mapFlagsOf(protection: number): number {
  if ((protection & ~PROTECTION_MASK) !== 0) return -1;
  const access = protection & (Protection.READ | Protection.WRITE);
  return (protection & Protection.MMIO) === 0 ? access : access | MapFlag.MMIO;
}
