import { describe, expect, it } from 'vitest';
import {
  promiseFindings,
  promisePage,
  promisesOf,
  scenariosOf,
} from '../../scripts/promise-table.ts';
import type { Row } from '../../scripts/promise-table.ts';
import { readText } from './tree.ts';

const rows = JSON.parse(readText('test/promise/row.json')) as Row[]; // checked below

const run = (title: string, status = 'passed') => ({ file: 'test/a.test.ts', title, status });

describe('the promises', () => {
  it('are ninety, in order, each in one sentence', () => {
    expect(rows.length).toBe(90);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(90);
    for (const { id, seed, promise } of rows) {
      expect(id).toMatch(/^S[0-4]\.[1-9]\d*$/);
      expect([seed.length, promise.length], id).not.toContain(0);
    }
  });
});

describe('the title of a test', () => {
  it('claims the promises it begins with', () => {
    expect(promisesOf('S1.2 a list [C17]')).toEqual(['S1.2']);
    expect(promisesOf('S1.2, S1.12 a list')).toEqual(['S1.2', 'S1.12']);
    expect(promisesOf('a list of S1.2')).toEqual([]);
  });

  it('names scenarios in brackets', () => {
    expect(scenariosOf('S1.2 a list [C17] [C19]')).toEqual(['C17', 'C19']);
  });
});

describe('what the check says', () => {
  const some = rows.slice(0, 2);

  it('names a promise without a test, and a test without a promise', () => {
    const said = promiseFindings(some, [run('S0.1 shown'), run('S9.1 what'), run('[Z1] [A99]')]);
    expect(said).toContain('S0.2 has no test');
    expect(said).not.toContain('S0.1 has no test');
    expect(said).toContain('test/a.test.ts: "S9.1 what" names S9.1, which is no promise');
    expect(said).toContain('test/a.test.ts: "[Z1] [A99]" names A99, which is no scenario');
    expect(said).toContain('scenario A1 has no test');
  });

  it('is on the page with the worst ending of its tests', () => {
    const page = promisePage(some, [run('S0.1 first'), run('S0.1 second', 'failed')]);
    expect(page).toContain('[a.test.ts](../test/a.test.ts): first (and 1 more) | failed |');
    expect(page).toContain('|  | no test |');
    expect(page).toContain('0 of 2 promises');
  });
});
