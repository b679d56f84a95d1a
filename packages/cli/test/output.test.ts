import { describe, expect, it } from 'vitest';
import { Failure, oneLine } from '../src/failure.ts';
import { Output, formatBytes, formatNoun } from '../src/output.ts';
import { Findings } from '../src/replay/findings.ts';

class Text {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }
}

function outputs(options: { json?: boolean; terminal?: boolean; environment?: object }) {
  const stdout = new Text(options.terminal === true);
  const stderr = new Text(options.terminal === true);
  const environment = { ...options.environment };
  const output = new Output({ json: options.json === true, stdout, stderr, environment });
  return { output, stdout, stderr };
}

describe('output', () => {
  it('gives programs one object a line and people nothing in between', () => {
    const { output, stdout, stderr } = outputs({ json: true });
    output.line('for people');
    output.event({ event: 'mismatch', address: 0xffff_ffff_ffff_ffffn, text: 'a\nb' });
    expect(stdout.text).toBe(
      '{"event":"mismatch","address":"0xffffffffffffffff","text":"a\\nb"}\n',
    );
    expect(stderr.text).toBe('for people\n');
  });

  it('gives people lines and no objects', () => {
    const { output, stdout, stderr } = outputs({});
    output.event({ event: 'summary' });
    output.heading('Heading');
    output.note('aside');
    expect([stdout.text, stderr.text]).toEqual(['Heading\n', 'aside\n']);
  });

  it('colours on a terminal only, and not against NO_COLOR', () => {
    const heading = (options: Parameters<typeof outputs>[0]): string => {
      const { output, stdout } = outputs(options);
      output.heading('Heading');
      return stdout.text;
    };
    expect(heading({ terminal: true })).toBe('\u001b[1mHeading\u001b[22m\n');
    expect(heading({ terminal: true, environment: { NO_COLOR: '1' } })).toBe('Heading\n');
    expect(heading({ terminal: true, environment: { TERM: 'dumb' } })).toBe('Heading\n');
    expect(heading({})).toBe('Heading\n');
  });

  it('lines columns up', () => {
    const { output, stdout } = outputs({});
    output.table(
      [
        { title: 'name', align: 'left' },
        { title: 'count', align: 'right' },
      ],
      [
        ['a', '1'],
        ['longer', '1,000,000'],
      ],
    );
    expect(stdout.text).toBe('  name        count\n  a               1\n  longer  1,000,000\n');
  });

  it('names sizes and counts', () => {
    expect([0n, 1n, 4096n, 1n << 64n, 1536n].map(formatBytes)).toEqual([
      '0 bytes',
      '1 byte',
      '4 KiB',
      '16 EiB',
      '1,536 bytes',
    ]);
    expect([formatNoun(1, 'line'), formatNoun(2000, 'line')]).toEqual(['1 line', '2,000 lines']);
  });
});

describe('a failure', () => {
  it('is one line whatever its message holds', () => {
    const failure = new Failure(2, 'a file\r\n\tnamed \u001b[31mred\u2028');
    expect(oneLine(failure)).toBe('viommu: a file named \\x1b[31mred ');
    expect(oneLine('text')).toBe('viommu: text');
    expect(oneLine(new Error())).toBe('viommu: failed without a message');
  });
});

describe('findings', () => {
  it('keep the first mismatches and count the rest', () => {
    const findings = new Findings();
    for (let row = 0; row < 5000; row += 1)
      findings.mismatch({ row, expected: 'a → b', got: 'x'.repeat(1000) });
    const other = new Findings(findings.buffer);
    expect(other.get(4)).toBe(5000);
    const kept = other.mismatches();
    expect(kept.length).toBeGreaterThan(100);
    expect(kept[7]).toEqual({ row: 7, expected: 'a → b', got: `${'x'.repeat(400)}…` });
  });
});
