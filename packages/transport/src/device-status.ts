/** What a driver's write to the status register does: section "Device Status Field". */

import { DeviceStatus } from '@viommu/common';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED } = DeviceStatus;

/** The bits that a driver sets; all others in a write mean nothing. */
const DRIVER_BITS = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK | FAILED;

/**
 * The status after the driver wrote `written` over `status`. If FEATURES_OK is new in it, the device may still drop
 * that bit.
 *
 * Zero is a reset. A write that would clear a bit has no effect, and neither has a bit whose turn has not come:
 * ACKNOWLEDGE, DRIVER and FEATURES_OK follow each other, DRIVER_OK follows a FEATURES_OK that an earlier write settled.
 * Nothing but FAILED can be set in a device that failed or needs a reset.
 */
export function statusAfterWrite(status: number, written: number): number {
  if (written === 0) return 0;
  if ((status & DRIVER_BITS & ~written) !== 0) return status;
  let next = status | (written & FAILED);
  if ((next & (FAILED | DEVICE_NEEDS_RESET)) !== 0) return next;
  next |= written & ACKNOWLEDGE;
  if ((next & ACKNOWLEDGE) !== 0) next |= written & DRIVER;
  if ((next & DRIVER) !== 0) next |= written & FEATURES_OK;
  if ((status & FEATURES_OK) !== 0) next |= written & DRIVER_OK;
  return next;
}

/** Which bit stands only beside which other. */
const AFTER = [
  [DRIVER, ACKNOWLEDGE],
  [FEATURES_OK, DRIVER],
  [DRIVER_OK, FEATURES_OK],
  [DEVICE_NEEDS_RESET, FEATURES_OK],
] as const;

/** True if a device can come to have this status. */
export function isPossibleStatus(status: number): boolean {
  if ((status & ~(DRIVER_BITS | DEVICE_NEEDS_RESET)) !== 0) return false;
  return AFTER.every(([bit, before]) => (status & bit) === 0 || (status & before) !== 0);
}
