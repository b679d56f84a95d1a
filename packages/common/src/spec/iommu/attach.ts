/** Section "IOMMU Device / ATTACH request". */

import { type Struct, struct } from '../../wire/struct.ts';
import { head, headNames } from './request.ts';

const fields = { domain: 'le32', endpoint: 'le32', flags: 'le32', reserved1: 'u8[4]' } as const;

/** Bits of `flags`. */
export const AttachFlag = {
  /** The domain is a bypass domain: accesses of its endpoints are not translated. */
  BYPASS: 0x1,
} as const;

/** Device-readable part of an ATTACH request; the tail follows in the writable part. */
export const AttachRequest: Struct<typeof head & typeof fields> = struct(
  'virtio_iommu_req_attach',
  20,
  { ...head, ...fields },
  { ...headNames, flags: { bits: AttachFlag } },
);
