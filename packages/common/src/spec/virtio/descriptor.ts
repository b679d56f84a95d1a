/** Section "Split Virtqueues / The Virtqueue Descriptor Table". */

import { type Struct, struct } from '../../wire/struct.ts';

const fields = { addr: 'le64', len: 'le32', flags: 'le16', next: 'le16' } as const;

/** Bits of `flags`. */
export const DescriptorFlag = {
  /** The chain goes on at `next`. */
  NEXT: 1,
  /** The device writes the buffer; otherwise it reads it. */
  WRITE: 2,
  /** The buffer is a table of descriptors. */
  INDIRECT: 4,
} as const;

/** An entry of a split descriptor table or of its indirect tables. */
export const Descriptor: Struct<typeof fields> = struct('virtq_desc', 16, fields, {
  flags: { bits: DescriptorFlag },
});
