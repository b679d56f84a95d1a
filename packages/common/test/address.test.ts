/** The arithmetic of pages and offsets against its definition with BigInt. */

import {
  ADDRESS_MAX,
  AssertionError,
  PAGE_MAX,
  PAGE_SIZE,
  addressAt,
  domainId,
  endpointId,
  guestPhysical,
  highWord,
  iova,
  isUint32,
  lowWord,
  offsetInPage,
  pageOf,
  pageOfWords,
} from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

/** Addresses that stand at and beside 0, page edges, 2^31, 2^32, 2^53 and 2^64, and any others. */
const edges = [0n, 4096n, 8192n, 1n << 31n, 1n << 32n, 1n << 44n, 1n << 52n, 1n << 53n, 1n << 63n];
const nearEdges = [...edges, 1n << 64n]
  .flatMap((edge) => [edge - 4096n, edge - 2n, edge - 1n, edge, edge + 1n, edge + 4095n])
  .filter((value) => value >= 0n && value <= ADDRESS_MAX);
const address = fc.oneof(fc.constantFrom(...nearEdges), fc.bigInt({ min: 0n, max: ADDRESS_MAX }));

describe('constants', () => {
  it('fit together', () => {
    expect(ADDRESS_MAX).toBe(2n ** 64n - 1n);
    expect(PAGE_SIZE).toBe(4096);
    expect(BigInt(PAGE_MAX)).toBe(2n ** 52n - 1n);
    expect(Number.isSafeInteger(PAGE_MAX)).toBe(true);
  });
});

describe('an address as page and offset', () => {
  it('is exact for every address', () => {
    fc.assert(
      fc.property(address, (value) => {
        const page = pageOf(value);
        const offset = offsetInPage(value);
        expect(BigInt(page)).toBe(value / 4096n);
        expect(BigInt(offset)).toBe(value % 4096n);
        expect(addressAt(page, offset)).toBe(value);
      }),
      { seed: 6, numRuns: 1000 },
    );
  });

  it('is exact from and to 32-bit words', () => {
    fc.assert(
      fc.property(address, (value) => {
        const low = Number(value & 0xffff_ffffn);
        const high = Number(value >> 32n);
        const page = pageOf(value);
        expect(pageOfWords(low, high)).toBe(page);
        expect(lowWord(page, offsetInPage(value))).toBe(low);
        expect(highWord(page)).toBe(high);
      }),
      { seed: 7, numRuns: 1000 },
    );
  });

  it('goes from the first byte to the last', () => {
    expect([pageOf(0n), offsetInPage(0n)]).toEqual([0, 0]);
    expect([pageOf(ADDRESS_MAX), offsetInPage(ADDRESS_MAX)]).toEqual([PAGE_MAX, 4095]);
    expect(addressAt(PAGE_MAX, 4095)).toBe(ADDRESS_MAX);
  });
});

describe('the doors', () => {
  it.each([0n, 1n, ADDRESS_MAX])('let the address %i through as it is', (value) => {
    expect(iova(value)).toBe(value);
    expect(guestPhysical(value)).toBe(value);
  });

  it.each([-1n, ADDRESS_MAX + 1n])('stop the address %i', (value) => {
    expect(() => iova(value)).toThrow(AssertionError);
    expect(() => guestPhysical(value)).toThrow(AssertionError);
  });

  it.each([0, 1, 0xffff_ffff])('let the number %i through as it is', (value) => {
    expect(isUint32(value)).toBe(true);
    expect(domainId(value)).toBe(value);
    expect(endpointId(value)).toBe(value);
  });

  it.each([-1, 0x1_0000_0000, 0.5, Number.NaN, Number.POSITIVE_INFINITY])(
    'stop the number %d',
    (value) => {
      expect(isUint32(value)).toBe(false);
      expect(() => domainId(value)).toThrow(AssertionError);
      expect(() => endpointId(value)).toThrow(AssertionError);
    },
  );
});
