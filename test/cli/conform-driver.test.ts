/** `viommu conform --side driver`: drivers that run, and drivers of recordings. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TEST_LIMIT_MS, events, scratch, viommu } from './command.ts';

const file = scratch();
const careless = join(import.meta.dirname, 'programs', 'careless-driver.ts');
const DRIVER = ['conform', '--side', 'driver'];

describe('a driver', { timeout: TEST_LIMIT_MS }, () => {
  it('that conforms is told of, with the clauses that nobody can look at', async () => {
    const { code, stdout, stderr } = await viommu([...DRIVER, '--only', 'iommu.drv.']);
    expect(stdout).toMatch(/^ {2}pass {2}iommu\.drv\.probe\.length-from-header {2}\S/m);
    expect(stdout).toMatch(/^ {2}\d+ pass, 0 fail, 0 warn, 0 skip; \d+\.\d s$/m);
    expect(stdout).toMatch(/^ {2}40 of 43 clauses of the IOMMU chapter/m);
    expect(stdout).toMatch(/^ {2}no verdict {2}iommu\.drv\.map\.single-memory-type: \S/m);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('that falls short is a module, and ends with code 1', async () => {
    const outcome = await viommu([
      ...DRIVER,
      '--target',
      careless,
      '--json',
      '--only',
      'mmio.drv.',
    ]);
    const all = events(outcome);
    const worse = all.filter((one) => one['event'] === 'case' && one['result'] !== 'pass');
    expect(new Set(worse.map((one) => one['clause']))).toEqual(
      new Set(['mmio.drv.reg.ack-defined-only', 'mmio.drv.reg.ack-handled']),
    );
    expect(all.at(-1)).toMatchObject({ event: 'summary', target: 'careless', conforms: false });
    expect(outcome.code).toBe(1);
  });

  it('is listed by its cases', async () => {
    const { code, stdout } = await viommu([...DRIVER, '--list', '--only', 'iommu.drv.unmap.']);
    expect(stdout.trim().split('\n')).toHaveLength(6);
    expect(stdout).toContain('iommu.drv.unmap.start-on-boundary  MUST  ');
    expect(code).toBe(0);
  });
});

describe('the driver of a recording', { timeout: TEST_LIMIT_MS }, () => {
  const head = [
    '# viommu-stream 2',
    'F 100000077',
    'C fffffffffffff000 0 ffffffff 0 9 40 1',
    'P 8 1 fee00000 feefffff',
    'A 1 8 0',
  ];

  it('that conforms ends with code 0', async () => {
    const recording = 'recordings/linux-6.12-lazy.stream.gz';
    const { code, stdout, stderr } = await viommu([...DRIVER, '--monitor', recording]);
    expect(stdout).toContain(`${recording}, 56645 requests\n`);
    expect(stdout).toMatch(/^ {2}\d+ pass, 0 fail, 0 warn, 0 skip; /m);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('that does not is told of by line, and ends with code 1', async () => {
    const lines = [
      ...head,
      'M 1 fee01000 fee01fff 40000000 3',
      'M 1 1000 2fff 40000000 3',
      'R 5 U 1 1000 1fff',
      '',
    ];
    const recording = file('planted.stream', lines.join('\n'));
    const junit = file('monitor.xml', '');
    const outcome = await viommu([...DRIVER, '--monitor', recording, '--json', '--junit', junit]);
    const found = events(outcome).filter(
      (one) => one['result'] === 'fail' || one['result'] === 'warn',
    );
    expect(found.map((one) => [one['id'], one['result']])).toEqual([
      ['iommu.drv.unmap.end-on-boundary', 'fail'],
      ['iommu.drv.resv.no-map-in-region', 'warn'],
    ]);
    expect(found[0]?.['evidence']).toEqual([
      'broken 1 of 1 times',
      'line 8: UNMAP of 0x1000..0x1fff in domain 1 ends within a mapping',
    ]);
    expect(events(outcome).at(-1)).toMatchObject({ event: 'summary', fail: 1, warn: 1 });
    expect(readFileSync(junit, 'utf8')).toContain('iommu.drv.unmap.end-on-boundary');
    expect(outcome.code).toBe(1);
  });

  it('is no recording of something else, and no device', async () => {
    const damaged = await viommu([...DRIVER, '--monitor', file('damaged.stream', 'nothing\n')]);
    expect(damaged.stderr).toMatch(/^viommu: .*damaged\.stream:1: /);
    expect(damaged.code).not.toBe(0);
    const device = await viommu(['conform', '--monitor', file('any.stream', '')]);
    expect(device.stderr).toBe('viommu: --monitor judges a driver; add --side driver\n');
    expect(device.code).toBe(2);
  });
});
