/** What a machine counts while it runs. The counters lie in shared memory, so that anybody may look at any time. */

import type { Bookkeeping } from './bookkeeping.ts';

/** Cells of the host worker's counters. */
export const HostCounter = { COPIES: 0, COPIED_BYTES: 1, INTERRUPT_MESSAGES: 2 } as const;

/** Cells of the guest worker's counters. */
export const GuestCounter = { NOTIFICATIONS: 0 } as const;

/** What has been counted since the machine was made. */
export interface MachineStatistics {
  /** Doorbells the guest rang at the IOMMU; known when its program has ended. */
  readonly notifications: number;
  /** Copies that copy engines were told to make, those that failed included. */
  readonly copies: number;
  readonly copiedBytes: number;
  /** Accesses of copy engines that were interrupts. */
  readonly interruptMessages: number;
}

export function readStatistics(page: Bookkeeping): MachineStatistics {
  const cell = (index: number): number => page.hostCounters[index] ?? 0;
  return {
    notifications: page.guestCounters[GuestCounter.NOTIFICATIONS] ?? 0,
    copies: cell(HostCounter.COPIES),
    copiedBytes: cell(HostCounter.COPIED_BYTES),
    interruptMessages: cell(HostCounter.INTERRUPT_MESSAGES),
  };
}
