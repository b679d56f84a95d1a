/** Machines in turn, and what their windows come to. */

import type { Policy, WorkloadFigures } from '@viommu/machine';
import { describe, expect, it } from 'vitest';
import { type Contestant, PolicyContest } from '../src/run/policy-contest.ts';
import { PolicyRecord, percentile } from '../src/run/policy-figure.ts';

const NONE: WorkloadFigures = {
  elapsedMs: 10,
  requests: 0,
  bytes: 0,
  p50Us: 0,
  p95Us: 0,
  p99Us: 0,
  maxUs: 0,
  iommuRequests: 0,
  iommuNotifications: 0,
  diskNotifications: 0,
  flushes: 0,
  bouncedBytes: 0,
  faults: 0,
  errors: 0,
  sectorsChecked: 0,
  mismatches: 0,
};

/** Contestants that take a moment for each call, and what was called. */
function contestants(
  rates: Readonly<Partial<Record<Policy, number>>>,
  onWindow: (count: number) => void = () => undefined,
  faster = 1,
): { machines: Contestant[]; calls: string[]; most: () => number } {
  const calls: string[] = [];
  let busy = 0;
  let most = 0;
  let windows = 0;
  const call = async (
    name: string,
    figures: Partial<WorkloadFigures>,
  ): Promise<WorkloadFigures> => {
    calls.push(name);
    busy += 1;
    most = Math.max(most, busy);
    await new Promise((resolve) => setImmediate(resolve));
    busy -= 1;
    return { ...NONE, ...figures };
  };
  const machines = (Object.entries(rates) as [Policy, number][]).map(
    // Its own keys.
    ([policy, requests]): Contestant => ({
      policy,
      fill: () => call(`fill ${policy}`, { errors: 1 }),
      window: () => {
        windows += 1;
        onWindow(windows);
        const rate = requests * (policy === 'direct' ? faster ** (windows - 1) : 1);
        return call(policy, { requests: rate, bytes: 512 * rate, faults: 1 });
      },
      verify: () => call(`verify ${policy}`, { mismatches: 2, sectorsChecked: 5 }),
    }),
  );
  return { machines, calls, most: () => most };
}

const SIGNAL = new AbortController().signal;
const watch = { signal: SIGNAL, onProgress: () => undefined };

describe('contest of policies', () => {
  it('lets one machine work at a time, and direct before and after each other one', async () => {
    const { machines, calls, most } = contestants({ direct: 100, lazy: 90, strict: 50, grant: 25 });
    const contest = new PolicyContest(machines, watch);
    // Too short for more than one round.
    await contest.run(1e-9);
    expect(most()).toBe(1);
    expect(calls.join(', ')).toBe(
      'fill direct, fill lazy, fill strict, fill grant, ' +
        // Warming up.
        'direct, lazy, strict, grant, ' +
        'direct, lazy, direct, strict, direct, grant, direct, ' +
        'verify direct, verify lazy, verify strict, verify grant',
    );
    const results = contest.records.map((record) => record.result());
    expect(results.map((result) => result?.ratio)).toEqual([undefined, 0.9, 0.5, 0.25]);
    expect(results.map((result) => result?.requestsPerSecond)).toEqual([10_000, 9000, 5000, 2500]);
    // All errors count, also those of the fill, the warm-up and the last look.
    expect(results[1]).toMatchObject({ windows: 1, errors: 1, faults: 2, mismatches: 2 });
    expect(results[1]?.requests).toBe(90);
  });

  it('has the others in another order in each round', async () => {
    const { machines, calls } = contestants({ direct: 1, lazy: 1, strict: 1, grant: 1 });
    await new PolicyContest(machines, watch).run(0.02);
    const rounds = calls.slice(8, -4).filter((name) => name !== 'direct');
    expect(rounds.slice(0, 9).join(', ')).toBe(
      'lazy, strict, grant, strict, grant, lazy, grant, lazy, strict',
    );
    expect(rounds.length % 3).toBe(0);
  });

  it('compares a window with both of its neighbours', async () => {
    // Direct becomes twice as fast with each window of anybody, and has every other one.
    const { machines } = contestants({ direct: 100, lazy: 80, strict: 400 }, undefined, 2);
    const contest = new PolicyContest(machines, watch);
    await contest.run(1e-9);
    const [direct, lazy, strict] = contest.records;
    const [first = 0, second = 0, third = 0] =
      direct?.windows.map(({ requests }) => requests) ?? [];
    expect([second / first, third / second]).toEqual([4, 4]);
    expect(lazy?.ratios).toEqual([80 / (2 * first)]);
    expect(strict?.ratios).toEqual([400 / (2 * second)]);
  });

  it('compares nothing without direct', async () => {
    const { machines } = contestants({ lazy: 90, strict: 50 });
    const contest = new PolicyContest(machines, watch);
    await contest.run(1e-3);
    for (const record of contest.records) {
      expect(record.windows.length).toBeGreaterThan(0);
      expect(record.result()?.ratio).toBe(undefined);
    }
  });

  it('ends in the middle of a round when it is told to, with what there is', async () => {
    const controller = new AbortController();
    // Two to warm up, and three that count.
    const { machines, calls } = contestants({ direct: 10, lazy: 9 }, (count) => {
      if (count === 5) controller.abort();
    });
    const contest = new PolicyContest(machines, { ...watch, signal: controller.signal });
    await contest.run(1e-3);
    expect(calls.filter((name) => name.startsWith('verify'))).toEqual([]);
    expect(contest.records.map(({ windows }) => windows.length)).toEqual([2, 1]);
  });
});

describe('figures of a policy', () => {
  it('are medians of the windows, sums of what was counted, and the longest latency of all', () => {
    const record = new PolicyRecord('lazy');
    for (const [requests, maxUs] of [
      [10, 3],
      [1000, 1],
      [30, 2],
    ] as const)
      record.windows.push({ ...NONE, requests, maxUs, p50Us: maxUs, flushes: 1 });
    expect(record.result()).toMatchObject({
      windows: 3,
      requests: 1040,
      requestsPerSecond: 3000,
      p50Us: 2,
      maxUs: 3,
      flushes: 3,
    });
  });

  it('are none without a window', () => {
    expect(new PolicyRecord('lazy').result()).toBe(undefined);
    expect(percentile([], 0.5)).toBe(Number.NaN);
  });
});
