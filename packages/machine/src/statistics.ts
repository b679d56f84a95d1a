/** What a machine counts while it runs. The counters lie in shared memory, so that anybody may look at any time. */

/** Cells of the host worker's counters. */
export const HostCounter = {
  SLEEPS: 0,
  COPIES: 1,
  COPIED_BYTES: 2,
  INTERRUPT_MESSAGES: 3,
} as const;

/** Cells of the guest worker's counters. */
export const GuestCounter = { REQUESTS: 0, SYNCS: 1, NOTIFICATIONS: 2, FAULTS: 3 } as const;
