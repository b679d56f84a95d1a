/** Findings on disk: a file of records, the head first and then a record for each step. */

import { IommuError, isUint32 } from '@viommu/common';
import { RecordWriter, memoryRecordFile, readRecords } from '@viommu/common/records';
import { type Finding, type FindingInput, annotateFinding } from './finding.ts';
import { isSetup, stepFrom } from './stream-shape.ts';

const FORMAT = 'viommu-finding';
const VERSION = 2;

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
  const { input, ...head } = finding;
  const annotated = annotateFinding(finding);
  const setup = input.kind === 'stream' ? { setup: input.stream.setup } : {};
  writer.append({
    format: FORMAT,
    version: VERSION,
    target,
    versions,
    ...head,
    ...setup,
    annotated,
  });
  if (input.kind === 'stream') for (const step of input.stream.steps) writer.append(step);
  else writer.append(input.tape);
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
  const { fuzzer, kind, matter, evidence, seed, foundAfter, setup, target, versions } = head;
  if (head['format'] !== FORMAT || head['version'] !== VERSION)
    throw invalid('it is no finding of a version that is known');
  if (![fuzzer, kind, matter, evidence, target].every((text) => typeof text === 'string'))
    throw invalid('a field of its head is missing');
  if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(foundAfter))
    throw invalid('its seed is no number');
  const input = setup === undefined ? tapeFrom(rest, head['annotated']) : streamFrom(setup, rest);
  const { tolerated } = head;
  const known = Array.isArray(tolerated) ? tolerated.map(String) : [];
  const found = { fuzzer, kind, matter, evidence, seed, foundAfter, input, tolerated: known };
  return {
    finding: found as unknown as Finding, // as looked at above
    target: String(target),
    versions: Object.fromEntries(
      Object.entries(Object(versions)).map(([name, value]) => [name, String(value)]),
    ),
  };
}

function streamFrom(setup: unknown, records: readonly unknown[]): FindingInput {
  if (!isSetup(setup)) throw invalid('its setup cannot be used');
  const steps = records.map((record, index) => {
    const step = stepFrom(record);
    if (step === undefined) throw invalid(`step ${index + 1} is none`);
    return step;
  });
  return { kind: 'stream', stream: { setup, steps } };
}

function tapeFrom([tape]: readonly unknown[], notes: unknown): FindingInput {
  if (!Array.isArray(tape) || !tape.every((value) => isUint32(value)))
    throw invalid('it holds neither steps nor a tape');
  return { kind: 'tape', tape, notes: Array.isArray(notes) ? notes.map(String) : [] };
}

function invalid(reason: string): IommuError {
  return new IommuError('EINVAL', `The file holds no finding: ${reason}.`);
}
