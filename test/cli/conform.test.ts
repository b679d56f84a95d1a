/** `viommu conform`: the suite against devices and drivers, its reports and its exit codes. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TEST_LIMIT_MS, events, scratch, viommu } from './command.ts';

const file = scratch();
const careless = join(import.meta.dirname, 'programs', 'careless-target.ts');
const ONLY = ['--only', 'iommu.dev.map.'];
/** What the careless device answers with OK. */
const CASE = 'iommu.dev.map.flags-unknown';

describe('a device that conforms', { timeout: TEST_LIMIT_MS }, () => {
  it.each(['core', 'worker'])('is told of in words (%s)', async (target) => {
    const { code, stdout, stderr } = await viommu(['conform', '--target', target, ...ONLY]);
    expect(stdout).toContain('MAP request\n');
    expect(stdout).toMatch(/^ {2}pass {2}iommu\.dev\.map\.overlap#exact {2}\S.*$/m);
    expect(stdout).toMatch(/^ {2}\d+ pass, 0 fail, 0 warn, 0 skip; \d+\.\d s$/m);
    expect(stdout).toMatch(/^ {2}7 of 7 clauses of the IOMMU chapter/m);
    expect(stdout).not.toContain('\u001b');
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('is told of in objects, one for each case and one for all', async () => {
    const outcome = await viommu(['conform', '--target', 'core', '--json', ...ONLY]);
    const all = events(outcome);
    const summary = all.at(-1);
    expect(summary).toMatchObject({
      event: 'summary',
      target: 'core',
      pass: all.length - 1,
      fail: 0,
      warn: 0,
      skip: 0,
      clauses: { covered: 7, total: 7 },
    });
    for (const one of all.slice(0, -1)) {
      expect(one).toMatchObject({ event: 'case', result: 'pass' });
      expect(String(one['id'])).toMatch(/^iommu\.dev\.map\./);
      expect(Array.isArray(one['evidence'])).toBe(true);
    }
    expect(outcome.code).toBe(0);
  });
});

describe('a device that falls short', { timeout: TEST_LIMIT_MS }, () => {
  it('is a module, and ends with code 1, what was sent and what came back', async () => {
    const junit = file('report.xml', '');
    const html = file('report.html', '');
    const targets = ['--target', careless, '--target', 'core'];
    const reports = ['--junit', junit, '--html', html];
    const outcome = await viommu(['conform', ...targets, '--only', CASE, ...reports]);
    expect(outcome.stdout).toContain('MUST: expected INVAL, got OK, used length 4\n');
    expect(outcome.stdout).toMatch(/> 0020 {2}08 00 00 00 +flags/);
    expect(outcome.stdout).toMatch(/< 0000 {2}00 +status +0 OK/);
    expect(outcome.code).toBe(1);
    expect(readFileSync(junit, 'utf8')).toMatch(/<testsuite name="careless" .* failures="[1-9]/);
    expect(readFileSync(html, 'utf8')).toContain('<th>careless</th><th>core</th>');
  });

  it('ends with code 0 if a manifest lists all that it does', async () => {
    const listed = await viommu(['conform', '--target', careless, '--json', ...ONLY]);
    const divergences = events(listed).flatMap(({ event, id, result }) =>
      event === 'case' && result !== 'pass' ? [{ id, result }] : [],
    );
    expect(divergences.length).toBeGreaterThan(0);
    const gone = { id: 'iommu.dev.map.write-needs-flag#read', result: 'warn' };
    const text = JSON.stringify({ target: 'careless', divergences: [...divergences, gone] });
    const manifest = file('manifest.json', text);
    const args = ['conform', '--target', careless, '--manifest', manifest, '--json'];
    const outcome = await viommu([...args, ...ONLY]);
    const all = events(outcome);
    for (const one of divergences)
      expect(all.find(({ id }) => id === one.id)).toMatchObject({ ...one, expected: true });
    expect(all).toContainEqual({ event: 'vanished', id: gone.id });
    expect(outcome.code).toBe(0);
  });
});

describe('drivers', { timeout: TEST_LIMIT_MS }, () => {
  it('are held to their own clauses', async () => {
    const args = ['conform', '--side', 'driver', '--only', 'iommu.drv.map', '--json'];
    const outcome = await viommu(args);
    expect(events(outcome).at(-1)).toMatchObject({ target: 'core', fail: 0, warn: 0 });
    expect(outcome.code).toBe(0);
  });
});

describe('the list', { timeout: TEST_LIMIT_MS }, () => {
  it('names cases and runs none', async () => {
    const { stdout, code } = await viommu(['conform', '--list', '--only', CASE]);
    expect(stdout.split('\n')[0]).toMatch(/^iommu\.dev\.map\.flags-unknown\S* {2}MUST {2}\S/);
    expect(code).toBe(0);
  });
});

describe('wrong usage', { timeout: TEST_LIMIT_MS }, () => {
  it.each([
    [['--target', 'crosvm'], 'there is no target crosvm; take core, worker, qemu, qemu:PATH or a'],
    [['--target', 'no/such/file.ts'], 'there is no target no/such/file.ts'],
    [['--side', 'driver', '--target', 'qemu'], 'there is no driver qemu; take core or a module'],
    [['--only', 'iommu.dev.mop'], 'no case begins with iommu.dev.mop; see --list'],
    [['--manifest', 'no/such/file'], 'no/such/file is no manifest: '],
    [['--side', 'neither'], "option '--side <side>' argument 'neither' is invalid."],
    [['--threads', '0'], "option '--threads <count>' argument '0' is invalid."],
    [['--target', join(import.meta.dirname, 'command.ts')], 'command.ts exports no target'],
  ])('%j is one line and code 2', async (args, line) => {
    const { code, stdout, stderr } = await viommu(['conform', ...args]);
    expect(stderr).toMatch(/^viommu: [^\n]*\n$/);
    expect(stderr).toContain(line);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('a report that cannot be written is said in one line', async () => {
    const html = join(import.meta.dirname, 'no', 'such', 'folder.html');
    const args = ['conform', '--target', 'core', '--only', CASE, '--html', html];
    const { code, stderr } = await viommu(args);
    expect(stderr).toMatch(/^viommu: .*folder\.html cannot be written: [^\n]*\n$/);
    expect(code).toBe(2);
    expect(existsSync(html)).toBe(false);
  });
});
