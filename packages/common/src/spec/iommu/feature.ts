/** Feature bits of the IOMMU device: section "IOMMU Device / Feature bits". The values are bit numbers. */
export const IommuFeature = {
  INPUT_RANGE: 0,
  DOMAIN_RANGE: 1,
  MAP_UNMAP: 2,
  /** Superseded by BYPASS_CONFIG. */
  BYPASS: 3,
  PROBE: 4,
  MMIO: 5,
  BYPASS_CONFIG: 6,
} as const;
