/** Findings on disk: a file of records, the head first and then a record for each step. */

import { IommuError } from '@viommu/common';
import { RecordWriter, memoryRecordFile, readRecords } from '@viommu/common/records';
import { type Finding, annotateFinding } from './finding.ts';
import { isSetup, stepFrom } from './stream-shape.ts';

const FORMAT = 'viommu-finding';
const VERSION = 1;

/** A finding, and what it was found with. */
export interface SavedFinding {
  readonly finding: Finding;
  /** The name of the target. */
  readonly target: string;
  /** Versions by name. */
  readonly versions: Readonly<Record<string, string>>;
}

/** The bytes of the file. Same findings have same bytes. */
export function encodeFinding({
  finding,
  target,
  versions,
}: SavedFinding): Uint8Array<ArrayBuffer> {
  const file = memoryRecordFile();
  const writer = new RecordWriter(file);
  const { stream, kind, matter, evidence, seed, foundAfter, bySeed, tolerated } = finding;
  const head = { kind, matter, evidence, seed, foundAfter, bySeed, tolerated };
  const { setup, steps } = stream;
  const annotated = annotateFinding(finding);
  writer.append({ format: FORMAT, version: VERSION, target, versions, ...head, setup, annotated });
  for (const step of steps) writer.append(step);
  writer.flush();
  return file.bytes();
}

/** @throws {IommuError} `EINVAL` for bytes that are no whole file of a finding. */
export function decodeFinding(bytes: Uint8Array): SavedFinding {
  const { records, problems } = readRecords(memoryRecordFile(bytes));
  const problem = problems[0];
  if (problem !== undefined) throw invalid(`at ${problem.position}, ${problem.reason}`);
  const [first, ...rest] = records;
  const head = (first ?? {}) as Readonly<Record<string, unknown>>; // every field is looked at below
  const { kind, matter, evidence, seed, foundAfter, setup, target, versions, bySeed, tolerated } =
    head;
  if (head['format'] !== FORMAT || head['version'] !== VERSION)
    throw invalid('it is no finding of a version that is known');
  if (![kind, matter, evidence, target].every((text) => typeof text === 'string'))
    throw invalid('a field of its head is missing');
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(foundAfter) || !isSetup(setup))
    throw invalid('its setup cannot be used');
  const steps = rest.map((record, index) => {
    const step = stepFrom(record);
    if (step === undefined) throw invalid(`step ${index + 1} is none`);
    return step;
  });
  const stream = { setup, steps };
  const known = Array.isArray(tolerated) ? tolerated.map(String) : [];
  const more = { bySeed: bySeed === true, tolerated: known };
  const found = { kind, matter, evidence, seed, foundAfter, stream, ...more };
  return {
    finding: found as unknown as Finding, // as looked at above
    target: String(target),
    versions: Object.fromEntries(
      Object.entries(Object(versions)).map(([name, value]) => [name, String(value)]),
    ),
  };
}

function invalid(reason: string): IommuError {
  return new IommuError('EINVAL', `The file holds no finding: ${reason}.`);
}
