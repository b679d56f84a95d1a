import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { StreamParser, formatStreamEvent, streamHeader, streamVersionOf } from '@viommu/common';
import type { StreamEvent } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyConfig, anyEvent, anyFeatures } from './arbitrary.ts';

const FEATURES = 'F 10179000077';
const CONFIG = 'C fffffffffffff000 0 ffffffffffffffff 0 ffffffff 200 1';

/** A parser that has read the header, F and C. */
function started(version: 1 | 2): StreamParser {
  const parser = new StreamParser();
  for (const line of [streamHeader(version), FEATURES, CONFIG]) parser.line(line);
  return parser;
}

/** Reads one line of version 2. */
function read(line: string): ReturnType<StreamParser['line']> {
  return started(2).line(line);
}

describe('a real recording', () => {
  // The first lines of a recording of Linux 6.12 under QEMU 7.2, and the first of its lines that has several ranges.
  const recorded: readonly (readonly [line: string, event: StreamEvent | undefined])[] = (
    [
      ['# viommu-stream 1', undefined],
      ['# origin: Linux 6.12 guest, DMA-FQ (lazy) default domains', undefined],
      ['F 10179000077', { kind: 'features', bits: 0x101_7900_0077n }],
      [
        'C fffffffffffff000 0 ffffffffffffffff 0 ffffffff 200 1',
        {
          kind: 'config',
          pageSizeMask: 0xffff_ffff_ffff_f000n,
          inputStart: 0n,
          inputLast: 0xffff_ffff_ffff_ffffn,
          domainFirst: 0,
          domainLast: 0xffff_ffff,
          probeSize: 512,
          bypass: 1,
        },
      ],
      [
        'P 32 1 fee00000 feefffff',
        { kind: 'probe', endpoint: 32, subtype: 1, start: 0xfee0_0000n, last: 0xfeef_ffffn },
      ],
      ['A 0 32 0', { kind: 'attach', domain: 0, endpoint: 32, flags: 0 }],
      [
        'M 1 fffff000 ffffffff 27def000 3',
        {
          kind: 'map',
          domain: 1,
          virtStart: 0xffff_f000n,
          virtLast: 0xffff_ffffn,
          physStart: 0x27de_f000n,
          flags: 3,
        },
      ],
      [
        'T 48 fffff082 r 27def082',
        {
          kind: 'access',
          endpoint: 48,
          address: 0xffff_f082n,
          access: 'r',
          result: 0x27de_f082n,
        },
      ],
      [
        'T 48 fee00000 w =',
        { kind: 'access', endpoint: 48, address: 0xfee0_0000n, access: 'w', result: '=' },
      ],
      [
        'U 1 ffffe000 ffffefff ffffe000-ffffefff',
        {
          kind: 'unmap',
          domain: 1,
          virtStart: 0xffff_e000n,
          virtLast: 0xffff_efffn,
          removed: [{ start: 0xffff_e000n, last: 0xffff_efffn }],
        },
      ],
    ] as const
  ).map(([line, event]) => [line, event as StreamEvent | undefined]); // literals carry no brands

  it('reads as what its description says', () => {
    const parser = new StreamParser();
    for (const [line, event] of recorded) expect(parser.line(line)).toEqual(event);
    expect(parser.version).toBe(1);
    expect(parser.lines).toBe(recorded.length);
    expect(parser.end()).toBeUndefined();
  });

  it('is written with the same characters', () => {
    const events = recorded.filter(([, event]) => event !== undefined);
    expect(events.map(([, event]) => event && formatStreamEvent(event))).toEqual(
      events.map(([line]) => line),
    );
  });
});

