/** How the window of a target is divided, and how much of everything a stream may have. */

/** Requests that may be out at once. */
export const BATCH_MAX = 128;
/** The largest queue. */
export const QUEUE_SIZE_MAX = 256;
/** Bytes of a request and of an answer; what a stream has more of is cut. */
export const READABLE_MAX = 128;
export const WRITABLE_MAX = 2040;
/** Bytes behind each answer that nobody may write. */
export const GUARD_BYTES = 8;
export const EVENTS_MAX = 32;
export const EVENT_STRIDE = 64;
/** Bytes of one access. */
export const ACCESS_MAX = 4096;

/** Where things lie, in bytes from the start of the window. */
export const Place = {
  EVENT_RING: 0,
  /** Not at the start, so that memory ends before the largest index of a descriptor. */
  REQUEST_RING: 0x4000,
  TABLES: 0x8000,
  REQUESTS: 0x1_0000,
  EVENTS: 0x1_8000,
  ANSWERS: 0x2_0000,
  /** Where accesses of endpoints may go. */
  DATA: 0x6_0000,
} as const;

export const DATA_BYTES = 0x2_0000;

/** What writable buffers hold beforehand. */
export const FILL = 0xa5;
