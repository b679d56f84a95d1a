/** What every request has in common: section "IOMMU Device / Device operations". */

import { type FieldNames, type Struct, struct } from '../../wire/struct.ts';
import { Status } from './status.ts';

/** The `type` byte of a request. */
export const RequestType = {
  ATTACH: 1,
  DETACH: 2,
  MAP: 3,
  UNMAP: 4,
  PROBE: 5,
} as const;

export type RequestType = (typeof RequestType)[keyof typeof RequestType];

/** The fields that open every request; layouts of requests spread them first. */
export const head = { type: 'u8', reserved0: 'u8[3]' } as const;

/** What the numbers in {@link head} are called. */
export const headNames: { readonly type: FieldNames } = { type: { values: RequestType } };

const tail = { status: 'u8', reserved: 'u8[3]' } as const;

/** The first 4 device-readable bytes of a request. */
export const RequestHead: Struct<typeof head> = struct('virtio_iommu_req_head', 4, head, headNames);

/** The last 4 device-writable bytes of a request. */
export const RequestTail: Struct<typeof tail> = struct('virtio_iommu_req_tail', 4, tail, {
  status: { values: Status },
});
