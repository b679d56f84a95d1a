/** What runs came to, on disk: so those of several machines can be put together. */

import { IommuError } from '@viommu/common';
import { RecordWriter, memoryRecordFile, readRecords } from '@viommu/common/records';

const FORMAT = 'viommu-fuzz-result';
const VERSION = 1;

/** What one fuzzer did. */
export interface Part {
  readonly fuzzer: string;
  readonly runs: number;
  readonly requests: number;
  /** A second, with all threads at it. */
  readonly perSecond: number;
}

/** How far a run has come. */
export interface Progress {
  /** Seeds that were run. */
  readonly runs: number;
  readonly requests: number;
  readonly accesses: number;
  readonly findings: number;
  /** Pairs of rules, edges and comparisons that were reached. */
  readonly coverage: number;
  /** Edges of our own code that there are; 0 if none were counted. */
  readonly edgesThere: number;
  /** Inputs that reached something new and are kept. */
  readonly inputs: number;
  readonly seconds: number;
  readonly parts: readonly Part[];
  /** Differences that have names, and how often each was seen. */
  readonly deviations: Readonly<Record<string, number>>;
}

/** What one run came to, or several together. */
export interface FuzzResult extends Progress {
  /** The name of the target. */
  readonly target: string;
  /** All that was reached, by name. */
  readonly covered: readonly string[];
}

/** The bytes of the file. */
export function encodeResult(result: FuzzResult): Uint8Array<ArrayBuffer> {
  const file = memoryRecordFile();
  const writer = new RecordWriter(file);
  const { covered, ...head } = result;
  writer.append({ format: FORMAT, version: VERSION, ...head });
  for (const name of covered) writer.append(name);
  writer.flush();
  return file.bytes();
}

/** @throws {IommuError} `EINVAL` for bytes that are no whole result. */
export function decodeResult(bytes: Uint8Array): FuzzResult {
  const { records, problems } = readRecords(memoryRecordFile(bytes));
  const problem = problems[0];
  if (problem !== undefined) throw invalid(`at ${problem.position}, ${problem.reason}`);
  const [first, ...covered] = records;
  const head = (first ?? {}) as Readonly<Record<string, unknown>>; // every field is looked at below
  if (head['format'] !== FORMAT || head['version'] !== VERSION)
    throw invalid('it is of no version that is known');
  const { target, runs, requests, accesses, findings, edgesThere, inputs, seconds, parts } = head;
  if (typeof target !== 'string' || !covered.every((name) => typeof name === 'string'))
    throw invalid('a name is missing');
  const figures = { runs, requests, accesses, findings, edgesThere, inputs, seconds };
  if (!hasFigures(figures) || !Array.isArray(parts) || !parts.every(isPart))
    throw invalid('a figure is missing');
  const deviations = Object(head['deviations']) as Readonly<Record<string, unknown>>; // looked at next
  if (!hasFigures(deviations)) throw invalid('a count is missing');
  return { target, ...figures, coverage: covered.length, parts, deviations, covered };
}

/** All of them together, as if they had run side by side. @throws {IommuError} `EINVAL` if targets differ, or for none. */
export function mergeResults(results: readonly FuzzResult[]): FuzzResult {
  const [first] = results;
  if (first === undefined) throw new IommuError('EINVAL', 'There is nothing to put together.');
  const other = results.find(({ target }) => target !== first.target);
  if (other !== undefined)
    throw new IommuError('EINVAL', `Results are of ${first.target} and of ${other.target}.`);
  const covered = [...new Set(results.flatMap((result) => result.covered))];
  const parts = new Map<string, Part>();
  for (const part of results.flatMap((result) => result.parts)) {
    const { runs = 0, requests = 0, perSecond = 0 } = parts.get(part.fuzzer) ?? {};
    parts.set(part.fuzzer, {
      fuzzer: part.fuzzer,
      runs: runs + part.runs,
      requests: requests + part.requests,
      perSecond: perSecond + part.perSecond,
    });
  }
  const deviations = new Map<string, number>();
  for (const [name, count] of results.flatMap((result) => Object.entries(result.deviations)))
    deviations.set(name, (deviations.get(name) ?? 0) + count);
  return {
    target: first.target,
    runs: sum(results.map(({ runs }) => runs)),
    requests: sum(results.map(({ requests }) => requests)),
    accesses: sum(results.map(({ accesses }) => accesses)),
    findings: sum(results.map(({ findings }) => findings)),
    coverage: covered.length,
    edgesThere: Math.max(...results.map(({ edgesThere }) => edgesThere)),
    inputs: sum(results.map(({ inputs }) => inputs)),
    seconds: Math.max(...results.map(({ seconds }) => seconds)),
    parts: [...parts.values()],
    deviations: Object.fromEntries(deviations),
    covered,
  };
}

type Figures<Name extends string> = Readonly<Record<Name, number>>;

function hasFigures<Name extends string>(
  values: Readonly<Record<Name, unknown>>,
): values is Figures<Name> {
  return Object.values(values).every((value) => typeof value === 'number' && value >= 0);
}

function isPart(value: unknown): value is Part {
  const { fuzzer, runs, requests, perSecond } = Object(value) as Readonly<Record<string, unknown>>; // looked at
  return typeof fuzzer === 'string' && hasFigures({ runs, requests, perSecond });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function invalid(reason: string): IommuError {
  return new IommuError('EINVAL', `The file holds no result: ${reason}.`);
}
