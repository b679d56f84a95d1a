/** `viommu fuzz`: what it says, what it saves, how it ends, and that what is saved shows again. */

import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TEST_LIMIT_MS, events, scratch, viommu } from './command.ts';

const file = scratch();
const careless = join(import.meta.dirname, 'programs', 'careless-target.ts');

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

  it('ends with a summary on Ctrl-C', async () => {
    const outcome = await viommu(
      ['fuzz', '--seconds', '60', '--target', careless, '--out', dirname(file('some', ''))],
      {
        signal: { name: 'SIGINT', after: 'viommu fuzz --replay' },
      },
    );
    expect(outcome.stdout).toContain('requests in');
    expect(outcome.code).toBe(1);
  });

  it.each([
    [['--target', 'nothing'], 'there is no target nothing'],
    [['--seconds', 'many'], 'a number of seconds'],
    [['--shard', '3/2'], 'a part of several'],
    [['--replay', 'nowhere.finding'], 'cannot be replayed'],
  ])('refuses %s with one line', async (args, reason) => {
    const { code, stderr } = await viommu(['fuzz', ...args]);
    expect(stderr).toContain(reason);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });
});
