import type { Expression } from 'oxc-parser';
import { describe, expect, it } from 'vitest';
import { parse } from './syntax.ts';
import { filesLike, type TextFile } from './tree.ts';

/** Where vitest looks for tests; a test file elsewhere would never run. */
const IN_PLACE = /^(?:test|packages\/[^/]+\/test)\//;

/** What keeps a test from running, and so needs a comment beside it that says why. */
const HELD_BACK = new Set(['skip', 'todo', 'fails', 'skipIf', 'runIf']);

function wrongTests(file: TextFile): string[] {
  const module = parse(file);
  const found: string[] = IN_PLACE.test(file.path) ? [] : [`${file.path}  is in no test folder`];
  const explained = new Set(module.comments.flatMap(({ line }) => [line, line + 1]));
  let tests = 0;
  module.visit({
    CallExpression: ({ callee }) => {
      const name = rootName(callee);
      if (name === 'it' || name === 'test') tests++;
    },
    MemberExpression: (node) => {
      if (!['it', 'test', 'describe'].includes(rootName(node) ?? '')) return;
      const name = node.property.type === 'Identifier' ? node.property.name : '';
      const place = module.at(node.property);
      if (name === 'only') found.push(`${place}  .only`);
      if (HELD_BACK.has(name) && !explained.has(Number(place.split(':').at(-1))))
        found.push(`${place}  .${name} without a comment that says why`);
    },
  });
  if (tests === 0) found.push(`${file.path}  runs no test`);
  return found;
}

/** The `it` of `it(…)`, `it.each(…)(…)` and the like. */
function rootName(expression: Expression): string | undefined {
  switch (expression.type) {
    case 'Identifier':
      return expression.name;
    case 'MemberExpression':
      return rootName(expression.object);
    case 'CallExpression':
      return rootName(expression.callee);
    case 'TaggedTemplateExpression':
      return rootName(expression.tag);
    default:
      return undefined;
  }
}

describe('test files', () => {
  it('run, all of them, and say why where a test is held back', () => {
    const files = filesLike(/\.(?:test|spec)\.ts$/);
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap(wrongTests)).toEqual([]);
  });

  const planted = (text: string, path = 'test/a.test.ts') => wrongTests({ path, text });

  it('the rule finds what does not run', () => {
    expect(planted('it.only("a", f);')).toEqual(['test/a.test.ts:1  .only']);
    expect(planted('it("b", f);\ndescribe.only("a", f);')).toEqual(['test/a.test.ts:2  .only']);
    expect(planted('it.each([1]).only("a", f);')).toEqual(['test/a.test.ts:1  .only']);
    expect(planted('it.skip("a", f);')).toEqual([
      'test/a.test.ts:1  .skip without a comment that says why',
    ]);
    expect(planted('describe("a", () => {});')).toEqual(['test/a.test.ts  runs no test']);
    expect(planted('it("a", f);', 'packages/ring/src/a.test.ts')).toEqual([
      'packages/ring/src/a.test.ts  is in no test folder',
    ]);
  });

  it('the rule allows a test that is held back for a reason', () => {
    expect(planted('it("a", f); suite.only();')).toEqual([]);
    expect(planted('// Needs a tool.\nit.skipIf(x)("a", f);')).toEqual([]);
    expect(planted('it.each([1])("a", f);')).toEqual([]);
  });
});
