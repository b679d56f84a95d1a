/** Lists of PROBE properties, right and wrong, and what a driver must make of each: sections "PROBE request" and "RESV_MEM". */

import { ADDRESS_MAX, type ErrorCode, ProbeProperty, ReservedMemory, pageOf } from '@viommu/common';
import { list, property, region } from '../../driver/property.ts';
import type { Random } from '../random.ts';

/** Both ends are included. */
export interface ExpectedRegion {
  readonly start: bigint;
  readonly last: bigint;
  readonly msi: boolean;
  readonly startPage: number;
  readonly lastPage: number;
}

export interface ExpectedProbe {
  readonly error: ErrorCode | undefined;
  /** In the order of their starts. */
  readonly regions: readonly ExpectedRegion[];
  /** Properties that mean nothing to a driver. */
  readonly skipped: number;
  /** Regions of a kind that the standard does not have. */
  readonly unknown: number;
}

const HEADER_BYTES = ProbeProperty.size;
const REGION_BYTES = ReservedMemory.size;
const {
  length: LENGTH_AT,
  subtype: SUBTYPE_AT,
  start: START_AT,
  end: END_AT,
} = ReservedMemory.offset;
const STARTS = [
  0n,
  0x1000n,
  0xf000n,
  0xff_e000n,
  0x11_e000n,
  0x10_f000n,
  0x8000n,
  0x1_0000n,
  0x11_0000n,
  0x800_0000n,
  0x7ff_ffffn,
  0xfee0_0000n,
  ADDRESS_MAX - 0xfffn,
];
const SIZES = [0x1000n, 1n, 0x2000n, 0x10n, 0x10_0000n, 0x1801n];

/** Draws a list for `bytes` of room; without `wrong` it is one that a device may give. */
export function randomProperties(random: Random, bytes: number, wrong: boolean): Uint8Array {
  const parts = Array.from({ length: random.number(5) }, () => randomProperty(random, wrong));
  if (wrong && random.once(3)) parts.push(random.pick(WRONG)());
  const used = parts.reduce((sum, { length }) => sum + length, 0);
  const rest = bytes - used - 2 * HEADER_BYTES;
  // One that ends with the last byte.
  if (rest >= 0 && random.once(4)) parts.push(property(2, rest), property(0x7ff, 0));
  const whole = list(bytes, ...parts);
  // A list that fits ends with a whole property, or with zeros.
  if (wrong) return whole;
  const lengths = parts.map(({ length }) => length);
  let end = 0;
  for (const length of lengths) {
    if (end + length > bytes) return list(bytes, whole.subarray(0, end));
    end += length;
  }
  return whole;
}

function randomProperty(random: Random, wrong: boolean): Uint8Array {
  const start = random.pick(STARTS) + BigInt(random.pick([0, 0, 1, 0x800]));
  const last = start + random.pick(SIZES) - 1n;
  const end = last > ADDRESS_MAX ? ADDRESS_MAX : last;
  switch (random.number(wrong ? 8 : 6)) {
    case 0:
    case 1:
      return region({ start, end, subtype: random.pick([0, 1]) });
    case 2:
      return region({ start, end, subtype: random.pick([2, 0xff]), reserved: [1, 2, 3] });
    case 3:
      return property(random.pick([2, 0x7ff, 0xfff]), random.pick([0, 1, 20, 5]));
    case 4:
      // Of a known type, but for the bits that nobody may use yet.
      return region({ start, end, type: random.pick([0x1001, 0x8001]) });
    case 5:
      return region({ start, end, extra: random.pick([0, 4]) });
    case 6:
      return region({ start, end, length: random.pick([0, 19, 16, 21, 0xffff]) });
    default:
      return property(random.pick([0, 0x1000, 1]), random.pick([0, 3]));
  }
}

/** What no device may give. */
const WRONG: readonly (() => Uint8Array)[] = [
  () => region({ start: 0x2000n, end: 0x1fffn }),
  () => region({ start: 0n, end: ADDRESS_MAX }),
  () => region({ start: 1n, end: 0n }),
  () => property(5, 0xffff).subarray(0, 600),
  () => region({ start: 0x1000n, end: 0x1fffn }).subarray(0, 23),
];

/** What is in a list, read as plainly as can be. */
export function expectedOf(bytes: Uint8Array): ExpectedProbe {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const regions: ExpectedRegion[] = [];
  let [skipped, unknown] = [0, 0];
  const fails = (error: ErrorCode): ExpectedProbe => ({
    error,
    regions: [],
    skipped: 0,
    unknown: 0,
  });
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const type = view.getUint16(at, true);
    const length = view.getUint16(at + LENGTH_AT, true);
    if ((type & 0xfff) === 0) break;
    if (type === 1) {
      if (length < REGION_BYTES - HEADER_BYTES || at + HEADER_BYTES + length > bytes.length)
        return fails('EINVAL');
      const subtype = view.getUint8(at + SUBTYPE_AT);
      const start = view.getBigUint64(at + START_AT, true);
      const last = view.getBigUint64(at + END_AT, true);
      if (last < start || (start === 0n && last === ADDRESS_MAX)) return fails('EOVERFLOW');
      if (subtype > 1) unknown += 1;
      regions.push({
        start,
        last,
        msi: subtype === 1,
        startPage: pageOf(start),
        lastPage: pageOf(last),
      });
    } else skipped += 1;
    at += HEADER_BYTES + length;
  }
  regions.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  return { error: undefined, regions, skipped, unknown };
}
