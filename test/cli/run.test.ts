/** Guest programs, the demonstration, recordings of both, and everything that can end them. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { RecordWriter } from '@viommu/common/records';
import { nodeRecordFile } from '@viommu/machine/node';
import { describe, expect, it } from 'vitest';
import { TEST_LIMIT_MS, events, scratch, stream, viommu } from './command.ts';

const file = scratch();
const program = (name: string): string => join(import.meta.dirname, 'programs', `${name}.ts`);
/** Whatever happens, a command is over so long after it was told to end. */
const END_MS = 5000;

describe('the demonstration', { timeout: TEST_LIMIT_MS }, () => {
  it('says in words what happened, and the recording of Linux follows', async () => {
    const { code, stdout, stderr } = await viommu([]);
    for (const text of [
      'probe ',
      'attach ',
      '64 requests with ',
      'DMA out ',
      'DMA back ',
      'every byte arrived',
      'the page is mapped for reading only',
      'unmap ',
      '56,645',
      'every answer is as recorded',
    ])
      expect(stdout).toContain(text);
    expect(stdout).not.toContain('\u001b');
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it.each(['demo.stream', 'demo.stream.gz'])(
    'leaves a recording that replays (%s)',
    async (name) => {
      const path = file(name, 'something old');
      const ran = await viommu(['run', '--record', path, '--json']);
      const last = events(ran).at(-1);
      expect(last).toMatchObject({ event: 'summary', program: 'demonstration' });
      const bytes = readFileSync(path);
      const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
      // It has refused accesses, which version 1 has no line for.
      expect(text.startsWith('# viommu-stream 2\n')).toBe(true);
      expect(text).toMatch(/^X 8 /m);
      expect(last?.['recording']).toMatchObject({
        file: path,
        version: 2,
        events: text.split('\n').filter((line) => /^[A-Z]/.test(line)).length,
      });
      expect(existsSync(`${path}.part`)).toBe(false);

      const replayed = await viommu(['replay', path, '--json']);
      expect(events(replayed).at(-1)).toMatchObject({ event: 'summary', mismatches: 0 });
      expect(replayed.code).toBe(0);
    },
  );
});

describe('a guest program', { timeout: TEST_LIMIT_MS }, () => {
  it('prints, logs, reports and returns', async () => {
    const { code, stdout, stderr } = await viommu(['run', program('hello'), '--memory', '1M']);
    expect(stdout).toContain('printed\n');
    expect(stderr).toBe('complained\n');
    expect(stdout).toContain('guest: logged\n');
    expect(stdout).toContain('guest: {"size":"0x10000000000","negotiated":true}\n');
    expect(stdout).toContain('result: {"answer":"0x2a"}\n');
    expect(code).toBe(0);
  });

  it('leaves standard output to objects under --json', async () => {
    const outcome = await viommu(['run', '--json', program('hello')]);
    expect(events(outcome)).toMatchObject([
      { event: 'log', from: 'guest', text: 'logged' },
      { event: 'report', from: 'guest', size: '0x10000000000' },
      { event: 'summary', program: program('hello'), value: { answer: '0x2a' } },
    ]);
    expect(outcome.stderr).toContain('printed\n');
  });

  it.each([
    [[], false],
    [['--ring', 'split'], false],
    [['--ring', 'packed'], true],
  ])('has queues of the format that is asked for: %j', async (options, packed) => {
    const outcome = await viommu(['run', '--json', program('ring'), ...options]);
    expect(events(outcome).at(-1)).toMatchObject({ event: 'summary', value: packed });
  });

  it('is recorded in the lowest version that has what happened', async () => {
    const path = file('recorded.stream', '');
    await viommu(['run', program('recorded'), '--record', path]);
    const text = readFileSync(path, 'utf8');
    expect(text.split('\n').map((line) => line.slice(0, 3))).toEqual([
      '# v',
      '# o',
      'F 1',
      'C f',
      'P 8',
      'A 2',
      'M 2',
      'T 8',
      'T 8',
      'D 2',
      '',
    ]);
    expect(text.startsWith('# viommu-stream 1\n')).toBe(true);
    const replayed = await viommu(['replay', path, '--json']);
    expect(events(replayed).at(-1)).toMatchObject({ requests: 4, accesses: 2, mismatches: 0 });
  });

  it('that throws fails with one line, which says where', async () => {
    const { code, stderr } = await viommu(['run', program('throw')]);
    expect(stderr).toMatch(/^viommu: [^\n]*on purpose, in two lines \(throw\.ts:4:9\)\n$/);
    expect(code).toBe(1);
  });

  it('that ends its worker fails with one line', async () => {
    const { code, stderr } = await viommu(['run', program('exit')]);
    expect(stderr).toMatch(/^viommu: [^\n]+\n$/);
    expect(code).toBe(1);
  });

  it('that is none fails with one line', async () => {
    const { code, stderr } = await viommu(['run', file('none.mjs', 'export const a = 1;\n')]);
    expect(stderr).toMatch(/^viommu: [^\n]+ has no default function\.\n$/);
    expect(code).toBe(1);
  });
});

describe('a guest program that spins', { timeout: TEST_LIMIT_MS }, () => {
  const spin = program('spin');
  const spinning = 'spinning';

  it('is ended by Ctrl-C, and what it did is recorded', async () => {
    const path = file('spin.stream', '');
    const outcome = await viommu(['run', spin, '--record', path], {
      signal: { name: 'SIGINT', after: spinning },
    });
    expect(outcome.stderr).toBe('viommu: ended by SIGINT\n');
    expect(outcome.code).toBe(130);
    expect(outcome.sinceSignalMs).toBeLessThan(END_MS);
    expect(readFileSync(path, 'utf8')).toMatch(/^# viommu-stream 1\n# [^\n]+\nF 1/);
  });

  it('is ended by SIGTERM', async () => {
    const outcome = await viommu(['run', spin], {
      signal: { name: 'SIGTERM', after: spinning },
    });
    expect([outcome.code, outcome.stderr]).toEqual([143, 'viommu: ended by SIGTERM\n']);
    expect(outcome.sinceSignalMs).toBeLessThan(END_MS);
  });

  it('is ended by --timeout', async () => {
    const outcome = await viommu(['run', spin, '--timeout', '1.5']);
    expect(outcome.stderr).toBe('viommu: not done after 1.5 s (--timeout)\n');
    expect(outcome.code).toBe(1);
    expect(outcome.elapsedMs).toBeLessThan(1500 + END_MS);
  });
});

describe('a command that waits for its input', { timeout: TEST_LIMIT_MS }, () => {
  it.each(['replay', 'inspect'])('is ended by --timeout (%s)', async (command) => {
    const outcome = await viommu([command, '-', '--timeout', '0.5'], { input: undefined });
    expect(outcome.stderr).toBe('viommu: not done after 0.5 s (--timeout)\n');
    expect(outcome.code).toBe(1);
    expect(outcome.elapsedMs).toBeLessThan(500 + END_MS);
  });
});

describe('a recording', { timeout: TEST_LIMIT_MS }, () => {
  it('is inspected in words', async () => {
    const { code, stdout } = await viommu(['inspect', stream('refusals'), '--events']);
    expect(stdout).toContain('viommu-stream version 2');
    expect(stdout).toContain('Refused requests and accesses');
    expect(stdout).toContain('INPUT_RANGE, DOMAIN_RANGE, MAP_UNMAP, PROBE, MMIO, BYPASS_CONFIG');
    expect(stdout).toContain('refused with NOENT');
    expect(stdout.split('\n')).toContain('11  ATTACH endpoint 8 to domain 1');
    expect(stdout).toContain('MAP domain 1 0x1000-0x1fff -> 0xa000 READ (4 KiB) refused: INVAL\n');
    expect(stdout).toContain('access endpoint 8 write 0x1010 refused: no mapping that allows it');
    expect(code).toBe(0);
  });

  it('is inspected by programs', async () => {
    const outcome = await viommu(['inspect', '--json', '--events', '-'], {
      input: readFileSync(stream('domains')),
    });
    const [summary, ...rest] = events(outcome);
    expect(summary).toMatchObject({
      event: 'recording',
      version: 1,
      features: '0x100000077',
      config: { pageSizeMask: '0xfffffffffffff000', probeSize: 128 },
      counts: { probe: 2, attach: 5, detach: 2, map: 7, unmap: 6, access: 12 },
      mappingsMost: 3,
      mappingsAtEnd: 0,
    });
    expect(rest).toHaveLength(36);
    expect(rest.find(({ event }) => event === 'map')).toEqual({
      event: 'map',
      line: 9,
      domain: 1,
      virtStart: '0x10000',
      virtLast: '0x13fff',
      physStart: '0x400000',
      flags: 3,
    });
  });

  it('of records is told by its first bytes, and says what is torn', async () => {
    const path = file('records', '');
    {
      using disk = nodeRecordFile(path);
      const writer = new RecordWriter(disk);
      writer.append({ address: 0xffff_ffff_ffff_ffffn, text: 'one' });
      writer.append({ address: 1n, text: 'two' });
      writer.flush();
    }
    const whole = await viommu(['inspect', '--json', '--events', path]);
    expect(events(whole)).toEqual([
      { event: 'record', number: 1, record: { address: '0xffffffffffffffff', text: 'one' } },
      { event: 'record', number: 2, record: { address: '0x1', text: 'two' } },
      { event: 'records', file: path, records: 2, blocks: 1, problems: 0 },
    ]);
    expect(whole.code).toBe(0);

    const torn = file('torn', readFileSync(path).subarray(0, -1));
    const outcome = await viommu(['inspect', torn]);
    expect(outcome.stdout).toContain(`${torn}: torn: `);
    expect(outcome.code).toBe(1);
  });

  it('can be read in part by another command', async () => {
    const outcome = await viommu(['inspect', '--events', stream('domains')], { closeStdout: true });
    expect(outcome.stderr).toBe('');
    expect(outcome.code).toBe(0);
  });
});
