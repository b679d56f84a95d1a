/**
 * Packs every package and uses the tarballs as a stranger would: a new project, plain npm, and the Node of the machine.
 *
 * Expects `dist` to be built. Node of the machine is the first on the path that is not this project's own.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The keys of a `package.json` that are read here. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly packageManager?: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly sideEffects?: false | readonly string[];
}

const root = fileURLToPath(new URL('..', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'viommu-packed-'));
const path = (process.env['PATH'] ?? '')
  .split(delimiter)
  .filter((entry) => !entry.includes('node_modules'))
  .join(delimiter);

function run(command: string, args: readonly string[], folder: string = project): string {
  const env = { ...process.env, PATH: path };
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    env,
    encoding: 'utf8',
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
}

/** A tool of this project, which runs on the project's own Node. */
function tool(name: string): string {
  return join(root, 'node_modules/.bin', name);
}

function manifestIn(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest; // only the keys above are read
}

function check(claim: boolean, problem: string): void {
  if (claim) return;
  console.error(problem);
  process.exitCode = 1;
}

const packages = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name));
const { packageManager = '' } = manifestIn(root);

/** Packs one package; the tarball's path. */
function pack(folder: string): string {
  run('npx', ['-y', packageManager, 'pack', '--pack-destination', project], folder);
  const { name, version } = manifestIn(folder);
  const tarball = join(project, `${name.slice(1).replace('/', '-')}-${version}.tgz`);
  const files = run('tar', ['-tzf', tarball]).split('\n');
  for (const wanted of ['LICENSE', 'README.md', 'package.json'])
    check(files.includes(`package/${wanted}`), `${name} is packed without ${wanted}.`);
  for (const file of files)
    check(!/\/test\/|\.tsbuildinfo$/.test(file), `${name} is packed with ${file}.`);
  const packed = run('tar', ['-xzOf', tarball, 'package/package.json']);
  check(!/"(?:workspace|catalog):/.test(packed), `${name} names versions that only we know.`);
  return tarball;
}

/** The specifiers of everything that can be imported; modules that are started as workers are none of it. */
function specifiers(folder: string): string[] {
  const { name, exports, sideEffects } = manifestIn(folder);
  return Object.entries(exports)
    .filter(([entry]) => entry !== './package.json')
    .filter(
      ([entry]) => !(sideEffects || []).some((file) => file === `./dist/${entry.slice(2)}.js`),
    )
    .map(([entry]) => name + entry.slice(1));
}

function main(): void {
  const tarballs = packages.map(pack);
  console.log(`packed ${tarballs.length} packages`);
  for (const tarball of tarballs) run(tool('publint'), ['--strict', tarball]);
  console.log('publint has nothing to say');

  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  run('npm', ['install', '--no-audit', '--no-fund', ...tarballs]);

  const node = run('node', ['--version']).trim();
  const modules = packages.flatMap(specifiers);
  const imports = modules.map((name, index) => `import * as m${index} from '${name}';`);
  const names = modules.map((_, index) => `m${index}`).join(', ');
  writeFileSync(
    join(project, 'import.ts'),
    `${imports.join('\n')}\nexport const all: readonly object[] = [${names}];\n`,
  );
  writeFileSync(
    join(project, 'import.js'),
    `${imports.join('\n')}\nconsole.log([${names}].length);\n`,
  );
  check(
    run('node', ['import.js']).trim() === String(modules.length),
    'Not every entry point can be imported.',
  );
  console.log(`imported ${modules.join(', ')} with Node ${node}`);

  const options = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2023',
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, files: ['import.ts'] }),
  );
  run(tool('tsc'), ['-p', project]);
  console.log('the types of all of them resolve');

  const command = join(project, 'node_modules/.bin/viommu');
  const { version } = manifestIn(root);
  check(run(command, ['--version']).trim() === version, 'viommu --version says something else.');
  const stream = join(root, 'test/cli/streams/domains.stream');
  const summary = run(command, ['replay', '--json', stream]).trim().split('\n').at(-1) ?? '';
  check(/"mismatches":0\b/.test(summary), `viommu replay ends with ${summary}`);
  run(command, ['run', '--timeout', '60']);
  console.log(`viommu ${version} runs the demonstration and replays a recording with Node ${node}`);
}

try {
  main();
} catch (error) {
  // The message of a command that failed holds what it wrote.
  check(false, error instanceof Error ? error.message : String(error));
} finally {
  rmSync(project, { recursive: true, force: true });
}
