/** Status of a request: section "IOMMU Device / Device operations". An outcome, returned and never thrown. */
export const Status = {
  /** Success. */
  OK: 0,
  /** Virtio communication error. */
  IOERR: 1,
  /** The device does not support the request in this form. */
  UNSUPP: 2,
  /** The device failed inside. */
  DEVERR: 3,
  /** A parameter is invalid. */
  INVAL: 4,
  /** A parameter is outside its range. */
  RANGE: 5,
  /** The endpoint or the domain does not exist. */
  NOENT: 6,
  /** The device could not access the guest's memory. */
  FAULT: 7,
  /** The device is out of resources. */
  NOMEM: 8,
} as const;

export type Status = (typeof Status)[keyof typeof Status];

const NAMES: readonly string[] = Object.keys(Status);

/** The name of a status byte, or `status 200` for one the standard does not define. */
export function formatStatus(status: number): string {
  return NAMES[status] ?? `status ${status}`;
}
