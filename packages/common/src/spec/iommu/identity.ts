/** What makes a virtio device an IOMMU: section "IOMMU Device / Device ID" and "/ Virtqueues". */

/** The virtio device type of an IOMMU. */
export const IOMMU_DEVICE_ID = 23;

/** Queue numbers. */
export const IommuQueue = {
  /** Requests from the driver. */
  REQUEST: 0,
  /** Fault records from the device. */
  EVENT: 1,
} as const;
