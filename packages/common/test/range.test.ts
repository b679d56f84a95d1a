/** Ranges against sets: on a small line every address is looked at, and on the whole line the edges are. */

import {
  ADDRESS_MAX,
  FULL_RANGE,
  IommuError,
  type Range,
  alignInward,
  alignOutward,
  contains,
  includes,
  overlaps,
  range,
  rangeOfSize,
  rangeSize,
} from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const LINE = Array.from({ length: 24 }, (_, index) => BigInt(index));

/** The addresses of a range, or of those addresses of the line that `test` picks. */
function pick(test: (address: bigint) => boolean): bigint[] {
  return LINE.filter(test);
}
const members = (of: Range | undefined): bigint[] =>
  pick((address) => of !== undefined && includes(of, address));

/** Two ends in order, somewhere in `min..max`. */
const spanIn = (min: bigint, max: bigint): fc.Arbitrary<Range> =>
  fc
    .tuple(fc.bigInt({ min, max }), fc.bigInt({ min, max }))
    .map(([a, b]) => (a < b ? { start: a, last: b } : { start: b, last: a }));
const smallSpan = spanIn(0n, 15n);
const anySpan = fc.oneof(
  spanIn(0n, ADDRESS_MAX),
  spanIn(0n, 5000n),
  spanIn((1n << 32n) - 5000n, (1n << 32n) + 5000n),
  spanIn((1n << 53n) - 5000n, (1n << 53n) + 5000n),
  spanIn(ADDRESS_MAX - 5000n, ADDRESS_MAX),
  fc.constant(FULL_RANGE),
);

describe('making a range', () => {
  it('keeps both ends', () => {
    expect(range(0n, 0n)).toEqual({ start: 0n, last: 0n });
    expect(range(0n, ADDRESS_MAX)).toEqual(FULL_RANGE);
    expect(rangeSize(FULL_RANGE)).toBe(1n << 64n);
    expect(rangeOfSize(0n, 1n << 64n)).toEqual(FULL_RANGE);
    expect(rangeOfSize(ADDRESS_MAX, 1n)).toEqual({ start: ADDRESS_MAX, last: ADDRESS_MAX });
  });

  it.each<[string, () => unknown, string, string]>([
    [
      'ends before it starts',
      () => range(1n, 0n),
      'EINVAL',
      'The range [0x1, 0x0] ends before it starts.',
    ],
    ['starts below 0', () => range(-1n, 0n), 'EOVERFLOW', 'The range [0x-1, 0x0] leaves 64 bits.'],
    [
      'ends above 2^64 - 1',
      () => range(0n, ADDRESS_MAX + 1n),
      'EOVERFLOW',
      'The range [0x0, 0x10000000000000000] leaves 64 bits.',
    ],
    ['has no byte', () => rangeOfSize(1n, 0n), 'EINVAL', 'A range of 0 bytes is empty.'],
    ['has fewer', () => rangeOfSize(1n, -1n), 'EINVAL', 'A range of -1 bytes is empty.'],
    [
      'passes the end of memory',
      () => rangeOfSize(ADDRESS_MAX, 2n),
      'EOVERFLOW',
      'The range [0xffffffffffffffff, 0x10000000000000000] leaves 64 bits.',
    ],
  ])('fails if it %s', (_, make, code, message) => {
    expect(make).toThrow(IommuError);
    expect(make).toThrow(expect.objectContaining({ code, message }));
  });

  it('goes to a size and back', () => {
    fc.assert(
      fc.property(anySpan, (span) => {
        expect(rangeOfSize(span.start, rangeSize(span))).toEqual(span);
        expect(range(span.start, span.last)).toEqual(span);
      }),
      { seed: 8 },
    );
  });
});

describe('comparing ranges', () => {
  it('is comparing the sets of their addresses', () => {
    fc.assert(
      fc.property(smallSpan, smallSpan, (a, b) => {
        const shared = members(a).filter((address) => members(b).includes(address));
        expect(BigInt(members(a).length)).toBe(rangeSize(a));
        expect(overlaps(a, b)).toBe(shared.length > 0);
        expect(contains(a, b)).toBe(shared.length === members(b).length);
      }),
      { seed: 9, numRuns: 500 },
    );
  });

  it('holds at the end of the address space', () => {
    const top = { start: ADDRESS_MAX, last: ADDRESS_MAX };
    expect(includes(FULL_RANGE, ADDRESS_MAX)).toBe(true);
    expect(contains(FULL_RANGE, top)).toBe(true);
    expect(contains(top, FULL_RANGE)).toBe(false);
    expect(overlaps(top, FULL_RANGE)).toBe(true);
    expect(overlaps(top, { start: 0n, last: ADDRESS_MAX - 1n })).toBe(false);
  });
});

describe('aligning a range', () => {
  const granule = fc.constantFrom(1n, 2n, 4n, 8n);

  it('takes the granules that it touches, or the granules that it fills', () => {
    fc.assert(
      fc.property(smallSpan, granule, (span, size) => {
        // Which granule an address lies in, and all addresses of that granule.
        const granuleOf = (address: bigint): bigint[] =>
          pick((other) => other / size === address / size);
        const touched = pick((address) => granuleOf(address).some((a) => includes(span, a)));
        const filled = pick((address) => granuleOf(address).every((a) => includes(span, a)));
        expect(members(alignOutward(span, size))).toEqual(touched);
        expect(members(alignInward(span, size))).toEqual(filled);
      }),
      { seed: 10, numRuns: 500 },
    );
  });

  it('stays within 64 bits for every granule', () => {
    const anyGranule = fc.integer({ min: 0, max: 63 }).map((bit) => 1n << BigInt(bit));
    fc.assert(
      fc.property(anySpan, anyGranule, (span, size) => {
        const outer = alignOutward(span, size);
        expect(contains(FULL_RANGE, outer)).toBe(true);
        expect(contains(outer, span)).toBe(true);
        expect(outer.start % size).toBe(0n);
        expect((outer.last + 1n) % size).toBe(0n);
        expect(rangeSize(outer) - rangeSize(span)).toBeLessThan(2n * size);

        const inner = alignInward(span, size) ?? { start: span.start, last: span.start - 1n };
        const isEmpty = inner.last < inner.start;
        expect(isEmpty || contains(span, inner)).toBe(true);
        expect(isEmpty || inner.start % size === 0n).toBe(true);
        expect(isEmpty || (inner.last + 1n) % size === 0n).toBe(true);
        expect(rangeSize(span) - rangeSize(inner)).toBeLessThan(2n * size);
      }),
      { seed: 11, numRuns: 500 },
    );
  });
});
