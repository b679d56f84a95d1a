/** Recordings sent through the real driver and the real device, and recordings that say something else happened. */

import { readFileSync, readdirSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  LINUX_RECORDING,
  type Outcome,
  TEST_LIMIT_MS,
  events,
  scratch,
  stream,
  viommu,
} from './command.ts';

const file = scratch();
const linux = gunzipSync(readFileSync(LINUX_RECORDING)).toString('latin1');
const names = readdirSync(`${import.meta.dirname}/streams`).map((name) => name.split('.')[0] ?? '');

/** The one summary, which is the last object. */
function summary(outcome: Outcome): Record<string, unknown> {
  const all = events(outcome);
  expect(all.filter(({ event }) => event === 'summary')).toHaveLength(1);
  expect(all.at(-1)?.['event']).toBe('summary');
  return all.at(-1) ?? {};
}

const of = (outcome: Outcome, kind: string): Record<string, unknown>[] =>
  events(outcome).filter(({ event }) => event === kind);

/** What a stream says it holds. */
function counts(text: string): { requests: number; accesses: number } {
  const lines = text.split('\n');
  return {
    requests: lines.filter((line) => /^[PEADMUR] /.test(line)).length,
    accesses: lines.filter((line) => /^[TX] /.test(line)).length,
  };
}

describe('the recording of Linux', { timeout: TEST_LIMIT_MS }, () => {
  it('is answered as recorded, with fewer notifications than the real guest needed', async () => {
    const outcome = await viommu(['replay', LINUX_RECORDING, '--json']);
    const result = summary(outcome);
    expect(result).toMatchObject({
      event: 'summary',
      requests: 56_645,
      accesses: 128_378,
      mismatches: 0,
      perKind: { probe: 5, attach: 5, detach: 0, map: 33_035, unmap: 23_600 },
    });
    expect(result['seconds']).toBeGreaterThan(0);
    expect(result['notifications']).toBeGreaterThan(0);
    expect(Number(result['notifications']) / 56_645).toBeLessThanOrEqual(22_985 / 56_974);
    // Never more than one notification for a sync. A full ring makes syncs of its own.
    const batches = linux.match(/^[MAP] .*\n(?:[UMAP] .*\n)*(?:T|$)/gm)?.length ?? 0;
    expect(result['syncs']).toBeLessThan(1.01 * batches);
    expect(result['notifications']).toBeLessThan(1.1 * Number(result['syncs']));
    expect(outcome.stderr).toBe('');
    expect(outcome.code).toBe(0);
  });

  it('is answered as recorded with strict batches', async () => {
    const outcome = await viommu(['replay', '--batch', 'strict', LINUX_RECORDING, '--json']);
    const result = summary(outcome);
    expect(result).toMatchObject({ requests: 56_645, accesses: 128_378, mismatches: 0 });
    expect(Number(result['notifications']) / 56_645).toBeLessThanOrEqual(45_883 / 56_118);
    // Each UNMAP has its own.
    expect(result['syncs']).toBeGreaterThan(23_600);
    expect(outcome.code).toBe(0);
  });

  it('is answered as recorded over packed rings', async () => {
    const outcome = await viommu(['replay', '--ring', 'packed', LINUX_RECORDING, '--json']);
    expect(of(outcome, 'file')).toMatchObject([{ ring: 'packed', mismatches: 0 }]);
    expect(summary(outcome)).toMatchObject({ requests: 56_645, accesses: 128_378, mismatches: 0 });
    expect(outcome.code).toBe(0);
  });

  it('can come from standard input, plain, and is told in words', async () => {
    const outcome = await viommu(['replay', '-'], { input: linux });
    expect(outcome.stdout).toContain('5 PROBE, 5 ATTACH, 33,035 MAP, 23,600 UNMAP');
    expect(outcome.stdout).toContain('128,378');
    expect(outcome.stdout).toContain('every answer is as recorded');
    expect(outcome.stdout).not.toContain('\u001b');
    expect(outcome.stderr).toBe('');
    expect(outcome.code).toBe(0);
  });
});

