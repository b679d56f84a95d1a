/**
 * Ranges are `[start, last]`, and `last` is inclusive: a range may end at 2^64 - 1, and no size is ever stored.
 */

import { ADDRESS_MAX } from './address.ts';
import { IommuError } from './error.ts';

/** All addresses from `start` to `last`, both included; `start <= last` always holds. */
export interface Range<Address extends bigint = bigint> {
  readonly start: Address;
  readonly last: Address;
}

/** The range of every 64-bit address. */
export const FULL_RANGE: Range = { start: 0n, last: ADDRESS_MAX };

/**
 * Makes a range of two inclusive ends.
 *
 * @throws {IommuError} `EINVAL` if `last` is below `start`, `EOVERFLOW` if an end is no unsigned 64-bit number.
 */
export function range<Address extends bigint>(start: Address, last: Address): Range<Address> {
  if (start < 0n || last > ADDRESS_MAX)
    throw new IommuError('EOVERFLOW', `The range ${format(start, last)} leaves 64 bits.`);
  if (last < start)
    throw new IommuError('EINVAL', `The range ${format(start, last)} ends before it starts.`);
  return { start, last };
}

/**
 * Makes the range of `sizeBytes` bytes from `start`.
 *
 * @throws {IommuError} `EINVAL` if the size is not positive, `EOVERFLOW` if the range would pass 2^64 - 1.
 */
export function rangeOfSize<Address extends bigint>(
  start: Address,
  sizeBytes: bigint,
): Range<Address> {
  if (sizeBytes <= 0n) throw new IommuError('EINVAL', `A range of ${sizeBytes} bytes is empty.`);
  return range(start, (start + sizeBytes - 1n) as Address);
}

/** The number of bytes in a range, 1..2^64. */
export function rangeSize(of: Range): bigint {
  return of.last - of.start + 1n;
}

/** True if `address` lies in the range. */
export function includes(outer: Range, address: bigint): boolean {
  return address >= outer.start && address <= outer.last;
}

/** True if every address of `inner` lies in `outer`. */
export function contains(outer: Range, inner: Range): boolean {
  return inner.start >= outer.start && inner.last <= outer.last;
}

/** True if the two ranges share an address. */
export function overlaps(a: Range, b: Range): boolean {
  return a.start <= b.last && b.start <= a.last;
}

/** The smallest range of whole granules that holds `inner`. `granule` is a power of two, 1..2^63. */
export function alignOutward<Address extends bigint>(
  inner: Range<Address>,
  granule: bigint,
): Range<Address> {
  const mask = granule - 1n;
  return { start: (inner.start & ~mask) as Address, last: (inner.last | mask) as Address };
}

/** The largest range of whole granules inside `outer`, or `undefined` if it holds none. */
export function alignInward<Address extends bigint>(
  outer: Range<Address>,
  granule: bigint,
): Range<Address> | undefined {
  const mask = granule - 1n;
  const start = (outer.start + mask) & ~mask;
  const last = ((outer.last + 1n) & ~mask) - 1n;
  return start <= last ? { start: start as Address, last: last as Address } : undefined;
}

function format(start: bigint, last: bigint): string {
  return `[0x${start.toString(16)}, 0x${last.toString(16)}]`;
}
