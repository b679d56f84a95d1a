/** The files of the repository, as the house rules see them. */

import { readFileSync, readdirSync } from 'node:fs';

/** A file: its path from the root of the repository, with forward slashes, and its text. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

const ROOT = new URL('../../', import.meta.url);

/** What `.gitignore` leaves out, and git's own directory. */
const LEFT_OUT = new Set(['.cache', '.git', 'coverage', 'dist', 'node_modules']);

/** Packages that run anywhere: no Node, no browser, no clock, no random numbers, no timers. */
export const NEUTRAL_PACKAGES = [
  'common',
  'ring',
  'transport',
  'device',
  'driver',
  'iommu',
  'blk',
] as const;

/**
 * Paths of all files below `folder` that are part of the project.
 *
 * The directories are read instead of asking git: the rules then also hold for a file that is not yet added, and in a
 * copy of the tree that is not a clone.
 */
export function pathsBelow(folder = ''): string[] {
  const paths: string[] = [];
  for (const entry of readdirSync(new URL(folder, ROOT), { withFileTypes: true })) {
    if (LEFT_OUT.has(entry.name)) continue;
    if (entry.isDirectory()) paths.push(...pathsBelow(`${folder}${entry.name}/`));
    else if (entry.isFile()) paths.push(`${folder}${entry.name}`);
  }
  return paths;
}

export function readText(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

/** The files whose path fits `pattern`, in the order of their paths. */
export function filesLike(pattern: RegExp): TextFile[] {
  return pathsBelow()
    .filter((path) => pattern.test(path))
    .sort()
    .map((path) => ({ path, text: readText(path) }));
}

/** Every file that is text: those without a zero byte. */
export function textFiles(): TextFile[] {
  return filesLike(/./).filter(({ text }) => !text.includes('\0'));
}

/** The TypeScript of the packages, without their tests. */
export function sourceFiles(): TextFile[] {
  return filesLike(/^packages\/[^/]+\/src\/.*\.ts$/);
}

/** Names of the packages, which are the names of their folders. */
export function packageNames(): string[] {
  return readdirSync(new URL('packages/', ROOT), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** The package that a file belongs to; undefined outside `packages/`. */
export function packageOf(path: string): string | undefined {
  return /^packages\/([^/]+)\//.exec(path)?.[1];
}

/** Findings of one line-by-line rule: each match of `pattern`, as `path:line  what`. */
export function matches(file: TextFile, pattern: RegExp): string[] {
  return file.text.split('\n').flatMap((line, index) => {
    const found = pattern.exec(line);
    return found === null ? [] : [`${file.path}:${index + 1}  ${found[0]}`];
  });
}
