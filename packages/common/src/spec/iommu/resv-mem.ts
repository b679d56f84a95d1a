/** Section "IOMMU Device / PROBE properties / RESV_MEM". */

import { type Struct, struct } from '../../wire/struct.ts';
import { ProbeType } from './probe.ts';

const fields = {
  type: 'le16',
  length: 'le16',
  subtype: 'u8',
  reserved: 'u8[3]',
  start: 'le64',
  end: 'le64',
} as const;

/** Values of `subtype`. */
export const ReservedMemoryType = {
  /** Accesses to the region are refused or have no defined effect. */
  RESERVED: 0,
  /** Writes to the region are message-signalled interrupts. */
  MSI: 1,
} as const;

/** A reserved region of an endpoint, its property header included; `end` is inclusive. */
export const ReservedMemory: Struct<typeof fields> = struct(
  'virtio_iommu_probe_resv_mem',
  24,
  fields,
  { type: { values: ProbeType }, subtype: { values: ReservedMemoryType } },
);
