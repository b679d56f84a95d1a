/** The register window of a copy engine. The layout is ours: a device that the standard does not have. */

import { type Struct, struct } from '@viommu/common';

const fields = {
  /** {@link COPY_MAGIC}. */
  magic: 'le32',
  /** {@link COPY_VERSION}. */
  version: 'le32',
  /** The endpoint whose accesses the engine makes. */
  endpoint: 'le32',
  reserved0: 'u8[4]',
  /** Written by the guest: where to read. */
  sourceLow: 'le32',
  sourceHigh: 'le32',
  /** Written by the guest: where to write. */
  targetLow: 'le32',
  targetHigh: 'le32',
  /** Written by the guest: bytes to copy. */
  length: 'le32',
  /** Any write starts the copy, which is over when the write is acknowledged. */
  go: 'le32',
  /** How the last copy ended: a value of {@link CopyStatus}. */
  status: 'le32',
  /** Bytes that the last copy wrote. */
  copied: 'le32',
  /** After a fault: the address that could not be accessed. */
  faultLow: 'le32',
  faultHigh: 'le32',
} as const;

/** What the guest's loads and stores mean. */
export const CopyRegisters: Struct<typeof fields> = struct('copy_registers', 56, fields, {});

/** `copy`, as a little-endian word. */
export const COPY_MAGIC = 0x7970_6f63;
export const COPY_VERSION = 1;

/** How a copy ended. */
export const CopyStatus = {
  /** None was started yet. */
  IDLE: 0,
  OK: 1,
  /** The IOMMU refused to let the engine read. */
  READ_FAULT: 2,
  /** The IOMMU refused to let the engine write. */
  WRITE_FAULT: 3,
  /** The address was translated, and no memory is there to read. */
  READ_UNBACKED: 4,
  /** The address was translated, and no memory is there to write. */
  WRITE_UNBACKED: 5,
  /** More bytes than {@link COPY_BYTES_MAX}. */
  TOO_LONG: 6,
} as const;

/** The most bytes of one copy, since the host does nothing else meanwhile. */
export const COPY_BYTES_MAX: number = 1 << 20;
