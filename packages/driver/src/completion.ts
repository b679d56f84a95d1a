/** What the end of a request means: section "Device operations", the tail's status. */

import { type ErrorCode, Status } from '@viommu/common';

/** In place of a status byte: the device gave none, or too few bytes, or never answered. */
export const NO_STATUS = -1;

const ERRORS: readonly (ErrorCode | undefined)[] = [
  undefined, // OK
  'EIO', // IOERR
  'ENOSYS', // UNSUPP
  'EIO', // DEVERR
  'EINVAL', // INVAL
  'ERANGE', // RANGE
  'ENOENT', // NOENT
  'EFAULT', // FAULT
  'ENOMEM', // NOMEM
];

/** The error that a status byte, or {@link NO_STATUS}, stands for; `undefined` for success. */
export function errorOfStatus(status: number): ErrorCode | undefined {
  // Statuses the standard does not define fail the request like an error of the device.
  return status === Status.OK ? undefined : (ERRORS[status] ?? 'EIO');
}

/** True if the device may have done the request: it gave no status, or none that the standard has. */
export function isUnclear(status: number): boolean {
  return status < 0 || status >= ERRORS.length;
}
