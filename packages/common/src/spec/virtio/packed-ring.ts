/** Section "Packed Virtqueues". */

import { type Struct, struct } from '../../wire/struct.ts';
import { DescriptorFlag } from './descriptor.ts';

/** Bits of `flags` beside those of a split descriptor, whose values are the same. */
export const PackedFlag = {
  /** Equals the driver's wrap counter when the descriptor is made available. */
  AVAIL: 0x80,
  /** Differs from AVAIL while the descriptor is available, equals it once used. */
  USED: 0x8000,
} as const;

const fields = { addr: 'le64', len: 'le32', id: 'le16', flags: 'le16' } as const;

/** A slot of a packed ring, or an entry of one of its indirect tables. */
export const PackedDescriptor: Struct<typeof fields> = struct('pvirtq_desc', 16, fields, {
  flags: { bits: { ...DescriptorFlag, ...PackedFlag } },
});

/** Values of an event suppression structure's `flags`; the other bits are reserved. */
export const EventMode = {
  ENABLE: 0,
  DISABLE: 1,
  /** Only for the descriptor that `desc` names; with EVENT_IDX. */
  DESCRIPTOR: 2,
} as const;

const eventFields = { desc: 'le16', flags: 'le16' } as const;

/** Driver or device event suppression. */
export const EventSuppression: Struct<typeof eventFields> = struct(
  'pvirtq_event_suppress',
  4,
  eventFields,
  { flags: { values: EventMode } },
);

/** The part of `desc` that is a slot; the bit above it is a wrap counter. */
export const EVENT_OFFSET_MASK = 0x7fff;
/** The wrap counter in `desc`. */
export const EVENT_WRAP = 0x8000;
