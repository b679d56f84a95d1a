/** Section "IOMMU Device / UNMAP request". */

import { type Struct, struct } from '../../wire/struct.ts';
import { head, headNames } from './request.ts';

const fields = {
  domain: 'le32',
  virtStart: 'le64',
  virtEnd: 'le64',
  reserved1: 'u8[4]',
} as const;

/** Device-readable part of an UNMAP request; `virtEnd` is inclusive. The tail follows in the writable part. */
export const UnmapRequest: Struct<typeof head & typeof fields> = struct(
  'virtio_iommu_req_unmap',
  28,
  { ...head, ...fields },
  headNames,
);
