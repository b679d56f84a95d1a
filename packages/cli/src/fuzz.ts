/** `viommu fuzz`: random streams of requests against a device in lock-step with the reference model, and other fuzzers. */

import { IommuError } from '@viommu/common';
import {
  CANARY,
  FUZZERS,
  STREAM,
  annotateFinding,
  fuzz as runFuzzers,
  replay as replayFinding,
  signatureOf,
} from '@viommu/conformance/fuzz';
import { targetSpec } from './conform/target.ts';
import { ExitCode, Failure, usageFailure } from './failure.ts';
import { merge } from './fuzz/merge.ts';
import { readFinding, saveFinding, saveResult } from './fuzz/store.ts';
import { formatProgress, tellFinding, tellResult } from './fuzz/tell.ts';
import type { Output } from './output.ts';
import { Progress } from './progress.ts';

export interface FuzzFlags {
  readonly target: string;
  /** Names of fuzzers; all that suit the target if absent. */
  readonly fuzzer?: readonly string[];
  /** The simulation alone. */
  readonly simulate?: true;
  readonly seconds: number;
  readonly seed: number;
  readonly threads?: number;
  /** `i/n`. */
  readonly shard?: { readonly index: number; readonly count: number };
  /** The folder for findings and for what the run came to; one of its own name, and only for findings, if absent. */
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
  if (flags.merge !== undefined) return merge(flags.merge, out, output);
  if (flags.replay !== undefined) return replay(flags.replay, flags, output);
  const spec = targetSpec(target, 'device');
  const versions = { viommu: flags.version, node: process.versions.node };
  let state = 'starting';
  const progress = new Progress(output.notes, () => state);
  const report = await runFuzzers(spec, {
    fuzzers: fuzzersOf(flags),
    seed: Math.floor(flags.seed),
    seconds,
    threads,
    shard,
    signal,
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
  if (flags.out !== undefined || found.length > 0) saveResult(out, result);
  tellResult(result, found.length, output);
  if (found.length > 0) return ExitCode.FAILED;
  // Ctrl-C is how a long run ends, and the summary is told; its exit code still says so.
  return signal.aborted && signal.reason instanceof Failure ? signal.reason.exitCode : ExitCode.OK;
}

function fuzzersOf({ fuzzer, simulate }: FuzzFlags): readonly string[] | undefined {
  if (simulate === true) return ['simulation'];
  const names = [STREAM, ...FUZZERS.map(({ name }) => name), CANARY.name];
  const unknown = fuzzer?.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw usageFailure(`there is no fuzzer ${unknown}: there are ${names.join(', ')}`);
  return fuzzer;
}

/** Runs a saved finding again: 1 if it shows, whichever way; 0 if nothing is wrong any more. */
async function replay(file: string, { target }: FuzzFlags, output: Output): Promise<number> {
  const { finding } = readFinding(file);
  const seen = await replayFinding(targetSpec(target, 'device'), finding);
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
