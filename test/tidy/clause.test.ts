import { describe, expect, it } from 'vitest';
import { type Clause, claimOf, clausePage, findings } from '../../scripts/clause-table.ts';
import { testRuns, type TestRun } from '../../scripts/test-report.ts';
import { readText } from './tree.ts';

const catalogue = JSON.parse(readText('packages/conformance/src/data/clause.json')) as Clause[]; // checked below
const exceptions = JSON.parse(readText('test/clause/exception.json')) as Record<string, string>; // checked below

const clause = (id: string, more: Partial<Clause> = {}): Clause => ({
  id,
  area: id.split('.')[0] ?? '',
  side: id.includes('.dev.') ? 'device' : 'driver',
  level: 'MUST',
  section: 's',
  summary: 's',
  test: 't',
  observable: 'black-box',
  ...more,
});

const run = (title: string, status = 'passed', file = 'test/a.test.ts'): TestRun => ({
  file,
  title,
  status,
});

describe('the catalogue', () => {
  it('has each clause once, under an id made of its area, its side and its matter', () => {
    expect(new Set(catalogue.map(({ id }) => id)).size).toBe(catalogue.length);
    for (const { id, area, side } of catalogue) {
      expect(claimOf(id)).toBe(id);
      expect(id.split('.').slice(0, 2)).toEqual([area, side === 'driver' ? 'drv' : 'dev']);
    }
  });

  it('says of each clause how strict it is, what it asks for, and how to find out', () => {
    for (const { id, level, observable, section, summary, test } of catalogue) {
      expect(['MUST', 'MUST NOT', 'SHOULD', 'SHOULD NOT', 'MAY'], id).toContain(level);
      expect(['black-box', 'white-box', 'not-testable'], id).toContain(observable);
      expect(section && summary && test, id).not.toBe('');
    }
  });
});

describe('reasons to have no test', () => {
  it('are one sentence each', () => {
    for (const [id, reason] of Object.entries(exceptions))
      expect(reason, id).toMatch(/^[A-Z](?:[^.]|\.(?! ))+\.$/);
  });

  it('stand in the order of the catalogue', () => {
    const ids = catalogue.map(({ id }) => id).filter((id) => id in exceptions);
    expect(Object.keys(exceptions)).toEqual(ids);
  });
});

describe('the claim of a title', () => {
  it.each([
    ['mmio.dev.reg.magic', 'mmio.dev.reg.magic'],
    ['mmio.dev.reg.magic: reads 76 69 72 74', 'mmio.dev.reg.magic'],
    ['split.dev.a.b-2 (1.2), of two', 'split.dev.a.b-2'],
    ['basic.drv.a, basic.drv.b: both', 'basic.drv.a'],
  ])('of "%s" is %s', (title, claim) => {
    expect(claimOf(title)).toBe(claim);
  });

  it.each([
    'reads mmio.dev.reg.magic',
    '[A1] mmio.dev.reg.magic',
    'fact.mmio.irq-level: x',
    'mmio',
  ])('of "%s" is none', (title) => {
    expect(claimOf(title)).toBeUndefined();
  });
});

describe('the findings', () => {
  const clauses = [clause('split.dev.a'), clause('split.dev.b'), clause('pci.dev.c')];

  it('are none if each clause has a test or a reason; what is not built needs neither', () => {
    expect(findings(clauses, { 'split.dev.b': 'Why.' }, [run('split.dev.a: x')])).toEqual([]);
  });

  it('name a clause without either', () => {
    expect(findings(clauses, {}, [run('split.dev.a'), run('mentions split.dev.b')])).toEqual([
      'split.dev.b (black-box) has neither a test nor a reason',
    ]);
  });

  it('name a test whose clause does not exist, also one that is only longer or shorter', () => {
    const runs = ['split.dev.a', 'split.dev.b', 'split.dev.a-b', 'split.dev.a.b: x'].map((title) =>
      run(title),
    );
    expect(findings(clauses, {}, runs)).toEqual([
      'test/a.test.ts: "split.dev.a-b" names no clause of the catalogue',
      'test/a.test.ts: "split.dev.a.b: x" names no clause of the catalogue',
    ]);
  });

  it('name a reason that a test refutes, and one for no clause', () => {
    const reasons = { 'split.dev.a': 'Why.', 'split.dev.x': 'Why.' };
    expect(findings(clauses, reasons, [run('split.dev.a'), run('split.dev.b')])).toEqual([
      'split.dev.a has a test, and a reason to have none',
      'split.dev.x has a reason and is no clause of the catalogue',
    ]);
  });
});

describe('the page', () => {
  const clauses = [clause('split.dev.a'), clause('split.dev.b', { level: 'MAY' })];
  const lines = (runs: TestRun[], reasons = {}): string[] =>
    clausePage(clauses, reasons, runs)
      .split('\n')
      .filter((line) => line.startsWith('| `split'));

  it('has a row for each tested clause, with its tests by file', () => {
    const runs = [
      run('split.dev.a: one'),
      run('split.dev.a: two'),
      run('split.dev.a', 'passed', 'test/b.test.ts'),
    ];
    expect(lines(runs)).toEqual([
      '| `split` | 2 | 1 | 1 | 0 | 1 |',
      '| `split.dev.a` | MUST | device | [a.test.ts](../test/a.test.ts): one (and 1 more)<br>[b.test.ts](../test/b.test.ts) | passed |',
    ]);
  });

  it('says so if one of the tests did not pass', () => {
    const rows = lines([
      run('split.dev.a'),
      run('split.dev.a', 'failed'),
      run('split.dev.b', 'skipped'),
    ]);
    expect(rows.slice(1).map((row) => row.split(' | ').at(-1))).toEqual(['failed |', 'skipped |']);
    expect(rows[0]).toBe('| `split` | 2 | 2 | 0 | 0 | 0 |');
  });

  it('gives reasons, and escapes what Markdown would take', () => {
    const rows = lines([run('split.dev.a: a|b<c>')], { 'split.dev.b': 'It_is `so`.' });
    expect(rows.slice(1)).toEqual([
      '| `split.dev.a` | MUST | device | [a.test.ts](../test/a.test.ts): a\\|b\\<c> | passed |',
      '| `split.dev.b` | MAY | device | It\\_is \\`so\\`. |',
    ]);
  });
});

describe('the tests of a report', () => {
  it('have paths from the root, in order', () => {
    const report = {
      startTime: 0,
      testResults: [
        { name: '/r/test/b.test.ts', assertionResults: [{ title: 'x', status: 'passed' }] },
        { name: '/r/test/a.test.ts', assertionResults: [{ title: 'y', status: 'failed' }] },
      ],
    };
    expect(testRuns(report, '/r/')).toEqual([
      run('y', 'failed'),
      run('x', 'passed', 'test/b.test.ts'),
    ]);
  });
});
