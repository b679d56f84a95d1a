/** How a mapping may be used, in the words of the guest's IOMMU core. */

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
