import {
  type CaseResult,
  type ConformanceReport,
  caseEvent,
  closingEvents,
  htmlOf,
  junitOf,
  reportOf,
} from '@viommu/conformance';
import { describe, expect, it } from 'vitest';

function result(id: string, more: Partial<CaseResult> = {}): CaseResult {
  return {
    id,
    clause: id.split('#')[0] ?? '',
    title: `title of <${id}>`,
    section: 'A / B & C',
    level: 'MUST',
    result: 'pass',
    evidence: [],
    seconds: 0.012345,
    ...more,
  };
}

const results: readonly CaseResult[] = [
  result('iommu.dev.map.overlap#exact'),
  result('iommu.dev.map.overlap#inside', { result: 'skip', evidence: ['no "room"'] }),
  result('iommu.dev.map.flags-unknown', {
    result: 'fail',
    how: 'crash',
    evidence: ['it <died>', '  > 00 \u001b[31m'],
  }),
  result('split.dev.used.len', { result: 'warn', evidence: ['odd'], expected: true, section: 'D' }),
];
const report: ConformanceReport = reportOf('x "1"', results, {});

describe('the JSON lines', () => {
  it('are one for each case, with what the case says', () => {
    expect(results.map(caseEvent)).toMatchObject([
      {
        event: 'case',
        id: 'iommu.dev.map.overlap#exact',
        clause: 'iommu.dev.map.overlap',
        level: 'MUST',
        result: 'pass',
        evidence: [],
      },
      { result: 'skip' },
      { result: 'fail', how: 'crash', evidence: ['it <died>', '  > 00 \u001b[31m'] },
      { result: 'warn', expected: true },
    ]);
    expect(caseEvent(result('a'))).not.toHaveProperty('how');
    expect(caseEvent(result('a'))).not.toHaveProperty('expected');
  });

  it('end with a summary', () => {
    const events = closingEvents({ ...report, vanished: ['a'] }, 1.23456);
    expect(events[0]).toEqual({ event: 'vanished', id: 'a' });
    expect(events.at(-1)).toMatchObject({
      event: 'summary',
      target: 'x "1"',
      pass: 1,
      fail: 1,
      warn: 1,
      skip: 1,
      expected: 1,
      clauses: { covered: 2, total: 66 },
      conforms: false,
      seconds: 1.235,
    });
  });
});

describe('the coverage', () => {
  it('counts a clause once, and not if all its cases were skipped', () => {
    const { clauses, areas, uncovered } = reportOf('x', results.slice(1), {}).summary;
    expect(clauses).toEqual({ covered: 1, total: 66 });
    expect(uncovered['iommu.dev.map.overlap']).toBe('no "room"');
    expect(uncovered).not.toHaveProperty('iommu.dev.map.flags-unknown');
    expect(Object.keys(uncovered)).toHaveLength(65);
    expect(Object.keys(areas)).toEqual(['split', 'packed', 'basic', 'mmio', 'pci']);
  });

  it('is of the clauses that were asked for', () => {
    const { summary } = reportOf('x', results, { only: 'iommu.dev.map' });
    expect(summary.clauses).toEqual({ covered: 2, total: 7 });
    expect(Object.keys(summary.uncovered)).toHaveLength(5);
  });
});

describe('JUnit XML', () => {
  const xml = junitOf([report]);

  it('has each case, and counts them', () => {
    expect(xml).toContain('<testsuite name="x &quot;1&quot;" tests="4" failures="1" skipped="1"');
    expect(xml.match(/<testcase /g)).toHaveLength(4);
    expect(xml).toContain('<skipped message="no &quot;room&quot;"/>');
    expect(xml).toContain('<failure type="crash" message="it &lt;died&gt;">');
    expect(xml).toContain('<system-out>MUST: odd</system-out>');
  });

  it('holds no character that XML cannot have', () => {
    expect(xml).not.toContain('\u001b');
    expect(xml).toContain('classname="A / B &amp; C"');
  });
});

describe('the page', () => {
  const other = reportOf('y', results.slice(1), {});
  const html = htmlOf([report, other]);

  it('has targets side by side, and an empty cell where a case did not run', () => {
    const row = html.split('\n').find((line) => line.includes('id="iommu.dev.map.overlap#exact"'));
    expect(row).toContain('<td><span class="pass">pass</span></td><td></td>');
    expect(html).toContain('<th>x &quot;1&quot;</th><th>y</th>');
  });

  it('shows verdicts with their evidence, and each section once', () => {
    expect(html).toContain(
      '<summary><span class="fail">fail, crash</span></summary><pre>it &lt;died&gt;\n',
    );
    expect(html).toContain('<span class="warn">warn, expected</span>');
    expect(html.match(/<th colspan="5">/g)).toHaveLength(2);
  });

  it('needs nothing else and runs nothing', () => {
    expect(html).not.toMatch(/<script|https?:|src=|@import|url\(/);
  });
});
