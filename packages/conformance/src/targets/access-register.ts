/** The register window of an endpoint that the suite drives in another thread. The layout is ours. */

import { type Struct, struct } from '@viommu/common';

const fields = {
  /** Written by the suite: where the access goes. */
  iovaLow: 'le32',
  iovaHigh: 'le32',
  /** Written by the suite: bytes of the access, and where in guest memory they lie. */
  length: 'le32',
  bufferLow: 'le32',
  bufferHigh: 'le32',
  /** A value of {@link AccessGo}; the access, or what else it is, is over when the write is acknowledged. */
  go: 'le32',
  /** How the last access ended: a value of {@link AccessStatus}. */
  status: 'le32',
} as const;

export const AccessRegisters: Struct<typeof fields> = struct('access_registers', 28, fields);

export const AccessGo = { READ: 1, WRITE: 2, SYSTEM_RESET: 3 } as const;

export const AccessStatus = { DONE: 1, REFUSED: 2 } as const;

/** The longest access. */
export const ACCESS_BYTES_MAX = 4096;
