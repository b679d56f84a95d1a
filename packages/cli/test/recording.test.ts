/** What is wrong with a file: one failure with file, line and reason, before anything of it is used. */

import { readFileSync } from 'node:fs';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { Failure } from '../src/failure.ts';
import { readRecording } from '../src/replay/recording.ts';

const folder = mkdtempSync(join(tmpdir(), 'viommu-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const recordings = new URL('../../../recordings/', import.meta.url);
const packed = readFileSync(new URL('linux-6.12-lazy.stream.gz', recordings));

const HEAD = [
  '# viommu-stream 1',
  'F 100000077',
  'C fffffffffffff000 0 ffffffffffffffff 0 ffffffff 40 1',
];
const text = (...body: readonly string[]): string => `${[...HEAD, ...body].join('\n')}\n`;

let files = 0;

/** The message of the failure to read a file with this content, without the name of the file. */
async function problem(content: string | Uint8Array): Promise<string> {
  const path = join(folder, `${(files += 1)}`);
  writeFileSync(path, content);
  const failure: unknown = await readRecording(path).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(Failure);
  const { message, exitCode } = failure as Failure; // just seen
  expect(exitCode).toBe(2);
  expect(message.startsWith(`${path}:`)).toBe(true);
  return message.slice(path.length + 1);
}

describe('a recording is read', () => {
  it('to its end, plain or packed, whatever it is called', async () => {
    const path = join(folder, 'plain.gz');
    const body = ['P 8 1 fee00000 feefffff', 'A 1 8 0', 'M 1 0 fff a000 3', 'T 8 0 r a000'];
    for (const content of [text(...body), gzipSync(text(...body)), text(...body).trimEnd()]) {
      writeFileSync(path, content);
      const recording = await readRecording(path);
      expect(recording.counts).toEqual({ probe: 1, attach: 1, detach: 0, map: 1, unmap: 0 });
      expect(recording.accesses).toBe(1);
      expect(recording.script.length).toBe(4);
      expect(recording.endpoints).toEqual([
        { id: 8, reserved: [{ type: 'msi', start: 0xfee0_0000n, last: 0xfeef_ffffn }] },
      ]);
    }
  });

  it('from packed parts that follow one another, as `cat` makes them', async () => {
    const path = join(folder, 'parts');
    const [head, body] = [text(), 'A 1 8 0\nD 1 8\n'];
    writeFileSync(path, Buffer.concat([gzipSync(head), gzipSync(body)]));
    expect((await readRecording(path)).counts).toMatchObject({ attach: 1, detach: 1 });
  });

  it('with every endpoint that is named, and all its regions once', async () => {
    const path = join(folder, 'regions');
    writeFileSync(
      path,
      text('P 2 0 a000 afff', 'P 2 1 f000 ffff', 'P 2 0 a000 afff', 'T 3 0 r =', 'D 1 4'),
    );
    const { endpoints } = await readRecording(path);
    expect(endpoints.map(({ id, reserved }) => [id, reserved.length])).toEqual([
      [2, 2],
      [3, 0],
      [4, 0],
    ]);
  });
});

describe('a file is refused', () => {
  it('if it is not there, or a directory', async () => {
    await expect(readRecording(join(folder, 'none'))).rejects.toThrow(
      'none: there is no such file',
    );
    await expect(readRecording(folder)).rejects.toThrow('it is a directory, not a file');
  });

  it.each([
    ['is empty', '', '1: the stream ends without its header'],
    ['is no stream', '{}\n', '1: line 1 must be '],
    ['is of a version to come', '# viommu-stream 3\n', '1: version 3 is not known'],
    [
      'ends after the F line',
      `${HEAD.slice(0, 2).join('\n')}\n`,
      '2: the stream ends without its C',
    ],
    ['ends in a line', text('M 1 1000 1fff a000 3').slice(0, -8), '4: kind M takes 5 fields'],
    ['has a line without end', text('f'.repeat(17_000_000)), '4: the line is longer than 16777216'],
  ])('if it %s', async (_name, content, message) => {
    expect(await problem(content)).toContain(message);
  });

  it.each([
    ['an unknown kind of line', ['A 1 8 0', 'Q 1'], '5: unknown kind of line "Q"'],
    ['an empty line', ['A 1 8 0', ''], '5: unknown kind of line ""'],
    ['a number above 64 bits', ['M 1 10000000000000000 1 0 3'], '4: virt_start is not a hex'],
    ['a domain above 32 bits', ['A 4294967296 8 0'], '4: domain is above 4294967295'],
    ['a negative number', ['A -1 8 0'], '4: domain is not a decimal number'],
    ['a field too few', ['A 1 8'], '4: kind A takes 3 fields, and 2 are there'],
    ['a field too many', ['A 1 8 0 0'], '4: kind A takes 3 fields, and 4 are there'],
    ['an access of no kind', ['T 8 0 x 0'], '4: access is none of r, w, rw: "x"'],
    ['a range that ends before it starts', ['M 1 1000 fff 0 3'], '4: virt_end is below virt_start'],
    ['a line of another version', ['X 8 0 r 2'], '4: kind X needs version 2'],
    ['a second device', ['F 1'], '4: a second F line'],
    ['a region of no type', ['P 8 2 0 fff'], '4: subtype 2 does not exist, only 0 and 1'],
    ['regions that overlap', ['P 8 1 0 1fff', 'P 8 0 1000 2fff'], '5: endpoint 8 has another'],
    [
      'more regions than a PROBE returns',
      ['P 8 1 0 fff', 'P 8 1 1000 1fff', 'P 8 1 2000 2fff'],
      '6: the regions of endpoint 8 do not fit a probe_size of 64',
    ],
  ])('if it has %s', async (_name, body, message) => {
    expect(await problem(text(...body))).toContain(message);
    expect(await problem(gzipSync(text(...body)))).toContain(message);
  });

  it.each([
    ['page_size_mask', 'C 0 0 ffffffffffffffff 0 ffffffff 40 1', '3: page_size_mask is 0'],
    ['bypass', 'C 1000 0 ffffffffffffffff 0 ffffffff 40 2', '3: bypass is 2'],
    ['probe_size', 'C 1000 0 ffffffffffffffff 0 ffffffff 10001 0', '3: probe_size is 65537'],
    ['domain_range', 'C 1000 0 ffffffffffffffff 5 4 40 0', '3: domain_range ends before'],
  ])('if no device can have its %s', async (_name, config, message) => {
    expect(await problem(`${HEAD[0]}\n${HEAD[1]}\n${config}\n`)).toContain(message);
  });

  it('if its gzip data is cut off, at the line that it reaches', async () => {
    const cut = await problem(packed.subarray(0, 400_000));
    expect(cut).toMatch(/^1[0-9]{5}: the gzip data ends before its end mark: the file is cut off$/);
    expect(await problem(packed.subarray(0, 5))).toMatch(/^1: the gzip data ends before/);
    expect(await problem(packed.subarray(0, -1))).toMatch(/^18\d{4}: the gzip data ends before/);
  });

  it('if its gzip data is damaged', async () => {
    const scrambled = Uint8Array.from(packed).fill(0xa5, 300_000, 300_100);
    expect(await problem(scrambled)).toMatch(/^\d{5}: /);
    const checksum = gzipSync(text('A 1 8 0'));
    checksum.writeUInt32LE(0, checksum.length - 8);
    expect(await problem(checksum)).toMatch(/^\d: the gzip data is damaged$/);
  });
});
