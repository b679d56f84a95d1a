/** Whoever keeps translations instead of asking for each access, such as the cache of a device's ring pages. */

/**
 * Is told what it must forget, before the request that takes it away is answered: nothing outlives its mapping. It is
 * told about all domains, and must not call the IOMMU back.
 */
export interface TranslationKeeper {
  /** Addresses in these pages may lead elsewhere or nowhere from now on. */
  invalidate(startPage: number, lastPage: number): void;
  /** All addresses may. */
  invalidateAll(): void;
}
