/** The fuzzer in threads of its own. */

import { describe, expect, it } from 'vitest';
import { FUZZERS } from '../../src/fuzz/registry.ts';
import { fuzz, replay } from '../../src/fuzz/threads.ts';

describe('the fuzzer in threads', () => {
  it('runs for its time and says what it did', async () => {
    const seen: number[] = [];
    const report = await fuzz(
      { target: { module: 'core' } },
      { seconds: 0.5, threads: 2, onProgress: ({ runs }) => seen.push(runs) },
    );
    expect(report.target).toBe('core');
    expect(report.found).toEqual([]);
    expect(report.runs).toBeGreaterThanOrEqual(2);
    expect(report.requests).toBeGreaterThan(0);
    expect(seen.at(-1)).toBe(report.runs);
  });

  it('runs streams against a device in another thread, and ends in time', async () => {
    const report = await fuzz({ target: { module: 'worker' } }, { seconds: 1, threads: 1 });
    expect(report.parts.map(({ fuzzer }) => fuzzer)).toEqual(['stream', 'guided']);
    expect(report.found).toEqual([]);
    expect(report.requests).toBeGreaterThan(0);
    expect(report.seconds).toBeLessThan(10);
  });

  it('tells each finding once', async () => {
    const module = new URL('careless.ts', import.meta.url).href;
    const told: string[] = [];
    const report = await fuzz(
      { target: { module, export: 'careless' } },
      { seconds: 2, threads: 1, onFinding: ({ matter }) => told.push(matter) },
    );
    expect(told.length).toBeGreaterThan(0);
    expect(new Set(told).size).toBe(told.length);
    expect(report.findings).toBe(told.length);
  });

  it.each(['endless', 'deadly'])(
    'finds the few steps that no thread comes back from: %s',
    { timeout: 60_000 },
    async (name) => {
      const module = new URL('careless.ts', import.meta.url).href;
      const options = { seconds: 0.5, threads: 1, hangMs: 500 };
      const { found } = await fuzz({ target: { module, export: name } }, options);
      const [finding] = found;
      expect(finding?.kind).toBe(name === 'endless' ? 'hang' : 'crash');
      if (finding?.input.kind !== 'stream') throw new Error('It is no stream.');
      const { steps } = finding.input.stream;
      expect(steps.length).toBeLessThan(200);
      const again = await replay({ target: { module, export: name } }, finding, 500);
      expect(again?.kind).toBe(finding.kind);
      expect(await replay({ target: { module: 'core' } }, finding)).toBeUndefined();
    },
  );

  it('runs fuzzers of any kind, each in its turns', async () => {
    const { parts } = await fuzz({ target: { module: 'core' } }, { seconds: 4, threads: 2 });
    expect(parts.map(({ fuzzer }) => fuzzer)).toEqual([
      'stream',
      'guided',
      ...FUZZERS.map(({ name }) => name),
    ]);
    for (const { fuzzer, runs } of parts) expect(runs, fuzzer).toBeGreaterThan(0);
  });

  it('reports the canary', async () => {
    const options = { seconds: 0.3, threads: 1, fuzzers: ['canary'] };
    const { found } = await fuzz({ target: { module: 'core' } }, options);
    expect(found.map(({ matter }) => matter)).toEqual(['three sevens']);
    expect(found[0]?.input).toMatchObject({ kind: 'tape', tape: [7, 7, 7] });
  });

  it('divides the same seeds among shards', async () => {
    const seen = await Promise.all(
      [0, 1].map(async (index) => {
        const shard = { index, count: 2 };
        const { found } = await fuzz(
          { target: { module: 'core' } },
          { seconds: 0.2, threads: 1, seed: 4, fuzzers: ['canary'], shard },
        );
        return found[0]?.seed;
      }),
    );
    expect(seen).toEqual([4, 5]);
  });

  it('ends when it is told to', async () => {
    const report = await fuzz(
      { target: { module: 'core' } },
      { seconds: 100, threads: 1, signal: AbortSignal.timeout(300) },
    );
    expect(report.seconds).toBeLessThan(20);
  });
});
