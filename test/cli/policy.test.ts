/** `viommu run --policy`: a disk under one policy, or under several in turn. */

import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { TEST_LIMIT_MS, events, scratch, viommu } from './command.ts';

const file = scratch();
const SMALL = ['--disk-size', '1MiB', '--block-size', '16KiB', '--depth', '8', '--seconds', '0.1'];
const NAMES = ['direct', 'identity', 'lazy', 'lazy-single', 'strict', 'bounce', 'grant'];
/** Whatever happens, a command is over so long after it was told to end. */
const END_MS = 5000;

describe('run --policy', { timeout: TEST_LIMIT_MS }, () => {
  it('measures one policy, and says what it found in words', async () => {
    const before = disks();
    const { code, stdout, stderr } = await viommu(['run', '--policy', 'strict', ...SMALL]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(
      /^randwrite of 16 KiB, 8 requests in flight, on a disk of 1 MiB in a file\n/,
    );
    for (const row of [
      'requests/s',
      'latency p50, µs',
      'IOMMU requests',
      'notifications',
      'queue flushes',
      'bounced',
      'faults',
      'wrong',
    ])
      expect(stdout).toMatch(new RegExp(`^ +${row} +[\\d,.]+$`, 'm'));
    expect(stdout).not.toContain('of direct');
    expect(code).toBe(0);
    expect(disks()).toEqual(before);
  });

  it.each(['randread', 'randwrite', 'seqread', 'seqwrite', 'mixed'])(
    'does the workload %s',
    async (workload) => {
      const args = ['--workload', workload, '--disk', 'memory', '--json', ...SMALL];
      const outcome = await viommu(['run', '--policy', 'lazy', ...args]);
      expect(outcome.stderr).toContain(workload);
      const [policy, summary] = events(outcome);
      expect(policy).toMatchObject({ event: 'policy', policy: 'lazy', errors: 0, mismatches: 0 });
      expect(policy?.['iommuRequests']).toBe(2 * Number(policy?.['requests']));
      expect(policy?.['ratio']).toBe(null);
      // The last look reads all of it.
      expect(policy?.['sectorsChecked']).toBeGreaterThanOrEqual(2048);
      expect(summary).toMatchObject({ event: 'summary', workload, disk: 'memory', ok: true });
      expect(outcome.code).toBe(0);
    },
  );

  it('measures all of them in turn, side by side', async () => {
    const outcome = await viommu(['run', '--policy', 'all', '--json', ...SMALL]);
    const all = events(outcome);
    expect(all.map(({ event }) => event)).toEqual([...NAMES.map(() => 'policy'), 'summary']);
    expect(all.slice(0, -1).map(({ policy }) => policy)).toEqual(NAMES);
    expect(all.at(-1)).toMatchObject({ policies: NAMES, ok: true, blockBytes: 16_384, depth: 8 });
    for (const { policy, ratio, quartiles, errors, mismatches } of all.slice(0, -1)) {
      expect([errors, mismatches]).toEqual([0, 0]);
      if (policy === 'direct') expect([ratio, quartiles]).toEqual([null, null]);
      else {
        expect(ratio).toBeGreaterThan(0);
        expect(quartiles).toHaveLength(2);
      }
    }
    const header = outcome.stderr.split('\n').find((line) => line.includes('policy'));
    expect(header?.trim().split(/ +/)).toEqual(['policy', ...NAMES]);
    expect(outcome.stderr).toMatch(/^ +of direct, % +100\.0( +\d+\.\d){6}$/m);
    expect(outcome.code).toBe(0);
  });

  it('leaves a disk of the user where it is, one for each policy', async () => {
    const path = file('disk', 'something old');
    const outcome = await viommu(['run', '--policy', 'direct,bounce', '--disk', path, ...SMALL]);
    expect(outcome.code).toBe(0);
    for (const policy of ['direct', 'bounce'])
      expect(statSync(`${path}.${policy}`).size).toBe(1 << 20);
    expect(statSync(path).size).toBe('something old'.length);
    expect(existsSync(`${path}.strict`)).toBe(false);
  });

  it('fails when a sector is not as it was written', async () => {
    const path = file('changed', '');
    const args = ['--workload', 'randread', '--disk', path, '--disk-size', '1M', '--seconds', '3'];
    const running = viommu(['run', '--policy', 'strict', '--json', '--depth', '4', ...args]);
    // Once the last sector is there, all are, and from then on nothing but us writes.
    while (
      readFileSync(path)
        .subarray(-512)
        .every((byte) => byte === 0)
    )
      await setTimeout(10);
    await setTimeout(100);
    const opened = openSync(path, 'r+');
    writeSync(opened, Uint8Array.of(0x5a), 0, 1, 9 * 512 - 1);
    closeSync(opened);
    const outcome = await running;
    const [policy, summary] = events(outcome);
    expect(policy?.['mismatches']).toBeGreaterThan(0);
    expect(summary).toMatchObject({ event: 'summary', ok: false });
    expect(outcome.stderr).toMatch(
      /^viommu: strict: [\d,]+ sectors? with wrong content, 0 requests failed$/m,
    );
    expect(outcome.code).toBe(1);
  });

  it('is ended by Ctrl-C with what there is', async () => {
    const before = disks();
    const outcome = await viommu(['run', '--policy', 'direct,strict', '--seconds', '600'], {
      signal: { name: 'SIGINT', after: 'randwrite' },
    });
    expect(outcome.stderr).toBe('viommu: ended by SIGINT\n');
    expect(outcome.code).toBe(130);
    expect(outcome.sinceSignalMs).toBeLessThan(END_MS);
    expect(disks()).toEqual(before);
  });

  it('is ended by --timeout with what there is', async () => {
    const args = ['--seconds', '600', '--timeout', '8', '--disk-size', '2M'];
    const outcome = await viommu(['run', '--policy', 'direct', ...args]);
    expect(outcome.stderr).toBe('viommu: not done after 8 s (--timeout)\n');
    expect(outcome.stdout).toMatch(/^ +requests\/s +[\d,]+$/m);
    expect(outcome.code).toBe(1);
    expect(outcome.elapsedMs).toBeLessThan(8000 + END_MS);
  });

  it.each([
    [['--policy', 'loose'], /no policy loose/],
    [['--policy', 'strict,'], /no policy /],
    [['--policy', 'strict', '--workload', 'write'], /no workload write/],
    [['--policy', 'strict', '--block-size', '1000'], /--block-size/],
    [['--policy', 'strict', '--block-size', '2M'], /--block-size/],
    [['--policy', 'strict', '--block-size', '64KB'], /--block-size/],
    [['--policy', 'strict', '--depth', '0'], /--depth/],
    [['--policy', 'strict', '--depth', '1.5'], /--depth/],
    [['--policy', 'strict', '--depth', '256', '--block-size', '1M'], /--depth/],
    [['--policy', 'strict', '--seconds', 'long'], /--seconds/],
    [['--policy', 'strict', '--disk-size', '1M'], /--disk-size/],
    [['--policy', 'strict', '--disk-size', '100000'], /--disk-size/],
    [['--policy', 'strict', '--disk', '/nowhere/at/all'], /--disk/],
    [['--policy', 'strict', '--disk', dirname(import.meta.dirname)], /--disk/],
    [['--policy', 'strict', '--memory', '64M'], /--memory/],
    [['--policy', 'strict', '--record', 'x'], /--record/],
    [['program.ts', '--policy', 'strict'], /program/],
    [['--depth', '4'], /--depth needs --policy/],
    [['--disk', 'memory'], /--disk needs --policy/],
  ])('says in one line what is wrong with %j', async (args, text) => {
    const { code, stdout, stderr } = await viommu(['run', ...args]);
    expect(stderr).toMatch(/^viommu: [^\n]+\n$/);
    expect(stderr).toMatch(text);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});

/** Temporary disks. */
function disks(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('viommu-disk-'));
}
