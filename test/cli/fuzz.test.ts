/** `viommu fuzz`: what it says, what it saves, how it ends, and that what is saved shows again. */

import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TEST_LIMIT_MS, events, scratch, viommu } from './command.ts';

const file = scratch();
const careless = join(import.meta.dirname, 'programs', 'careless-target.ts');

function folder(name: string): string {
  return join(dirname(file('some', '')), name);
}

describe('viommu fuzz', { timeout: TEST_LIMIT_MS }, () => {
  it('finds nothing about our device, and says how much it tried', async () => {
    const outcome = await viommu([
      'fuzz',
      '--seconds',
      '1',
      '--seed',
      '7',
      '--threads',
      '1',
      '--json',
    ]);
    expect(outcome.code).toBe(0);
    const [summary, ...others] = events(outcome);
    expect(others).toEqual([]);
    expect(summary).toMatchObject({ event: 'summary', findings: 0 });
    for (const name of ['runs', 'requests', 'coverage', 'seconds'])
      expect(summary?.[name], name).toBeGreaterThan(0);
  });

  it('simulates whole machines, and nothing else if asked to', async () => {
    const args = ['fuzz', '--simulate', '--seconds', '1', '--threads', '1', '--json'];
    const outcome = await viommu(args);
    expect(outcome.code).toBe(0);
    const [summary] = events(outcome);
    expect(summary?.['fuzzers']).toMatchObject([{ fuzzer: 'simulation' }]);
    expect(summary?.['runs']).toBeGreaterThan(0);
  });

  it('saves what is wrong with a device, which then shows again', async () => {
    const out = dirname(file('some', ''));
    const target = ['--target', careless];
    const outcome = await viommu(['fuzz', ...target, '--seconds', '1', '--out', out, '--json']);
    expect(outcome.code).toBe(1);
    const found = events(outcome).filter(({ event }) => event === 'finding');
    expect(found.length).toBeGreaterThan(0);
    const saved = String(found[0]?.['file']);
    expect(readdirSync(out).filter((name) => name.endsWith('.finding')).length).toBe(found.length);
    expect(existsSync(saved.replace(/finding$/, 'txt'))).toBe(true);

    const again = await viommu(['fuzz', ...target, '--replay', saved, '--json']);
    expect(events(again)).toMatchObject([{ event: 'replay', same: true }]);
    expect(again.code).toBe(1);
    const gone = await viommu(['fuzz', '--target', 'core', '--replay', saved]);
    expect(gone.stdout).toContain('nothing is wrong any more');
    expect(gone.code).toBe(0);
  });

  it('puts together what shards saved, each finding once', async () => {
    const folders = await Promise.all(
      ['1/2', '2/2'].map(async (shard) => {
        const out = folder(`shard-${shard.replace('/', '-of-')}`);
        const args = ['fuzz', '--fuzzer', 'canary,stream', '--seconds', '1', '--threads', '1'];
        const { code } = await viommu([...args, '--shard', shard, '--out', out, '--json']);
        expect(code).toBe(1);
        return out;
      }),
    );
    const out = folder('merged');
    const merged = await viommu(['fuzz', '--merge', ...folders, '--out', out, '--json']);
    expect(merged.code).toBe(1);
    const [finding, corpus, summary, ...others] = events(merged);
    expect(others).toEqual([]);
    expect(corpus).toEqual({ event: 'corpus', read: 0, kept: 0 });
    expect(finding).toMatchObject({ event: 'finding', fuzzer: 'canary', steps: 3 });
    expect(summary).toMatchObject({ event: 'summary', target: 'core', findings: 1 });
    const again = await viommu(['fuzz', '--merge', out, '--out', out, '--json']);
    expect(events(again)).toContainEqual(summary);
    const replayed = await viommu(['fuzz', '--replay', String(finding?.['file'])]);
    expect(replayed.stdout).toContain('draws 7');
    expect(replayed.code).toBe(1);
  });

  it('keeps inputs that reach something new, begins with them, and merges them', async () => {
    const out = folder('guided');
    const args = ['fuzz', '--fuzzer', 'guided', '--threads', '1', '--out', out, '--json'];
    const [first] = events(await viommu([...args, '--seconds', '3']));
    expect(first?.['edges']).toBeGreaterThan(100);
    expect(first?.['edgesThere']).toBeGreaterThan(Number(first?.['edges']));
    const inputs = readdirSync(join(out, 'corpus')).length;
    expect(inputs).toBeGreaterThan(0);
    const merged = events(await viommu(['fuzz', '--merge', out, '--out', folder('few'), '--json']));
    expect(merged).toContainEqual({ event: 'corpus', read: inputs, kept: expect.any(Number) });
    expect(readdirSync(join(folder('few'), 'corpus')).length).toBeGreaterThan(0);
  });

  it('compares a device with another', async () => {
    const args = ['fuzz', '--target', 'core', '--against', careless, '--seconds', '1'];
    const outcome = await viommu([...args, '--threads', '1', '--out', folder('against'), '--json']);
    expect(outcome.code).toBe(1);
    const all = events(outcome);
    expect(all.find(({ event }) => event === 'finding')).toMatchObject({ fuzzer: 'against' });
    expect(all.at(-1)).toMatchObject({ target: expect.stringContaining('core against ') });
  });

  it('ends with a summary on Ctrl-C', async () => {
    const outcome = await viommu(
      ['fuzz', '--seconds', '60', '--target', careless, '--out', folder('stopped')],
      {
        signal: { name: 'SIGINT', after: 'viommu fuzz --replay' },
      },
    );
    expect(outcome.stdout).toMatch(/\d requests? in /);
    expect(outcome.code).toBe(1);
  });

  it.each([
    [['--target', 'nothing'], 'there is no target nothing'],
    [['--seconds', 'many'], 'a number of seconds'],
    [['--shard', '3/2'], 'a part of several'],
    [['--replay', 'nowhere.finding'], 'cannot be replayed'],
    [['--against', 'nothing'], 'there is no target nothing'],
    [['--deviations', 'nowhere.json'], 'cannot be used'],
    [['--merge', 'nowhere'], 'is no folder'],
    [['--merge', '.'], 'cannot be merged'],
    [['--fuzzer', 'stream,nothing'], 'there is no fuzzer nothing'],
  ])('refuses %s with one line', async (args, reason) => {
    const { code, stderr } = await viommu(['fuzz', ...args]);
    expect(stderr).toContain(reason);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });
});
