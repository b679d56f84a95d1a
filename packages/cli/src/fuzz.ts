/** `viommu fuzz`: random streams of requests against a device in lock-step with the reference model, and other fuzzers. */

import { readFileSync } from 'node:fs';
import { IommuError } from '@viommu/common';
import {
  CANARY,
  type CorpusEntry,
  type NamedDeviation,
  type Subject,
  annotateFinding,
  fuzz as runFuzzers,
  fuzzersOf,
  loadCorpus,
  parseDeviations,
  replay as replayFinding,
  saveEntry,
  signatureOf,
} from '@viommu/conformance/fuzz';
import { targetSpec } from './conform/target.ts';
import { ExitCode, Failure, usageFailure } from './failure.ts';
import { merge } from './fuzz/merge.ts';
import { corpusFolder, readFinding, saveFinding, saveResult } from './fuzz/store.ts';
import { formatProgress, tellFinding, tellResult } from './fuzz/tell.ts';
import type { Output } from './output.ts';
import { Progress } from './progress.ts';

export interface FuzzFlags {
  readonly target: string;
  /** Another target, to compare the first one with instead of with the model. */
  readonly against?: string;
  /** A file of differences between the two that are known. */
  readonly deviations?: string;
  /** Names of fuzzers; all that suit the target if absent. */
  readonly fuzzer?: readonly string[];
  /** The simulation alone. */
  readonly simulate?: true;
  readonly seconds: number;
  readonly seed: number;
  readonly threads?: number;
  /** `i/n`. */
  readonly shard?: { readonly index: number; readonly count: number };
  /** The folder for findings, inputs and what the run came to; if absent, one for findings alone. */
  readonly out?: string;
  /** The file of a finding, to run it again and nothing else. */
  readonly replay?: string;
  /** Folders of runs, to put them together and nothing else. */
  readonly merge?: readonly string[];
  /** Of the command. */
  readonly version: string;
}

const OUT = 'fuzz-findings';

/** Runs the fuzzers; the result is the exit code, 1 if there was a finding. */
export async function fuzz(flags: FuzzFlags, output: Output, signal: AbortSignal): Promise<number> {
  const { out = OUT, target, seconds, threads, shard } = flags;
  const subject = subjectOf(flags);
  if (flags.merge !== undefined) return merge(flags.merge, out, subject, output);
  if (flags.replay !== undefined) return replay(flags.replay, subject, output);
  const versions = { viommu: flags.version, node: process.versions.node };
  const keep = flags.out !== undefined;
  let state = 'starting';
  const progress = new Progress(output.notes, () => state);
  const report = await runFuzzers(subject, {
    fuzzers: chosen(flags, subject),
    seed: Math.floor(flags.seed),
    seconds,
    threads,
    shard,
    signal,
    corpus: keep ? inputsIn(out, output) : [],
    onEntry: (entry) => keep && saveInput(out, entry),
    onNote: (note) => output.note(note),
    onProgress: (now) => (state = formatProgress(now)),
    onFinding: (finding) => {
      progress.clear();
      tellFinding(finding, saveFinding(out, { finding, target, versions }), output);
    },
  })
    .catch((error: unknown) => {
      if (error instanceof IommuError) throw usageFailure(error.message);
      throw error;
    })
    .finally(() => progress.end());
  const { found, ...result } = report;
  if (keep || found.length > 0) saveResult(out, result);
  tellResult(result, found.length, output);
  if (found.length > 0) return ExitCode.FAILED;
  // Ctrl-C is how a long run ends, and the summary is told; its exit code still says so.
  return signal.aborted && signal.reason instanceof Failure ? signal.reason.exitCode : ExitCode.OK;
}

function subjectOf({ target, against, deviations }: FuzzFlags): Subject {
  return {
    target: targetSpec(target, 'device'),
    ...(against !== undefined && { against: targetSpec(against, 'device') }),
    ...(deviations !== undefined && { deviations: deviationsIn(deviations) }),
  };
}

function deviationsIn(file: string): readonly NamedDeviation[] {
  try {
    return parseDeviations(readFileSync(file, 'utf8'));
  } catch (error) {
    throw usageFailure(`${file} cannot be used: ${error instanceof Error ? error.message : ''}`);
  }
}

/** The inputs that earlier runs kept; those that are damaged are said and left out. */
function inputsIn(out: string, output: Output): readonly CorpusEntry[] {
  const { entries, problems } = loadCorpus(corpusFolder(out));
  for (const problem of problems) output.note(problem);
  return entries;
}

function saveInput(out: string, entry: CorpusEntry): void {
  try {
    saveEntry(corpusFolder(out), entry);
  } catch (error) {
    throw usageFailure(`${out} cannot be written: ${error instanceof Error ? error.message : ''}`);
  }
}

function chosen(flags: FuzzFlags, subject: Subject): readonly string[] | undefined {
  if (flags.simulate === true) return ['simulation'];
  const names = [...fuzzersOf(subject), CANARY.name];
  const unknown = flags.fuzzer?.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw usageFailure(`there is no fuzzer ${unknown} for this: there are ${names.join(', ')}`);
  return flags.fuzzer;
}

/** Runs a saved finding again: 1 if it shows, whichever way; 0 if nothing is wrong any more. */
async function replay(file: string, subject: Subject, output: Output): Promise<number> {
  const { finding } = readFinding(file);
  const seen = await replayFinding(subject, finding);
  const expected = signatureOf(finding);
  const signature = seen === undefined ? null : signatureOf(seen);
  const same = signature === expected;
  output.event({ event: 'replay', file, expected, seen: signature, same });
  if (!output.json) {
    for (const line of annotateFinding(finding)) output.line(line);
    output.line();
    output.line(signature ?? 'nothing is wrong any more');
    if (seen !== undefined) output.line(`  ${seen.evidence}`);
    if (seen !== undefined && !same) output.line(`  it was: ${expected}`);
  }
  return seen === undefined ? ExitCode.OK : ExitCode.FAILED;
}
