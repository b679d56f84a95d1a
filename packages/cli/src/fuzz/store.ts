/** The folder of a run: a file for each finding, as records and as text, and one for what the run came to. */

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Finding,
  type FuzzResult,
  type SavedFinding,
  annotateFinding,
  decodeFinding,
  decodeResult,
  encodeFinding,
  encodeResult,
  signatureOf,
} from '@viommu/conformance/fuzz';
import { usageFailure } from '../failure.ts';

/** The folder below that of a run which holds inputs. */
const CORPUS = 'corpus';
const RESULT = 'fuzz.result';
const FINDING = '.finding';

/** Writes a finding; the result is the file to replay. */
export function saveFinding(folder: string, saved: SavedFinding): string {
  const { finding, target } = saved;
  const name = nameOf(finding);
  const file = join(folder, `${name}${FINDING}`);
  const text = [
    signatureOf(finding),
    `  ${finding.evidence}`,
    `target ${target}, ${finding.fuzzer}, seed ${finding.seed}, step ${finding.foundAfter}`,
    ...annotateFinding(finding),
    '',
  ];
  write(folder, `${name}${FINDING}`, encodeFinding(saved));
  write(folder, `${name}.txt`, text.join('\n'));
  return file;
}

/** @throws {Failure} for a file that cannot be read, or holds none. */
export function readFinding(file: string): SavedFinding {
  return read(file, 'replayed', decodeFinding);
}

export function saveResult(folder: string, result: FuzzResult): void {
  write(folder, RESULT, encodeResult(result));
}

/** @throws {Failure} for a folder that holds none. */
export function readResult(folder: string): FuzzResult {
  return read(join(folder, RESULT), 'merged', decodeResult);
}

/** All findings of a folder. @throws {Failure} */
export function readFindings(folder: string): SavedFinding[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(FINDING))
    .toSorted()
    .map((name) => read(join(folder, name), 'merged', decodeFinding));
}

/** Where the inputs of a run are. */
export function corpusFolder(folder: string): string {
  return join(folder, CORPUS);
}

function nameOf(finding: Finding): string {
  return signatureOf(finding)
    .replaceAll(/[^a-zA-Z0-9]+/g, '-')
    .slice(0, 80)
    .replace(/-$/, '');
}

function read<Content>(
  file: string,
  purpose: string,
  decode: (bytes: Uint8Array) => Content,
): Content {
  try {
    return decode(Uint8Array.from(readFileSync(file)));
  } catch (error) {
    throw usageFailure(`${file} cannot be ${purpose}: ${reasonOf(error)}`);
  }
}

function write(folder: string, name: string, content: Uint8Array | string): void {
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), content);
  } catch (error) {
    throw usageFailure(`${join(folder, name)} cannot be written: ${reasonOf(error)}`);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}
