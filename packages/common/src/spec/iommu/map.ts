/** Section "IOMMU Device / MAP request". */

import { type Struct, struct } from '../../wire/struct.ts';
import { head, headNames } from './request.ts';

const fields = {
  domain: 'le32',
  virtStart: 'le64',
  virtEnd: 'le64',
  physStart: 'le64',
  flags: 'le32',
} as const;

/** Bits of `flags`. */
export const MapFlag = {
  READ: 0x1,
  WRITE: 0x2,
  /** The range is memory-mapped I/O; only with the MMIO feature. */
  MMIO: 0x4,
} as const;

/** Device-readable part of a MAP request; `virtEnd` is inclusive. The tail follows in the writable part. */
export const MapRequest: Struct<typeof head & typeof fields> = struct(
  'virtio_iommu_req_map',
  36,
  { ...head, ...fields },
  { ...headNames, flags: { bits: MapFlag } },
);
