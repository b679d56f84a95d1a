/** Section "IOMMU Device / PROBE request". */

import { type Struct, struct } from '../../wire/struct.ts';
import { head, headNames } from './request.ts';

const fields = { endpoint: 'le32', reserved1: 'u8[64]' } as const;

/** Device-readable part of a PROBE request; `probe_size` bytes of properties and the tail are writable. */
export const ProbeRequest: Struct<typeof head & typeof fields> = struct(
  'virtio_iommu_req_probe',
  72,
  { ...head, ...fields },
  headNames,
);

/** The part of a property header's `type` word that names the type; the other bits are reserved. */
export const PROBE_TYPE_MASK = 0xfff;

/** Property types. */
export const ProbeType = {
  /** Ends the list. */
  NONE: 0,
  RESV_MEM: 1,
} as const;

const property = { type: 'le16', length: 'le16' } as const;

/** The header of a property; `length` counts the bytes behind it. */
export const ProbeProperty: Struct<typeof property> = struct(
  'virtio_iommu_probe_property',
  4,
  property,
  { type: { values: ProbeType } },
);
