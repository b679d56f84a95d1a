/** Section "IOMMU Device / Fault reporting". */

import { type Struct, struct } from '../../wire/struct.ts';

const fields = {
  reason: 'u8',
  reserved: 'u8[3]',
  flags: 'le32',
  endpoint: 'le32',
  reserved1: 'u8[4]',
  address: 'le64',
} as const;

/** Values of `reason`. */
export const FaultReason = {
  UNKNOWN: 0,
  /** The endpoint is not attached to a domain. */
  DOMAIN: 1,
  /** No mapping covers the address, or it lacks the permission. */
  MAPPING: 2,
} as const;

export type FaultReason = (typeof FaultReason)[keyof typeof FaultReason];

/** Bits of `flags`. */
export const FaultFlag = {
  READ: 0x1,
  WRITE: 0x2,
  /** `address` is valid. */
  ADDRESS: 0x100,
} as const;

/** A fault record, written by the device into a buffer of the event queue. */
export const FaultRecord: Struct<typeof fields> = struct('virtio_iommu_fault', 24, fields, {
  reason: { values: FaultReason },
  flags: { bits: FaultFlag },
});
