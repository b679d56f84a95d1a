/**
 * The examples of the READMEs run, and the commands they name exist.
 *
 * Each `ts` block is a module: it is written to a file beside the workspace's packages, type-checked, and run by Node
 * from the sources. It imports packages by name and checks itself with `node:assert`.
 */

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesLike, readText, type TextFile } from './tidy/tree.ts';

const run = promisify(execFile);
const root = new URL('../', import.meta.url);
const inRoot = (path: string): string => fileURLToPath(new URL(path, root));

/** A fenced block: where its first line stands, and its text. */
interface Block {
  readonly place: string;
  readonly text: string;
}

function blocksOf({ path, text }: TextFile, language: string): Block[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(({ index, 2: block = '' }) => ({
      place: `${path}:${text.slice(0, index).split('\n').length + 1}`,
      text: block,
    }));
}

const readmes = filesLike(/^(?:packages\/[^/]+\/)?README\.md$/);
const guides = filesLike(/\.md$/);
const examples = readmes
  .flatMap((file) => blocksOf(file, 'ts'))
  .map((block) => ({ ...block, name: `${block.place.replaceAll(/[/:]/g, '-')}.ts` }));

describe('examples', () => {
  let folder = '';

  beforeAll(() => {
    mkdirSync(inRoot('.cache'), { recursive: true });
    folder = mkdtempSync(inRoot('.cache/readme-'));
    for (const { name, text } of examples) writeFileSync(join(folder, name), text);
    const config = {
      extends: '../../tsconfig.base.json',
      compilerOptions: { noEmit: true, composite: false, isolatedDeclarations: false },
      include: ['*.ts'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are there', () => {
    expect(examples.length).toBeGreaterThan(0);
  });

  it.each(examples)('$place runs', { timeout: 30_000 }, async ({ name }) => {
    const args = ['--conditions=@viommu/source', join(folder, name)];
    // Examples say what they expect with assertions; a warning would be one more thing to explain.
    expect((await run(process.execPath, args)).stderr).toBe('');
  });

  it('have the right types', { timeout: 30_000 }, async () => {
    const args = ['-p', folder, '--types', 'node'];
    const check = run(inRoot('node_modules/.bin/tsc'), args).catch((error: unknown) => error);
    expect(await check).toMatchObject({ stdout: '' });
  });
});

/** What a shell line asks for and the project does not have. */
function missing(line: string): string | undefined {
  const words = line.replace(/\s#.*$/, '').split(/\s+/);
  const [tool, second = '', third = ''] = words;
  const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
  const script = tool !== 'npm' ? undefined : second === 'run' ? third : second;
  if (tool === 'npm' && script === 'run') return missing(line.replace(' -s ', ' '));
  if (script !== undefined && !script.startsWith('-') && !(script in scripts))
    return `npm has no script ${script}`;
  if (tool === 'npx' && !existsSync(inRoot(`node_modules/.bin/${second}`)))
    return `npx finds no ${second}`;
  if (tool?.includes('/') === true && !existsSync(inRoot(tool))) return `there is no ${tool}`;
  // A path with a folder in it is one of the repository; an example's own files have none.
  const path = words.slice(1).find((word) => /^[\w.-]+\/[\w./-]+$/.test(word));
  return path === undefined || existsSync(inRoot(path)) ? undefined : `there is no ${path}`;
}

describe('commands', () => {
  const lines = guides.flatMap((file) =>
    blocksOf(file, 'sh').flatMap(({ place, text }) =>
      text
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => ({ place, line: line.replaceAll(/\brun -s\b/g, 'run') })),
    ),
  );

  it('of the documents exist, and so do the files they name', () => {
    const findings = lines.map(({ place, line }) => [place, missing(line)]);
    expect(findings.filter(([, finding]) => finding !== undefined)).toEqual([]);
  });

  const subcommands = [
    ...new Set(
      lines.flatMap(({ line }) => /(?:^|run )viommu (?:-- )?([a-z]+)/.exec(line)?.[1] ?? []),
    ),
  ];

  it.each(subcommands)('viommu %s is one', { timeout: 30_000 }, async (name) => {
    const main = inRoot('packages/cli/src/main.ts');
    const args = ['--conditions=@viommu/source', main, name, '--help'];
    await expect(run(process.execPath, args)).resolves.toMatchObject({ stderr: '' });
  });

  it('the rule finds what is missing', () => {
    expect(missing('npm start')).toBeUndefined();
    expect(missing('npm run check   # quick')).toBeUndefined();
    expect(missing('npx vitest run -t iommu.dev.map.overlap')).toBeUndefined();
    expect(missing('npm run nothing')).toBe('npm has no script nothing');
    expect(missing('npx nothing')).toBe('npx finds no nothing');
    expect(missing('.ci/nothing')).toBe('there is no .ci/nothing');
    expect(missing('viommu replay recordings/nothing.gz')).toBe(
      'there is no recordings/nothing.gz',
    );
  });
});
