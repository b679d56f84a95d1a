import { describe, expect, it } from 'vitest';
import { packageNames, pathsBelow, readText } from './tree.ts';

/** The keys of a `package.json` that these rules read. */
interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  readonly type?: string;
  readonly engines?: unknown;
  readonly packageManager?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly files?: unknown;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const read = (path: string): Manifest => JSON.parse(readText(path)) as Manifest; // only the keys above are read
const root = read('package.json');
const names = packageNames();

/** What is wrong with one entry point: it must lead to a source, to types and to a built file of the same name. */
function wrongEntry(entry: string, target: unknown): string[] {
  if (entry === './package.json') return target === './package.json' ? [] : [entry];
  const source = (target as { '@viommu/source'?: string })['@viommu/source'] ?? ''; // checked next
  const stem = /^\.\/src\/(.+)\.ts$/.exec(source)?.[1];
  const wanted = {
    '@viommu/source': source,
    types: `./dist/${stem}.d.ts`,
    default: `./dist/${stem}.js`,
  };
  // The order matters: the first condition that holds is taken.
  return JSON.stringify(target) === JSON.stringify(wanted) ? [] : [entry];
}

describe.each(names)('package %s', (name) => {
  const manifest = read(`packages/${name}/package.json`);

  it('agrees with the others on name, version, licence, engines and published files', () => {
    expect(manifest.name).toBe(`@viommu/${name}`);
    expect(manifest.version).toBe(root.version);
    expect(manifest.license).toBe('MIT');
    expect(manifest.type).toBe('module');
    expect(manifest.engines).toEqual(root.engines);
    expect(manifest.files).toEqual(expect.arrayContaining(['dist', 'src', '!**/.tsbuildinfo']));
  });

  it('leads from each entry point to source, types and built file', () => {
    expect(
      Object.entries(manifest.exports ?? {}).flatMap(([entry, to]) => wrongEntry(entry, to)),
    ).toEqual([]);
  });

  it('takes versions from the catalogue and its neighbours from the workspace', () => {
    for (const [dependency, version] of Object.entries(manifest.dependencies ?? {}))
      expect(version, dependency).toBe(
        dependency.startsWith('@viommu/') ? 'workspace:^' : 'catalog:',
      );
    // Tools are the root's, once for all.
    expect(manifest.devDependencies).toBeUndefined();
  });

  it('has a README, and is known to the root, the compiler and the tests', () => {
    expect(pathsBelow(`packages/${name}/`)).toContain(`packages/${name}/README.md`);
    expect(root.devDependencies?.[`@viommu/${name}`]).toBe('workspace:*');
    for (const config of ['tsconfig.json', 'tsconfig.test.json'])
      expect(JSON.parse(readText(config)), config).toMatchObject({
        references: expect.arrayContaining([{ path: `packages/${name}` }]) as unknown,
      });
  });
});

describe('the workspace', () => {
  it('pins one version of its package manager', () => {
    expect(root.packageManager).toMatch(/^pnpm@\d+\.\d+\.\d+$/);
    expect(root.scripts?.['setup']).toContain(`npx -y ${root.packageManager} install`);
  });

  it('sets itself up before each of the two commands of the README', () => {
    for (const command of ['start', 'test'])
      expect(root.scripts?.[`pre${command}`]).toBe('npm run setup --silent');
  });
});

describe('the rule on entry points', () => {
  const good = { '@viommu/source': './src/a.ts', types: './dist/a.d.ts', default: './dist/a.js' };

  it('finds a file that is left out, misnamed or in the wrong order', () => {
    const { default: built, ...rest } = good;
    expect(wrongEntry('./a', good)).toEqual([]);
    expect(wrongEntry('./a', rest)).toEqual(['./a']);
    expect(wrongEntry('./a', { default: built, ...rest })).toEqual(['./a']);
    expect(wrongEntry('./a', { ...good, types: './dist/b.d.ts' })).toEqual(['./a']);
    expect(wrongEntry('./a', './dist/a.js')).toEqual(['./a']);
  });
});
