import { describe, expect, it } from 'vitest';
import { importsOf, parse } from './syntax.ts';
import {
  NEUTRAL_PACKAGES,
  filesLike,
  packageNames,
  packageOf,
  readText,
  sourceFiles,
  type TextFile,
} from './tree.ts';

/** Which packages each package may import: the last column of the table in `docs/architecture.md`. */
type Arrows = ReadonlyMap<string, ReadonlySet<string>>;

/** The keys of a `package.json` that these rules read. */
interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
}

const SCOPE = '@viommu/';
const neutral: readonly string[] = NEUTRAL_PACKAGES;

function readArrows(document: string): Arrows {
  const arrows = new Map<string, ReadonlySet<string>>();
  for (const [, name = '', imports = ''] of document.matchAll(
    /^\| `([a-z]+)` +\|[^|\n]*\|([^|\n]*)\|$/gm,
  ))
    arrows.set(name, new Set([...imports.matchAll(/`([a-z]+)`/g)].map(([, other = '']) => other)));
  return arrows;
}

function readManifest(name: string): Manifest {
  return JSON.parse(readText(`packages/${name}/package.json`)) as Manifest; // only the keys above are read
}

/** What the conformance suite judges, and the folders in it that may know more of that than its target does. */
const SUBJECTS: ReadonlySet<string> = new Set(['device', 'driver', 'machine']);
const ROOMS = /^packages\/conformance\/src\/(?:targets|simulation|fuzz\/driver|fuzz\/ring)\//;