describe('recordings', { timeout: TEST_LIMIT_MS }, () => {
  it.each([
    ['lazy', names],
    ['strict', ['domains', 'high-end', 'refusals']],
  ])('of all sorts of devices have no mismatch (%s)', async (batch, some) => {
    const outcome = await viommu(['replay', '--batch', batch, '--json', ...some.map(stream)]);
    expect(of(outcome, 'mismatch')).toEqual([]);
    for (const [index, name] of some.entries()) {
      const expected = counts(readFileSync(stream(name), 'latin1'));
      expect(of(outcome, 'file')[index]).toMatchObject({ ...expected, mismatches: 0 });
    }
    expect(outcome.code).toBe(0);
  });

  it('have queues of the format they had, unless another is asked for', async () => {
    const text = readFileSync(stream('least'), 'utf8');
    const packed = file('packed.stream', text.replace('F 1', 'F 5'));
    const formats = async (...options: readonly string[]): Promise<unknown[]> => {
      const outcome = await viommu(['replay', '--json', stream('least'), packed, ...options]);
      expect(outcome.stderr).toBe('');
      expect(outcome.code).toBe(0);
      return of(outcome, 'file').map(({ ring }) => ring);
    };
    expect(await formats()).toEqual(['split', 'packed']);
    expect(await formats('--ring', 'packed')).toEqual(['packed', 'packed']);
    expect(await formats('--ring', 'split')).toEqual(['split', 'split']);
  });

  it('each have a device of their own, and are summed up', async () => {
    const packed = file('ranges.gz', gzipSync(readFileSync(stream('ranges'))));
    const bare = file('bare.stream', linux.split('\n').slice(0, 4).join('\n'));
    const outcome = await viommu(['replay', '--json', packed, '-', bare, packed], {
      input: readFileSync(stream('least')),
    });
    const texts = ['ranges', 'least', 'ranges'].map((name) =>
      counts(readFileSync(stream(name), 'latin1')),
    );
    expect(summary(outcome)).toMatchObject({
      files: 4,
      requests: texts.reduce((sum, { requests }) => sum + requests, 0),
      accesses: texts.reduce((sum, { accesses }) => sum + accesses, 0),
      mismatches: 0,
    });
    expect(outcome.code).toBe(0);
  });

  it('of devices with features that ours lacks say so on standard error', async () => {
    const path = file(
      'features.stream',
      readFileSync(stream('least'), 'utf8').replace('F 1', 'F 8100c9'),
    );
    const outcome = await viommu(['replay', '--json', path]);
    expect(outcome.stderr).toMatch(
      /^viommu: .*features\.stream: our device does not have [^\n]*\n$/,
    );
    expect(outcome.stderr).toContain('NOTIF_CONFIG_DATA');
    expect(outcome.stderr).not.toMatch(/legacy|MAP_UNMAP/);
  });
});

/** One line of a recording changed, and what the mismatch there must say. */
interface Alteration {
  readonly what: string;
  readonly from: string;
  readonly to: string;
  readonly expected: RegExp;
  readonly got: RegExp;
}

/** Alterations that do not disturb what follows them, by the recording they are made in. */
const ALTERATIONS: Readonly<Record<string, readonly Alteration[]>> = {
  domains: [
    {
      what: 'an access that passed untranslated',
      from: 'T 16 10000 r 400000',
      to: 'T 16 10000 r =',
      expected: /untranslated/,
      got: /0x400000/,
    },
    {
      what: 'an access without the permission',
      from: 'T 17 14000 r 900000',
      to: 'T 17 14000 w 900000',
      expected: /0x900000/,
      got: /refused/,
    },
    {
      what: 'an interrupt that led to memory',
      from: 'T 16 fee00000 w =',
      to: 'T 16 fee00000 w fee00000',
      expected: /0xfee00000/,
      got: /untranslated/,
    },
    {
      what: 'an access after the UNMAP, which a lazy batch has not sent yet',
      from: 'T 16 12345 r 402345',
      to: 'T 16 14345 r 900345',
      expected: /0x900345/,
      got: /refused/,
    },
    {
      what: 'a removed mapping too many',
      from: 'U 2 0 ffffffffffffffff',
      to: 'U 2 0 ffffffffffffffff 1000-1fff',
      expected: /removed 0x1000-0x1fff/,
      got: /removed nothing/,
    },
    {
      what: 'a removed mapping that is smaller',
      from: 'U 1 0 fffff 10000-13fff',
      to: 'U 1 0 fffff 10000-12fff',
      expected: /0x10000-0x12fff/,
      got: /0x10000-0x13fff/,
    },
    {
      what: 'a removed mapping too few',
      from: 'U 1 0 2fff 1000-1fff 0-fff',
      to: 'U 1 0 2fff 1000-1fff',
      expected: /removed 0x1000-0x1fff/,
      got: /removed 0x0-0xfff 0x1000-0x1fff/,
    },
    {
      what: 'a DETACH from another domain',
      from: 'D 1 17',
      to: 'D 2 17',
      expected: /OK/,
      got: /INVAL/,
    },
  ],
  'high-end': [
    {
      what: 'an access that led elsewhere',
      from: 'T 4294967295 fff r ffffffffffffffff',
      to: 'T 4294967295 fff r fffffffffffffffe',
      expected: /0xfffffffffffffffe/,
      got: /0xffffffffffffffff/,
    },
  ],
  refusals: [
    {
      what: 'a request that was not refused',
      from: 'R 4 M 1 1000 1fff a000 1',
      to: 'M 1 1000 1fff a000 1',
      expected: /OK/,
      got: /INVAL/,
    },
    {
      what: 'another reason of a fault',
      from: 'X 8 1010 w 2',
      to: 'X 8 1010 w 1',
      expected: /DOMAIN/,
      got: /MAPPING/,
    },
    {
      what: 'a fault that did not happen',
      from: 'X 8 2000 r 2',
      to: 'X 8 1000 r 2',
      expected: /refused/,
      got: /0xa000/,
    },
    {
      what: 'a request that was refused',
      from: 'U 1 1000 1fff 1000-1fff',
      to: 'R 5 U 1 1000 1fff',
      expected: /RANGE/,
      got: /OK/,
    },
    {
      what: 'another status',
      from: 'R 6 A 1 77 0',
      to: 'R 4 A 1 77 0',
      expected: /INVAL/,
      got: /NOENT/,
    },
  ],
};

