import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Histogram } from '../../src/workload/histogram.ts';

const UNIT_US = 0.1;
const STEP = 1 / 32;

describe('histogram of latencies', () => {
  it('tells percentiles no lower than they are, and no more than a step higher', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 200 }),
        fc.constantFrom(0.01, 0.5, 0.95, 0.99, 1),
        (durations, share) => {
          const histogram = new Histogram();
          for (const duration of durations) histogram.add(duration);
          const sorted = durations.toSorted((a, b) => a - b);
          const exact = sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
          const told = histogram.percentile(share);
          expect(told).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
          expect(told).toBeLessThanOrEqual(exact * (1 + STEP) + 2 * UNIT_US);
          expect(histogram.maxUs).toBe(sorted.at(-1));
          expect(histogram.count).toBe(durations.length);
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  it('takes what is longer than anything', () => {
    const histogram = new Histogram();
    histogram.add(1e12);
    expect(histogram.percentile(0.5)).toBeLessThanOrEqual(1e12);
    expect(histogram.maxUs).toBe(1e12);
  });

  it('is empty at first and after clear', () => {
    const histogram = new Histogram();
    histogram.add(5);
    histogram.clear();
    expect([histogram.count, histogram.maxUs, histogram.percentile(0.5)]).toEqual([0, 0, 0]);
  });
});
