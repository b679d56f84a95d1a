/** Section "IOMMU Device / Device configuration layout". */

import { type Struct, struct } from '../../wire/struct.ts';

const fields = {
  pageSizeMask: 'le64',
  inputRangeStart: 'le64',
  inputRangeEnd: 'le64',
  domainRangeStart: 'le32',
  domainRangeEnd: 'le32',
  probeSize: 'le32',
  bypass: 'u8',
  reserved: 'u8[3]',
} as const;

/** The configuration space; range ends are inclusive, and only `bypass` can be written. */
export const IommuConfig: Struct<typeof fields> = struct('virtio_iommu_config', 40, fields);