describe('version 2', () => {
  it.each<[string, object]>([
    ['E 8', { kind: 'probe-empty', endpoint: 8 }],
    ['R 6 P 99', { kind: 'refused', status: 6, request: { kind: 'probe', endpoint: 99 } }],
    [
      'R 4 A 1 8 2',
      { kind: 'refused', status: 4, request: { kind: 'attach', domain: 1, endpoint: 8, flags: 2 } },
    ],
    [
      'R 4 D 1 8',
      { kind: 'refused', status: 4, request: { kind: 'detach', domain: 1, endpoint: 8 } },
    ],
    [
      'R 4 M 1 2000 1fff a000 1',
      {
        kind: 'refused',
        status: 4,
        request: {
          kind: 'map',
          domain: 1,
          virtStart: 0x2000n,
          virtLast: 0x1fffn,
          physStart: 0xa000n,
          flags: 1,
        },
      },
    ],
    [
      'R 5 U 1 1000 17ff',
      {
        kind: 'refused',
        status: 5,
        request: { kind: 'unmap', domain: 1, virtStart: 0x1000n, virtLast: 0x17ffn },
      },
    ],
    ['X 8 1010 rw 2', { kind: 'fault', endpoint: 8, address: 0x1010n, access: 'rw', reason: 2 }],
    ['Z device', { kind: 'device-reset' }],
    ['Z system', { kind: 'system-reset' }],
    ['B 1', { kind: 'bypass', value: 1 }],
    ['K 65535', { kind: 'notify', queue: 65535 }],
  ])('%s', (line, event) => {
    expect(read(line)).toEqual(event);
    expect(formatStreamEvent(event as StreamEvent)).toBe(line); // literals carry no brands
    expect(streamVersionOf(event as StreamEvent)).toBe(2); // likewise
    expect(started(1).line(line)).toEqual({
      kind: 'error',
      line: 4,
      reason: `kind ${line.charAt(0)} needs version 2, and the header says 1`,
    });
  });
});

