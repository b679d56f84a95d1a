/** A folder of inputs: each a file of its own, which several fuzzers may add to. */

import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IommuError } from '@viommu/common';
import { type CorpusEntry, decodeInput, encodeInput, entryOf } from './corpus-file.ts';
import { recordedStreams } from './corpus-recording.ts';

/** What the name of an input ends with. */
export const INPUT_SUFFIX = '.input';
/** Recordings, whole or compressed. */
const RECORDING = /\.stream(?:\.gz)?$/;

/** What a folder holds. */
export interface LoadedCorpus {
  /** In the order of their names. */
  readonly entries: readonly CorpusEntry[];
  /** A line for each file that is left out. */
  readonly problems: readonly string[];
}

/**
 * Loads the inputs of a folder and, cut into pieces, the recordings in it; files of other kinds are nobody's business. A
 * folder that is not there is empty.
 *
 * @throws {IommuError} `EINVAL` if the folder cannot be read.
 */
export function loadCorpus(folder: string): LoadedCorpus {
  const entries = new Map<string, CorpusEntry>();
  const problems: string[] = [];
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    try {
      for (const entry of entriesOf(name, path)) entries.set(entry.name, entry);
    } catch (error) {
      problems.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { entries: [...entries.values()], problems };
}

/** Writes an input into a folder, which is made if need be; returns the file's path. One that is there stays. */
export function saveEntry(folder: string, { name, stream }: CorpusEntry): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}${INPUT_SUFFIX}`);
  // Nobody shall see the half of a file.
  const partial = join(folder, `.${name}.${process.pid}`);
  writeFileSync(partial, encodeInput(stream));
  renameSync(partial, path);
  return path;
}

/** Makes these the only inputs of a folder. Recordings and files of other kinds stay. */
export function replaceCorpus(folder: string, entries: readonly CorpusEntry[]): void {
  for (const entry of entries) saveEntry(folder, entry);
  const kept = new Set(entries.map(({ name }) => `${name}${INPUT_SUFFIX}`));
  for (const name of namesIn(folder))
    if (name.endsWith(INPUT_SUFFIX) && !kept.has(name)) rmSync(join(folder, name));
}

function entriesOf(name: string, path: string): CorpusEntry[] {
  if (name.endsWith(INPUT_SUFFIX)) return [entryOf(decodeInput(readFileSync(path)))];
  if (RECORDING.test(name)) return recordedStreams(readFileSync(path)).map(entryOf);
  return [];
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    const reason = error instanceof Error ? error.message : String(error);
    throw new IommuError('EINVAL', `The corpus ${folder} cannot be read: ${reason}`);
  }
}
