/**
 * Entries of a grant table, as Xen lays them out, version 1: shared between the domain that grants and the hypervisor.
 *
 * An entry is two 32-bit words, so that flags and domain change together and in one step.
 */

import { type Struct, struct } from '@viommu/common';

const fields = { flags: 'le16', domid: 'le16', frame: 'le32' } as const;

/** Bits of `flags`. */
export const GrantFlag = {
  /** The domain `domid` may map the page. */
  PERMIT_ACCESS: 1,
  /** For reading only. */
  READ_ONLY: 4,
  /** The page is mapped; set by the hypervisor. */
  READING: 8,
  /** The page is mapped for writing; set by the hypervisor. */
  WRITING: 16,
} as const;

/** One entry. */
export const GrantEntry: Struct<typeof fields> = struct('grant_entry', 8, fields, {
  flags: { bits: GrantFlag },
});

/** References below this one belong to the hypervisor. */
export const FIRST_GRANT = 8;
/** The largest number that a domain can have. */
export const DOMID_MAX = 0x7fef;

/** Words of an entry. */
export const ENTRY_WORDS: number = GrantEntry.size / 4;
/** The word with flags and domain, and the word with the frame. */
export const ACCESS_WORD: number = GrantEntry.offset.flags / 4;
export const FRAME_WORD: number = GrantEntry.offset.frame / 4;
/** Where the domain begins in its word. */
export const DOMID_SHIFT: number = (GrantEntry.offset.domid - GrantEntry.offset.flags) * 8;
/** What the hypervisor sets in an entry that is in use. */
export const IN_USE: number = GrantFlag.READING | GrantFlag.WRITING;