describe('the example in the description of the format', () => {
  it('is read whole and written with the same characters', () => {
    const text = readFileSync(new URL('../../docs/stream-format.md', import.meta.url), 'utf8');
    const lines = /```text\n([^`]*)\n```/.exec(text)?.[1]?.split('\n') ?? [];
    const parser = new StreamParser();
    const written = lines.map((line) => {
      const event = parser.line(line);
      return event === undefined ? line : event.kind === 'error' ? event : formatStreamEvent(event);
    });
    expect(written).toEqual(lines);
    expect(lines.length).toBeGreaterThan(10);
    expect(parser.end()).toBeUndefined();
  });
});

describe('every event', () => {
  it('comes back from its own line', () => {
    fc.assert(
      fc.property(anyFeatures, anyConfig, fc.array(anyEvent), (features, config, events) => {
        const parser = new StreamParser();
        expect(parser.line(streamHeader(2))).toBeUndefined();
        for (const event of [features, config, ...events])
          expect(parser.line(formatStreamEvent(event))).toEqual(event);
        expect(parser.end()).toBeUndefined();
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('can be read in the lowest version that has it, and in none below', () => {
    fc.assert(
      fc.property(anyEvent, (event) => {
        const kind = started(1).line(formatStreamEvent(event))?.kind;
        expect(kind).toBe(streamVersionOf(event) === 1 ? event.kind : 'error');
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it('takes hex of both cases and leading zeros', () => {
    expect(read('T 008 00FEE0000A r 00aB')).toEqual({
      kind: 'access',
      endpoint: 8,
      address: 0xfee0_000an,
      access: 'r',
      result: 0xabn,
    });
  });
});

describe('a line that is no part of the format', () => {
  it.each<[string, string]>([
    ['', 'unknown kind of line ""'],
    ['Q 1', 'unknown kind of line "Q"'],
    ['MM 1', 'unknown kind of line "MM"'],
    ['m 1 1000 1fff a000 1', 'unknown kind of line "m"'],
    [' M 1 1000 1fff a000 1', 'unknown kind of line ""'],
    ['\u001b[2J', 'unknown kind of line "\\u001b[2J"'],
    [`${'y'.repeat(100)} 1`, `unknown kind of line "${'y'.repeat(40)}…"`],
    ['F 1', 'a second F line'],
    [CONFIG, 'a second C line'],
    ['M 1 1000 1fff a000', 'kind M takes 5 fields, and 4 are there'],
    ['M 1 1000 1fff a000 1 2', 'kind M takes 5 fields, and 6 are there'],
    ['D  1 8', 'kind D takes 2 fields, and 3 are there'],
    ['D 1 8 ', 'kind D takes 2 fields, and 3 are there'],
    ['U 1 1000', 'kind U takes at least 3 fields, and 2 are there'],
    ['R 4', 'kind R takes at least 2 fields, and 1 are there'],
    ['R 4 M 1 1000 1fff a000', 'kind R M takes 5 fields, and 4 are there'],
    ['R 4 U 1 1000 1fff 1000-1fff', 'kind R U takes 3 fields, and 4 are there'],
    ['R 4 T 1', 'the refused request is none of A, D, M, U, P: "T"'],
    ['R 0 D 1 8', 'status is below 1: 0'],
    ['R 256 D 1 8', 'status is above 255: 256'],
    ['A 1 8 x', 'flags is not a decimal number of 1 to 10 digits: "x"'],
    ['A 1 8 0x1', 'flags is not a decimal number of 1 to 10 digits: "0x1"'],
    ['A 1 -8 0', 'endpoint is not a decimal number of 1 to 10 digits: "-8"'],
    ['A 1 8.0 0', 'endpoint is not a decimal number of 1 to 10 digits: "8.0"'],
    ['A 1 8 0\r', 'flags is not a decimal number of 1 to 10 digits: "0\\r"'],
    ['A 4294967296 8 0', 'domain is above 4294967295: 4294967296'],
    ['A 10000000000 8 0', 'domain is not a decimal number of 1 to 10 digits: "10000000000"'],
    ['A 1 4294967296 0', 'endpoint is above 4294967295: 4294967296'],
    ['P 8 256 0 1', 'subtype is above 255: 256'],
    ['P 8 1 1 0', 'end is below start'],
    ['M 1 0x1000 1fff a000 1', 'virt_start is not a hex number of 1 to 16 digits: "0x1000"'],
    ['M 1 1000 1ffg a000 1', 'virt_end is not a hex number of 1 to 16 digits: "1ffg"'],
    [
      'M 1 1000 1fff 10000000000000000 1',
      'phys_start is not a hex number of 1 to 16 digits: "10000000000000000"',
    ],
    ['M 1 2000 1fff a000 1', 'virt_end is below virt_start'],
    ['U 1 2000 1fff', 'virt_end is below virt_start'],
    ['U 1 1000 1fff 1000', 'removed is not two hex numbers with a hyphen between them: "1000"'],
    [
      'U 1 1000 1fff 1000-1fff 1000-',
      'removed is not two hex numbers with a hyphen between them: "1000-"',
    ],
    ['U 1 1000 1fff 2000-1fff', 'removed ends before it starts: "2000-1fff"'],
    [
      'U 1 1000 1fff 1000-1fff-1',
      'removed is not two hex numbers with a hyphen between them: "1000-1fff-1"',
    ],
    ['T 8 1000 x a000', 'access is none of r, w, rw: "x"'],
    ['T 8 1000 r ==', 'result is not a hex number of 1 to 16 digits: "=="'],
    ['X 8 1000 r =', 'reason is not a decimal number of 1 to 10 digits: "="'],
    ['Z bus', 'reset is none of device, system: "bus"'],
    ['B 256', 'value is above 255: 256'],
    ['K 65536', 'queue is above 65535: 65536'],
  ])('%j', (line, reason) => {
    expect(read(line)).toEqual({ kind: 'error', line: 4, reason });
  });

  it.each<[string, string]>([
    ['F g', 'features is not a hex number of 1 to 16 digits: "g"'],
    ['F 10000000000000000', 'features is not a hex number of 1 to 16 digits: "10000000000000000"'],
    ['C 1000 0 ff 0 ff 200', 'kind C takes 7 fields, and 6 are there'],
    ['C 1000 1 0 0 ff 200 1', 'input_range ends before it starts'],
    ['C 1000 0 ff 1 0 200 1', 'domain_range ends before it starts'],
    ['C 1000 0 ff 0 100000000 200 1', 'domain_range.end is above ffffffff: 100000000'],
    ['C 1000 0 ff 0 ff 200 100', 'bypass is above ff: 100'],
    ['A 1 8 0', 'kind A stands before the F line'],
  ])('%j as the first event', (line, reason) => {
    const parser = new StreamParser();
    parser.line(streamHeader(1));
    expect(parser.line(line)).toEqual({ kind: 'error', line: 2, reason });
  });

  it('is an event without a configuration', () => {
    const parser = new StreamParser();
    for (const line of [streamHeader(1), FEATURES, '# comment']) parser.line(line);
    const reason = 'kind T stands before the C line';
    expect(parser.line('T 8 0 r =')).toEqual({ kind: 'error', line: 4, reason });
  });

  it('never makes the parser throw, and one that passes is an event with a line of its own', () => {
    const letter = fc.constantFrom(...Array.from('FCPADMUTERXZBKrw=-0123456789abcdef# '));
    const anyUnit = fc.nat(0xffff).map((unit) => String.fromCharCode(unit));
    const noise = fc.oneof(
      fc.string({ unit: anyUnit }),
      fc.array(letter, { maxLength: 40 }).map((letters) => letters.join('')),
      fc.tuple(anyEvent, fc.nat(), fc.string({ maxLength: 1 })).map(([event, at, put]) => {
        const line = formatStreamEvent(event);
        const cut = at % (line.length + 1);
        return line.slice(0, cut) + put + line.slice(cut + 1);
      }),
    );
    const isSound = (text: string): boolean => {
      const result = read(text);
      if (result === undefined) return text.startsWith('#');
      if (result.kind === 'error') return result.line === 4 && result.reason !== '';
      return isDeepStrictEqual(read(formatStreamEvent(result)), result);
    };
    fc.assert(
      fc.property(noise, (text) => {
        expect(isSound(text)).toBe(true);
      }),
      { seed: 3, numRuns: 1000 },
    );
  });
});

describe('the header', () => {
  it.each<[string, string]>([
    ['', 'line 1 must be "# viommu-stream " and a version, and is not'],
    ['F 1', 'line 1 must be "# viommu-stream " and a version, and is not'],
    ['# viommu-stream', 'line 1 must be "# viommu-stream " and a version, and is not'],
    ['# viommu-stream one', 'line 1 must be "# viommu-stream " and a version, and is not'],
    ['# viommu-stream 1 ', 'line 1 must be "# viommu-stream " and a version, and is not'],
    ['# viommu-stream 0', 'version 0 does not exist'],
    ['# viommu-stream 3', 'version 3 is not known, only 1 to 2'],
    ['# viommu-stream 4294967297', 'version 4294967297 is not known, only 1 to 2'],
  ])('is not %j', (line, reason) => {
    const parser = new StreamParser();
    expect(parser.line(line)).toEqual({ kind: 'error', line: 1, reason });
    expect(parser.version).toBe(0);
  });

  it('cannot come late', () => {
    const parser = new StreamParser();
    parser.line('# a comment');
    expect(parser.line(streamHeader(1))).toMatchObject({ kind: 'error', line: 2 });
  });

  it('and F and C must be there at the end', () => {
    const parser = new StreamParser();
    const missing = (what: string): object => ({
      kind: 'error',
      line: parser.lines,
      reason: `the stream ends without its ${what}`,
    });
    expect(parser.end()).toEqual(missing('header'));
    parser.line(streamHeader(1));
    expect(parser.end()).toEqual(missing('F line'));
    parser.line(FEATURES);
    expect(parser.end()).toEqual(missing('C line'));
    parser.line(CONFIG);
    expect(parser.end()).toBeUndefined();
  });
});
