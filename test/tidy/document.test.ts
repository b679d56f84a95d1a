import { describe, expect, it } from 'vitest';
import { filesLike, pathsBelow, readText, type TextFile } from './tree.ts';

/** Links of a document that lead to no file of the project. */
function deadLinks({ path, text }: TextFile, paths: ReadonlySet<string>): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^(?:[a-z]+:|#)/.test(target))
    .filter((target) => {
      const place = decodeURI(new URL(target, `file:///${path}`).pathname).slice(1);
      return ![...paths].some((other) => other === place || other.startsWith(folder(place)));
    })
    .map((target) => `${path}  ${target}`);
}

const folder = (place: string): string => `${place.replace(/\/$/, '')}/`;

/** Files that a document names between backticks and that are not there, by their path or by that in `packages/`. */
function deadNames({ path, text }: TextFile, paths: ReadonlySet<string>): string[] {
  const home = path.includes('/') ? path.replace(/[^/]*$/, '') : '';
  return [...text.matchAll(/`([\w.-]+(?:\/[\w.-]+)+\.(?:c|gz|json|md|ts|wasm|yaml|yml))`/g)]
    .map(([, name = '']) => name)
    .filter((name) => ![name, `packages/${name}`, `${home}${name}`].some((at) => paths.has(at)))
    .map((name) => `${path}  ${name}`);
}

/** Changes that a document shows as a diff, and whose old lines are in no such file. */
function deadChanges({ path, text }: TextFile, read: (path: string) => string): string[] {
  return [...text.matchAll(/^```diff\n--- (\S+)\n(.*?)^```$/gms)].flatMap(
    ([, file = '', change = '']) =>
      [...change.matchAll(/^-(.*)$/gm)]
        .map(([, line = '']) => line)
        .filter((line) => !read(file).split('\n').includes(line))
        .map((line) => `${path}  ${file} has no line ${line.trim()}`),
  );
}

describe('documents', () => {
  it('link to files that exist, and name no others', () => {
    const paths = new Set(pathsBelow());
    const documents = filesLike(/\.md$/);
    expect(documents.flatMap((document) => deadLinks(document, paths))).toEqual([]);
    expect(documents.flatMap((document) => deadNames(document, paths))).toEqual([]);
  });

  it('show changes of lines that exist', () => {
    const documents = filesLike(/\.md$/);
    expect(documents.flatMap((document) => deadChanges(document, readText))).toEqual([]);
  });

  it('the rule on links finds dead ones', () => {
    const paths = new Set(['README.md', 'docs/a.md', 'docs/decisions/b.md']);
    const text = '[1](a.md) [2](../README.md#x) [3](decisions/) [4](c.md) [5](https://x.y/z)';
    expect(deadLinks({ path: 'docs/d.md', text }, paths)).toEqual(['docs/d.md  c.md']);
    expect(deadLinks({ path: 'd.md', text: '[1](do)' }, paths)).toEqual(['d.md  do']);
  });

  it('the rule on names finds dead ones', () => {
    const paths = new Set(['packages/a/src/b.ts', 'docs/c.md']);
    const text = '`a/src/b.ts` `src/b.ts` `packages/a/src/b.ts` `docs/c.md` `a/b.ts` `b.ts` `x/y`';
    expect(deadNames({ path: 'packages/a/README.md', text }, paths)).toEqual([
      'packages/a/README.md  a/b.ts',
    ]);
  });

  it('the rule on changes finds lines that are gone', () => {
    const text = '```diff\n--- a.ts\n-  let b;\n-  let c;\n+  let d;\n```\n';
    expect(deadChanges({ path: 'd.md', text }, () => '  let b;\n')).toEqual([
      'd.md  a.ts has no line let c;',
    ]);
  });
});

describe('decisions', () => {
  const decisions = filesLike(/^docs\/decisions\/\d{4}-.*\.md$/);

  it('have numbers of their own, the number in the title, and the four headings', () => {
    const numbers = decisions.map(({ path }) =>
      path.slice('docs/decisions/'.length, -3).slice(0, 4),
    );
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const { path, text } of decisions) {
      expect(text, path).toMatch(new RegExp(`^# ${/\d{4}/.exec(path)?.[0]}: \\S`));
      expect(text.match(/^## .*$/gm), path).toEqual([
        '## Context',
        '## Options',
        '## Outcome',
        '## Consequences',
      ]);
    }
  });

  it('are all in the list, under their title', () => {
    const list = readText('docs/decisions/README.md');
    for (const { path, text } of decisions) {
      const title = /^# \d{4}: (.*)$/m.exec(text)?.[1];
      expect(list).toContain(`(${path.slice('docs/decisions/'.length)}) | ${title} |`);
    }
  });
});