/** The package that a specifier names, without the path inside it. */
function target(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** What one file of a package imports and must not. */
function wrongImports(file: TextFile, arrows: Arrows): string[] {
  const home = packageOf(file.path) ?? '';
  const folder = /^packages\/[^/]+\/(?:src\/)?/.exec(file.path)?.[0] ?? '';
  const allowed = arrows.get(home) ?? new Set();
  const isSource = folder.endsWith('src/');
  return importsOf(parse(file)).flatMap(({ specifier, line, byUrl }) => {
    const finding = (why: string): string[] => [`${file.path}:${line}  ${specifier}: ${why}`];
    if (specifier.startsWith('.')) {
      const { pathname } = new URL(specifier, `file:///${file.path}`);
      // A shell may load what lies beside the packages, such as the benchmarks, if it is there.
      if (byUrl && !neutral.includes(home) && !pathname.startsWith('/packages/')) return [];
      return pathname.startsWith(`/${folder}`) ? [] : finding(`leaves ${folder}`);
    }
    if (specifier.startsWith(SCOPE)) {
      const other = target(specifier).slice(SCOPE.length);
      if (other === home) return isSource ? finding('a package names its own files by path') : [];
      if (isSource && home === 'conformance' && SUBJECTS.has(other) && !ROOMS.test(file.path))
        return finding(
          'the suite knows what it judges only in src/targets/, src/simulation/ and some fuzzers',
        );
      return allowed.has(other) ? [] : finding('no arrow in docs/architecture.md');
    }
    if (isSource && specifier.startsWith('node:') && neutral.includes(home))
      return finding('a neutral package imports no platform');
    return [];
  });
}

/** What a package imports from others, as `package.json` has to list it. */
function importedPackages(files: readonly TextFile[]): string[] {
  const specifiers = files.flatMap((file) =>
    importsOf(parse(file)).map((found) => found.specifier),
  );
  const others = specifiers.filter((name) => !name.startsWith('.') && !name.startsWith('node:'));
  return [...new Set(others.map(target))].sort();
}

const arrows = readArrows(readText('docs/architecture.md'));
const packages = packageNames();

describe('imports', () => {
  it('follow the arrows of docs/architecture.md, in sources and in the tests of a package', () => {
    const files = [...sourceFiles(), ...filesLike(/^packages\/[^/]+\/test\/.*\.ts$/)];
    expect(files.flatMap((file) => wrongImports(file, arrows))).toEqual([]);
  });

  it('have a table that lists every package once and points only upwards', () => {
    const rows = [...arrows.keys()];
    expect(rows.toSorted()).toEqual(packages);
    for (const [name, allowed] of arrows)
      for (const other of allowed)
        expect(rows.indexOf(other), `${name} → ${other}`).toBeLessThan(rows.indexOf(name));
  });

  it.each(packages)('of %s are its dependencies, and the other way round', (name) => {
    const files = sourceFiles().filter(({ path }) => packageOf(path) === name);
    expect(Object.keys(readManifest(name).dependencies ?? {}).sort()).toEqual(
      importedPackages(files),
    );
  });

  it('reach another package only through an entry point that it exports', () => {
    const reached = sourceFiles()
      .flatMap((file) => importsOf(parse(file)).map(({ specifier }) => specifier))
      .filter((specifier) => specifier.startsWith(SCOPE));
    for (const specifier of new Set(reached)) {
      const entry = `.${specifier.slice(target(specifier).length)}`;
      const exported = readManifest(target(specifier).slice(SCOPE.length)).exports ?? {};
      expect(Object.keys(exported), specifier).toContain(entry);
    }
  });

  it.each(packages)('of %s are known to the compiler as project references', (name) => {
    const { references = [] } = JSON.parse(readText(`packages/${name}/tsconfig.json`)) as {
      references?: { path: string }[];
    }; // the one key that the rule reads
    const needed = Object.keys(readManifest(name).dependencies ?? {})
      .filter((other) => other.startsWith(SCOPE))
      .map((other) => `../${other.slice(SCOPE.length)}`);
    expect(references.map(({ path }) => path).toSorted()).toEqual(needed.toSorted());
  });
});

describe('the rule on imports', () => {
  const table = readArrows(
    '| `common` | bytes | nothing |\n| `ring` | queues | `common` |\n| `machine` | all | `common`, `ring` |',
  );
  const planted = (path: string, text: string) => wrongImports({ path, text }, table);

  it('reads the table', () => {
    expect([...table].map(([name, others]) => [name, ...others])).toEqual([
      ['common'],
      ['ring', 'common'],
      ['machine', 'common', 'ring'],
    ]);
  });

  it.each([
    ["import { a } from '@viommu/ring';", '@viommu/ring: no arrow in docs/architecture.md'],
    ["import type { A } from '@viommu/ring';", '@viommu/ring: no arrow in docs/architecture.md'],
    ["export { a } from '@viommu/ring/x';", '@viommu/ring/x: no arrow in docs/architecture.md'],
    ["const a = await import('@viommu/ring');", '@viommu/ring: no arrow in docs/architecture.md'],
    ["import.meta.resolve('@viommu/ring');", '@viommu/ring: no arrow in docs/architecture.md'],
    ["export type A = import('@viommu/ring').A;", '@viommu/ring: no arrow in docs/architecture.md'],
    [
      "import { a } from '../../ring/src/a.ts';",
      '../../ring/src/a.ts: leaves packages/common/src/',
    ],
    ["import { a } from '../test/a.ts';", '../test/a.ts: leaves packages/common/src/'],
    [
      "import { a } from '@viommu/common';",
      '@viommu/common: a package names its own files by path',
    ],
    ["import { a } from 'node:fs';", 'node:fs: a neutral package imports no platform'],
    [
      "new Worker(new URL('../../ring/src/a.ts', import.meta.url));",
      '../../ring/src/a.ts: leaves packages/common/src/',
    ],
  ])('finds %s', (text, finding) => {
    expect(planted('packages/common/src/a.ts', text)).toEqual([
      `packages/common/src/a.ts:1  ${finding}`,
    ]);
  });

  it('allows what the table allows', () => {
    const text = `import { a } from '@viommu/common'; import b from './b.ts'; import 'msgpackr';`;
    expect(planted('packages/ring/src/a.ts', text)).toEqual([]);
    expect(planted('packages/machine/src/a.ts', `import 'node:fs'; ${text}`)).toEqual([]);
    expect(planted('packages/common/test/a.ts', "import '../src/a.ts'; import 'node:fs';")).toEqual(
      [],
    );
  });

  it('keeps what the suite judges out of its cases', () => {
    const rows = readArrows('| `device` | d | |\n| `conformance` | c | `device` |');
    const found = (path: string): string[] =>
      wrongImports({ path, text: "import '@viommu/device';" }, rows);
    expect(found('packages/conformance/src/device/a.ts')).toHaveLength(1);
    for (const folder of ['src/targets', 'src/simulation', 'test'])
      expect(found(`packages/conformance/${folder}/a.ts`)).toEqual([]);
  });

  it('allows a shell, and no other, to load what lies beside the packages', () => {
    const text = "import(new URL('../../../bench/a.ts', import.meta.url).href);";
    expect(planted('packages/machine/src/a.ts', text)).toEqual([]);
    expect(planted('packages/ring/src/a.ts', text)).toHaveLength(1);
    expect(planted('packages/machine/src/a.ts', "import '../../../bench/a.ts';")).toHaveLength(1);
  });

  it('lists what a package imports', () => {
    const text = "import '@viommu/ring/x'; import 'msgpackr/y'; import './a.ts'; import 'node:fs';";
    expect(importedPackages([{ path: 'a.ts', text }])).toEqual(['@viommu/ring', 'msgpackr']);
  });
});
