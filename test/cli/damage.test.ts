/** Damaged input and wrong usage: exactly one line on standard error, which says where and what, and exit code 2. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LINUX_RECORDING, TEST_LIMIT_MS, scratch, stream, viommu } from './command.ts';

const file = scratch();
const cut = file('cut.stream.gz', readFileSync(LINUX_RECORDING).subarray(0, 400_000));
const unknown = file(
  'unknown.stream',
  readFileSync(stream('domains'), 'utf8').replace('D 1 17', 'Q'),
);
const outside = file(
  'outside.stream',
  readFileSync(stream('domains'), 'utf8').replace('A 1 16 0', 'A 4294967296 16 0'),
);

describe('one line and exit code 2', { timeout: TEST_LIMIT_MS }, () => {
  it.each([
    ['a missing file', ['replay', 'no/such/file'], 'no/such/file: there is no such file'],
    ['a file cut off', ['replay', '--json', cut], `${cut}:12`],
    ['an unknown line', ['replay', unknown], `${unknown}:37: unknown kind of line "Q"`],
    [
      'a number out of range',
      ['replay', outside],
      `${outside}:7: domain is above 4294967295: 4294967296`,
    ],
    [
      'damage in the second file, before the first is replayed',
      ['replay', '--json', stream('domains'), unknown],
      `${unknown}:37: unknown kind of line "Q"`,
    ],
    [
      'a missing file to inspect',
      ['inspect', 'no/such/file'],
      'no/such/file: there is no such file',
    ],
    ['a damaged file to inspect', ['inspect', '--json', '--events', cut], `${cut}:12`],
    ['damaged standard input', ['inspect', '-'], 'standard input:1: line 1 must be '],
    ['standard input twice', ['replay', '-', '-'], 'standard input (-) can be read once only'],
    ['no file', ['replay'], "missing required argument 'files'; see viommu --help"],
    ['an unknown command', ['repaly'], "unknown command 'repaly'; did you mean replay? see viommu"],
    ['an unknown option', ['--sed', '5'], "unknown option '--sed'; see viommu --help"],
    [
      'an option that nearly exists',
      ['replay', '--bach', 'lazy', stream('domains')],
      "unknown option '--bach'; did you mean --batch? see viommu --help",
    ],
    [
      'an unknown way to batch',
      ['replay', '--batch', 'eager', stream('domains')],
      "option '--batch <mode>' argument 'eager' is invalid. Allowed choices are lazy, strict. see",
    ],
    [
      'a time limit that is none',
      ['run', '--timeout', 'soon'],
      "option '--timeout <seconds>' argument 'soon' is invalid. It must be a number of seconds",
    ],
    [
      'a memory that is none',
      ['run', '--memory', '12Q'],
      "option '--memory <bytes>' argument '12Q' is invalid. It must be a number of bytes",
    ],
    ['a memory that is no memory', ['run', '--memory', '5'], '--memory: RAM of 5 bytes is not'],
    ['a missing program', ['run', 'no/program.ts'], 'no/program.ts: there is no such file'],
    [
      'a recording that cannot be written',
      ['run', '--record', 'no/such/folder/x'],
      'no/such/folder/x: ',
    ],
  ])('for %s', async (_name, args, message) => {
    const { code, stdout, stderr } = await viommu(args, { input: 'nonsense\n' });
    expect(stderr).toMatch(/^viommu: [^\n]+\n$/);
    expect(stderr.slice('viommu: '.length)).toContain(message);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});

describe('help', { timeout: TEST_LIMIT_MS }, () => {
  it('names every command and is no failure', async () => {
    const { code, stdout, stderr } = await viommu(['--help']);
    for (const command of ['start', 'run', 'replay', 'inspect']) expect(stdout).toContain(command);
    expect([code, stderr]).toEqual([0, '']);
  });

  it('names the options of a command', async () => {
    const { code, stdout } = await viommu(['replay', '--help']);
    expect(stdout).toContain('--batch <mode>');
    expect(code).toBe(0);
  });

  it('says which version this is', async () => {
    const { code, stdout } = await viommu(['--version']);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(code).toBe(0);
  });
});
