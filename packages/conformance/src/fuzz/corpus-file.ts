/** Inputs on disk: a file of records for each, the setup first and then a record for each step. */

import { createHash } from 'node:crypto';
import { IommuError } from '@viommu/common';
import { RecordWriter, memoryRecordFile, readRecords } from '@viommu/common/records';
import type { Step, Stream } from './stream.ts';
import { isSetup, stepFrom } from './stream-shape.ts';

const FORMAT = 'viommu-input';
const VERSION = 1;
/** Steps of one input: what is longer is no input but a recording. */
export const INPUT_STEPS_MAX = 100_000;

/** An input that is worth keeping. */
export interface CorpusEntry {
  /** Made of what is in it: the same for the same stream. */
  readonly name: string;
  readonly stream: Stream;
}

export function entryOf(stream: Stream): CorpusEntry {
  const hash = createHash('sha256').update(encodeInput(stream)).digest('hex');
  return { name: hash.slice(0, NAME_LENGTH), stream };
}

const NAME_LENGTH = 16;

/** The bytes of the file. Same streams have same bytes. */
export function encodeInput({ setup, steps }: Stream): Uint8Array<ArrayBuffer> {
  const file = memoryRecordFile();
  const writer = new RecordWriter(file);
  writer.append({ format: FORMAT, version: VERSION, setup });
  for (const step of steps) writer.append(step);
  writer.flush();
  return file.bytes();
}

/** @throws {IommuError} `EINVAL` for bytes that are no whole file of an input. */
export function decodeInput(bytes: Uint8Array): Stream {
  const { records, problems } = readRecords(memoryRecordFile(bytes));
  const problem = problems[0];
  if (problem !== undefined) throw invalid(`at ${problem.position}, ${problem.reason}`);
  const { format, version, setup } = Object(records[0]) as Record<string, unknown>; // looked at below
  if (format !== FORMAT || version !== VERSION)
    throw invalid('it is no input of a version that is known');
  if (!isSetup(setup)) throw invalid('its setup cannot be used');
  if (records.length > INPUT_STEPS_MAX) throw invalid('it has more steps than an input may have');
  const steps: Step[] = [];
  for (let index = 1; index < records.length; index += 1) {
    const step = stepFrom(records[index]);
    if (step === undefined) throw invalid(`step ${index} is none`);
    steps.push(step);
  }
  return { setup, steps };
}

function invalid(reason: string): IommuError {
  return new IommuError('EINVAL', `The file holds no input: ${reason}.`);
}
