import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { coreTarget } from '@viommu/conformance';
import { loadTarget, runInThreads } from '@viommu/conformance/node';
import { describe, expect, it } from 'vitest';

const HANGING = new URL('./program/hanging-target.ts', import.meta.url).href;
const ONLY = 'iommu.dev.map.f';

describe('in threads', () => {
  it('results come in the order of the suite, each once, with their time', async () => {
    const seen: string[] = [];
    const totals = new Set<number>();
    const report = await runInThreads(
      { module: 'core' },
      {
        only: 'iommu.dev.map',
        threads: 2,
        onResult: ({ id }, done, total) => {
          expect(done).toBe(seen.push(id));
          totals.add(total);
        },
      },
    );
    expect(seen).toEqual(report.results.map(({ id }) => id));
    expect(new Set(seen).size).toBe(seen.length);
    expect([...totals]).toEqual([seen.length]);
    expect(report.summary.pass).toBe(seen.length);
    expect(report.results.every(({ seconds }) => seconds > 0 && seconds < 10)).toBe(true);
  });

  it('a device that never returns costs its case a verdict, and the others run', async () => {
    const report = await runInThreads({ module: HANGING }, { only: ONLY, threads: 1 });
    expect(report.target).toBe('one that may hang');
    expect(report.results.length).toBeGreaterThan(0);
    for (const result of report.results)
      expect(result).toMatchObject({
        result: 'fail',
        how: 'hang',
        evidence: ['no end within 1 s'],
      });
  });

  it('a hang is believed the second time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viommu-hang-'));
    const spec = { module: HANGING, argument: `once:${join(folder, 'seen')}` };
    const report = await runInThreads(spec, { only: ONLY, threads: 1 });
    rmSync(folder, { recursive: true });
    expect(report.results.map(({ result }) => result)).toEqual(report.results.map(() => 'pass'));
  });

  it('a device that ends its thread has crashed', async () => {
    const spec = { module: HANGING, argument: 'exit' };
    const report = await runInThreads(spec, { only: ONLY, threads: 1 });
    for (const result of report.results)
      expect(result).toMatchObject({ result: 'fail', how: 'crash' });
  });

  it('a signal ends the run with its reason', async () => {
    const controller = new AbortController();
    const run = runInThreads({ module: HANGING }, { only: ONLY, signal: controller.signal });
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 300);
    await expect(run).rejects.toBe(reason);
  });
});

describe('a target', () => {
  it('is loaded by name', async () => {
    expect((await loadTarget({ module: 'core' })).name).toBe('core');
    expect((await loadTarget({ module: 'worker' })).name).toBe('worker');
  });

  it.each([
    ['a factory as the default', 'export default { name: "f", open() {} };', 'f'],
    ['a function', 'export default (argument) => ({ name: argument, open() {} });', 'arg'],
    ['`target`', 'export const target = { name: "t", open() {} };', 't'],
    ['a promise', 'export default async () => ({ name: "p", open() {} });', 'p'],
  ])('may be %s', async (_, text, name) => {
    const module = `data:text/javascript,${encodeURIComponent(text)}`;
    expect((await loadTarget({ module, argument: 'arg' })).name).toBe(name);
  });

  it('may be one device, which is reset for every case', async () => {
    const one = await coreTarget.open({});
    const resets: (string | number)[] = [];
    const shared = globalThis as { viommuTarget?: unknown };
    shared.viommuTarget = Object.assign(Object.create(null), {
      memory: one.memory,
      resets: one.resets,
      notify: () => undefined,
      writeStatus: (value: number) => resets.push(value),
      reset: (kind: string) => resets.push(kind),
      dispose: () => resets.push('dispose'),
    });
    const module = 'data:text/javascript,export default globalThis.viommuTarget';
    const factory = await loadTarget({ module });
    expect(factory.parallel).toBe(1);
    (await factory.open({})).dispose();
    (await factory.open({})).dispose();
    expect(resets).toEqual([0, 'system', 0, 'system']);
    factory.close?.();
    expect(resets.at(-1)).toBe('dispose');
    delete shared.viommuTarget;
  });

  it.each([
    ['a module that is not there', 'file:///nowhere/x.ts'],
    ['a module without one', 'data:text/javascript,export const other = 1'],
    ['a default that is none', 'data:text/javascript,export default null'],
  ])('is not %s', async (_, module) => {
    await expect(loadTarget({ module })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
