/** `viommu fuzz`: random streams of requests against a device, in lock-step with the reference model. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IommuError } from '@viommu/common';
import {
  type Finding,
  type Progress as FuzzProgress,
  annotateFinding,
  decodeFinding,
  encodeFinding,
  fuzz as runFuzzer,
  replay as replayFinding,
  signatureOf,
} from '@viommu/conformance/fuzz';
import { targetSpec } from './conform/target.ts';
import { ExitCode, Failure, usageFailure } from './failure.ts';
import { type Output, formatCount, formatNoun, roundSeconds } from './output.ts';
import { Progress } from './progress.ts';

export interface FuzzFlags {
  readonly target: string;
  readonly seconds: number;
  readonly seed: number;
  readonly threads?: number;
  /** `i/n`. */
  readonly shard?: { readonly index: number; readonly count: number };
  /** Where findings are saved. */
  readonly out: string;
  /** The file of a finding, to run it again and nothing else. */
  readonly replay?: string;
  /** Of the command. */
  readonly version: string;
}

/** Runs the fuzzer; the result is the exit code, 1 if there was a finding. */
export async function fuzz(flags: FuzzFlags, output: Output, signal: AbortSignal): Promise<number> {
  if (flags.replay !== undefined) return replay(flags.replay, flags, output);
  const { target, seconds, threads, shard } = flags;
  const seed = Math.floor(flags.seed);
  const spec = targetSpec(target, 'device');
  let state = 'starting';
  const progress = new Progress(output.notes, () => state);
  const report = await runFuzzer(spec, {
    seed,
    seconds,
    threads,
    shard,
    signal,
    onProgress: (now) => (state = formatProgress(now)),
    onFinding: (finding) => {
      progress.clear();
      tell(finding, save(finding, flags), output);
    },
  })
    .catch((error: unknown) => {
      if (error instanceof IommuError) throw usageFailure(error.message);
      throw error;
    })
    .finally(() => progress.end());
  const { runs, requests, findings, coverage } = report;
  const taken = roundSeconds(report.seconds);
  const perSecond = Math.round(requests / Math.max(report.seconds, 0.001));
  output.event({ event: 'summary', runs, requests, findings, coverage, seconds: taken, perSecond });
  if (!output.json) {
    output.heading(report.target);
    output.line(
      `  ${formatNoun(runs, 'stream')}, ${formatNoun(requests, 'request')} in ${taken} s: ${formatCount(perSecond)} a second`,
    );
    output.line(
      `  ${formatNoun(coverage, 'pair')} of rules reached, ${formatNoun(findings, 'finding')}`,
    );
  }
  if (findings > 0) return ExitCode.FAILED;
  // Ctrl-C is how a long run ends, and the summary is told; its exit code still says so.
  return signal.aborted && signal.reason instanceof Failure ? signal.reason.exitCode : ExitCode.OK;
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

function readFinding(file: string): ReturnType<typeof decodeFinding> {
  try {
    return decodeFinding(Uint8Array.from(readFileSync(file)));
  } catch (error) {
    throw usageFailure(
      `${file} cannot be replayed: ${error instanceof Error ? error.message : ''}`,
    );
  }
}

/** Writes the finding, as records and as text; the result is the file to replay. */
function save(finding: Finding, { target, out, version }: FuzzFlags): string {
  const name = signatureOf(finding)
    .replaceAll(/[^a-zA-Z0-9]+/g, '-')
    .slice(0, 80)
    .replace(/-$/, '');
  const file = join(out, `${name}.finding`);
  const versions = { viommu: version, node: process.versions.node };
  const text = [
    signatureOf(finding),
    `  ${finding.evidence}`,
    `target ${target}, seed ${finding.seed}, step ${finding.foundAfter}`,
    ...annotateFinding(finding),
    '',
  ];
  try {
    mkdirSync(out, { recursive: true });
    writeFileSync(file, encodeFinding({ finding, target, versions }));
    writeFileSync(join(out, `${name}.txt`), text.join('\n'));
  } catch (error) {
    throw usageFailure(`${file} cannot be written: ${error instanceof Error ? error.message : ''}`);
  }
  return file;
}

function tell(finding: Finding, file: string, output: Output): void {
  const { fuzzer, kind, matter, evidence, seed, input } = finding;
  const steps = input.kind === 'stream' ? input.stream.steps.length : input.tape.length;
  output.event({ event: 'finding', fuzzer, kind, matter, evidence, seed, steps, file });
  if (output.json) return;
  output.line(`${output.style('red', kind)}  ${matter}`);
  output.line(`  ${evidence.split('\n')[0] ?? ''}`);
  const noun = formatNoun(steps, input.kind === 'stream' ? 'step' : 'random value');
  output.line(`  ${fuzzer}, seed ${seed}, ${noun}; viommu fuzz --replay ${file}`);
}

function formatProgress({ runs, requests, seconds, coverage, findings }: FuzzProgress): string {
  const rate = formatCount(Math.round(requests / Math.max(seconds, 0.001)));
  return `${formatNoun(runs, 'stream')}, ${rate} requests/s, coverage ${coverage}, ${formatNoun(findings, 'finding')}`;
}
