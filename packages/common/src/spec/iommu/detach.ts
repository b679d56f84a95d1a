/** Section "IOMMU Device / DETACH request". */

import { type Struct, struct } from '../../wire/struct.ts';
import { head, headNames } from './request.ts';

const fields = { domain: 'le32', endpoint: 'le32', reserved1: 'u8[8]' } as const;

/** Device-readable part of a DETACH request; the tail follows in the writable part. */
export const DetachRequest: Struct<typeof head & typeof fields> = struct(
  'virtio_iommu_req_detach',
  20,
  { ...head, ...fields },
  headNames,
);
