/** Sections "Split Virtqueues / The Virtqueue Available Ring" and "/ The Virtqueue Used Ring". */

import { type Struct, struct } from '../../wire/struct.ts';

/** `flags` of the available ring. */
export const AvailableFlag = {
  /** The driver wants no notification of used buffers; unreliable, and 0 with EVENT_IDX. */
  NO_INTERRUPT: 1,
} as const;

/** `flags` of the used ring. */
export const UsedFlag = {
  /** The device wants no notification of available buffers; unreliable, and 0 with EVENT_IDX. */
  NO_NOTIFY: 1,
} as const;

const ringHeader = { flags: 'le16', idx: 'le16' } as const;

/** The head of an available ring; entries follow it. */
export const AvailableRing: Struct<typeof ringHeader> = struct('virtq_avail', 4, ringHeader, {
  flags: { bits: AvailableFlag },
});
/** The head of a used ring; elements follow it. */
export const UsedRing: Struct<typeof ringHeader> = struct('virtq_used', 4, ringHeader, {
  flags: { bits: UsedFlag },
});

const usedElement = { id: 'le32', len: 'le32' } as const;

/** One element of the used ring. */
export const UsedElement: Struct<typeof usedElement> = struct('virtq_used_elem', 8, usedElement);

/** Size in bytes of one entry of the available ring, and of the event index that follows the entries. */
export const RING_ENTRY_SIZE = 2;

/** The largest size of a virtqueue. */
export const QUEUE_SIZE_MAX = 32768;