/** A recording with these lines changed, and the numbers of the lines. */
function alter(name: string, changes: readonly { from: string; to: string }[]) {
  const lines = readFileSync(stream(name), 'utf8').split('\n');
  const numbers = changes.map(({ from, to }) => {
    const index = lines.indexOf(from);
    expect(index, `${name} has a line ${from}`).toBeGreaterThan(0);
    lines[index] = to;
    return index + 1;
  });
  return { path: file(`${name}-${numbers.join('-')}.stream`, lines.join('\n')), numbers };
}

describe('a recording that was altered', { timeout: TEST_LIMIT_MS }, () => {
  it.each(['lazy', 'strict'])('has mismatches at the altered lines only (%s)', async (batch) => {
    const files = Object.entries(ALTERATIONS).map(([name, changes]) => alter(name, changes));
    const paths = files.map(({ path }) => path);
    const outcome = await viommu(['replay', '--json', '--batch', batch, ...paths]);
    const mismatches = of(outcome, 'mismatch');
    for (const [index, changes] of Object.values(ALTERATIONS).entries()) {
      const { path, numbers } = files[index] ?? { path: '', numbers: [] };
      const found = mismatches.filter((mismatch) => mismatch['file'] === path);
      expect(found.map(({ line }) => line)).toEqual(numbers);
      for (const [at, { what, expected, got }] of changes.entries()) {
        expect(found[at]?.['expected'], what).toMatch(expected);
        expect(found[at]?.['got'], what).toMatch(got);
      }
    }
    expect(summary(outcome)['mismatches']).toBe(mismatches.length);
    expect(outcome.code).toBe(1);
  });

  it('where it matters to what follows has its first mismatch there', async () => {
    const overlap = alter('domains', [
      { from: 'M 1 14000 14fff 900000 1', to: 'M 1 13000 14fff 900000 1' },
    ]);
    const nowhere = alter('domains', [{ from: 'M 1 0 fff 1000 3', to: 'M 3 0 fff 1000 3' }]);
    const outcome = await viommu(['replay', '--json', overlap.path, nowhere.path]);
    for (const [{ path, numbers }, got] of [
      [overlap, 'status INVAL'],
      [nowhere, 'status NOENT'],
    ] as const)
      expect(of(outcome, 'mismatch').find((mismatch) => mismatch['file'] === path)).toMatchObject({
        line: numbers[0],
        expected: 'status OK',
        got,
      });
    expect(outcome.code).toBe(1);
  });

  it('in a PROBE that returned no region has a mismatch there', async () => {
    const { path, numbers } = alter('refusals', [{ from: 'R 6 P 1000', to: 'E 8' }]);
    const outcome = await viommu(['replay', '--json', path]);
    expect(of(outcome, 'mismatch')).toMatchObject([
      { line: numbers[0], expected: 'no reserved region', got: expect.stringMatching(/MSI/) },
    ]);
    expect(outcome.code).toBe(1);
  });

  it('in one of 128,378 accesses has one mismatch, with file and line', async () => {
    const lines = linux.split('\n');
    const index = lines.lastIndexOf('T 40 ffff8004 w 2889d004');
    lines[index] = 'T 40 ffff8004 w 2889d005';
    const path = file('access.stream.gz', gzipSync(lines.join('\n')));
    const outcome = await viommu(['replay', path]);
    expect(outcome.stdout).toContain(
      `${path}:${index + 1}: mismatch: write by endpoint 40 at 0xffff8004:` +
        ' expected 0x2889d005, got 0x2889d004\n',
    );
    expect(outcome.stdout).toContain('1 answer is not as recorded');
    expect(outcome.code).toBe(1);
  });

  it('in thousands of lines shows the first and counts the rest', async () => {
    const lines = linux.split('\n').slice(0, 5000);
    const wrong = lines.map((line) => line.replace(/^(T .* [0-9a-f]+)[0-9a-f]{3}$/, '$1777'));
    const count = wrong.filter((line, index) => line !== lines[index]).length;
    const path = file('many.stream', wrong.join('\n'));
    const outcome = await viommu(['replay', path]);
    const shown = outcome.stdout.split('\n').filter((line) => line.includes(': mismatch: '));
    expect(shown).toHaveLength(20);
    expect(outcome.stdout).toContain(
      `${path}: and ${(count - 20).toLocaleString('en-US')} more mismatches\n`,
    );
    expect(outcome.code).toBe(1);
  });
});
