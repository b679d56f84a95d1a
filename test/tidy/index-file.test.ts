import { describe, expect, it } from 'vitest';
import { parse } from './syntax.ts';
import { sourceFiles, type TextFile } from './tree.ts';

/** An `index.ts` is read to see what a package offers, so it names each export and holds nothing else. */
function otherThanExports(file: TextFile): string[] {
  const module = parse(file);
  return module.program.body.flatMap((statement) =>
    statement.type === 'ExportNamedDeclaration' && statement.source !== null
      ? []
      : [
          `${module.at(statement)}  ${file.text.slice(statement.start, statement.end).split('\n')[0]}`,
        ],
  );
}

describe('index.ts', () => {
  it('lists exports one by one and holds nothing else', () => {
    const files = sourceFiles().filter(({ path }) => path.endsWith('/index.ts'));
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap(otherThanExports)).toEqual([]);
  });

  it.each([
    "export * from './a.ts';",
    "import './a.ts';",
    'export const a = 1;',
    'const a = 1;',
    'export {};',
  ])('the rule finds %s', (text) => {
    expect(otherThanExports({ path: 'index.ts', text })).toEqual([`index.ts:1  ${text}`]);
  });

  it('the rule allows exports by name', () => {
    const text = "// Why.\nexport { a, type B } from './a.ts';\nexport type { C } from './c.ts';";
    expect(otherThanExports({ path: 'index.ts', text })).toEqual([]);
  });
});
