/** The fuzzer in threads of its own. */

import { describe, expect, it } from 'vitest';
import { fuzz } from '../../src/fuzz/threads.ts';

describe('the fuzzer in threads', () => {
  it('runs for its time and says what it did', async () => {
    const seen: number[] = [];
    const report = await fuzz(
      { module: 'core' },
      { seconds: 0.5, threads: 2, onProgress: ({ runs }) => seen.push(runs) },
    );
    expect(report.target).toBe('core');
    expect(report.found).toEqual([]);
    expect(report.runs).toBeGreaterThanOrEqual(2);
    expect(report.requests).toBeGreaterThan(0);
    expect(seen.at(-1)).toBe(report.runs);
  });

  it('tells each finding once', async () => {
    const module = new URL('careless.ts', import.meta.url).href;
    const told: string[] = [];
    const report = await fuzz(
      { module, export: 'careless' },
      { seconds: 2, threads: 1, onFinding: ({ matter }) => told.push(matter) },
    );
    expect(told.length).toBeGreaterThan(0);
    expect(new Set(told).size).toBe(told.length);
    expect(report.findings).toBe(told.length);
  });

  it('ends when it is told to', async () => {
    const report = await fuzz(
      { module: 'core' },
      { seconds: 100, threads: 1, signal: AbortSignal.timeout(300) },
    );
    expect(report.seconds).toBeLessThan(20);
  });
});
