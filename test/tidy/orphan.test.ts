import { describe, expect, it } from 'vitest';
import { importsOf, parse } from './syntax.ts';
import { packageNames, packageOf, readText, sourceFiles, type TextFile } from './tree.ts';

/** The keys of a `package.json` that name entry points. */
interface Manifest {
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly bin?: Readonly<Record<string, string>>;
}

/** The files that a package is entered by, as paths in the repository. */
function entryPoints(folder: string, { exports = {}, bin = {} }: Manifest): string[] {
  const sources = Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : [entry['@viommu/source'] ?? ''],
  );
  const commands = Object.values(bin).map((path) =>
    path.replace('/dist/', '/src/').replace(/\.js$/, '.ts'),
  );
  return [...sources, ...commands].map((path) => path.replace('./', `${folder}/`));
}

/** The files that no entry point leads to. */
function orphans(files: readonly TextFile[], entries: readonly string[]): string[] {
  const unreached = new Map(files.map((file) => [file.path, file]));
  const reach = (path: string): void => {
    const file = unreached.get(path);
    if (file === undefined) return;
    unreached.delete(path);
    for (const { specifier } of importsOf(parse(file)))
      if (specifier.startsWith('.')) reach(new URL(specifier, `file:///${path}`).pathname.slice(1));
  };
  entries.forEach(reach);
  return [...unreached.keys()];
}

const manifestOf = (name: string): Manifest =>
  JSON.parse(readText(`packages/${name}/package.json`)) as Manifest; // only the keys above are read

describe('source files', () => {
  it.each(packageNames())('of %s are all reached from an entry point', (name) => {
    const files = sourceFiles().filter(({ path }) => packageOf(path) === name);
    const entries = entryPoints(`packages/${name}`, manifestOf(name));
    expect(entries.filter((path) => !files.some((file) => file.path === path))).toEqual([]);
    expect(orphans(files, entries)).toEqual([]);
  });

  it('the rule finds a file that nothing names', () => {
    const files = [
      { path: 'p/src/index.ts', text: "export { a } from './a.ts';" },
      { path: 'p/src/a.ts', text: "import type { B } from './x/b.ts'; export const a = 1;" },
      { path: 'p/src/x/b.ts', text: "import '../index.ts'; new URL(`./c.${e}`, u);" },
      { path: 'p/src/x/c.ts', text: '' },
      { path: 'p/src/left.ts', text: "import './a.ts';" },
    ];
    expect(orphans(files, ['p/src/index.ts'])).toEqual(['p/src/left.ts']);
  });

  it('the rule reads entry points from exports and commands', () => {
    const manifest = {
      exports: {
        '.': { '@viommu/source': './src/index.ts', default: './dist/index.js' },
        './package.json': './package.json',
      },
      bin: { viommu: './dist/main.js' },
    };
    expect(entryPoints('p', manifest)).toEqual(['p/src/index.ts', 'p/src/main.ts']);
  });
});
