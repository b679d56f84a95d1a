/** `viommu run --policy`: a disk under one way of reaching memory or under all of them, measured and checked. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WorkloadGate } from '@viommu/machine';
import { ExitCode, Failure, printable } from '../failure.ts';
import { type Output, formatBytes, formatNoun, roundSeconds } from '../output.ts';
import { Progress, formatShare } from '../progress.ts';
import { PolicyContest } from './policy-contest.ts';
import type { PolicyResult } from './policy-figure.ts';
import { PolicyMachine } from './policy-machine.ts';
import {
  MEMORY_DISK,
  type PolicyFlags,
  type PolicyOptions,
  diskFile,
  policyOptions,
} from './policy-option.ts';
import { policyColumns, policyRows, resultEvent } from './policy-text.ts';

/** Measures; the result is the exit code. */
export async function runPolicy(
  flags: PolicyFlags,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const options = policyOptions(flags);
  const begun = performance.now();
  output.heading(headingOf(options));
  let state = 'starting';
  const progress = new Progress(output.notes, () => state);
  let results: PolicyResult[];
  try {
    results = await measure(options, signal, {
      onProgress: (what, share) => {
        state = `${what}, ${formatShare(Math.min(share, 1), 1)}`;
      },
      onLog: (text) => {
        progress.clear();
        output.note(printable(text));
      },
    });
  } finally {
    progress.end();
  }
  if (results.length > 0) output.table(policyColumns(results), policyRows(results));
  for (const result of results) output.event(resultEvent(result));
  const bad = results.filter(({ mismatches, errors }) => mismatches + errors > 0);
  const { workload, blockBytes, depth, diskBytes, disk } = options;
  output.event({
    event: 'summary',
    policies: results.map(({ policy }) => policy),
    workload,
    blockBytes,
    depth,
    disk: disk === undefined ? 'temporary' : disk,
    diskBytes,
    ok: bad.length === 0,
    seconds: roundSeconds((performance.now() - begun) / 1000),
  });
  if (signal.aborted) throw signal.reason;
  const [first] = bad;
  if (first !== undefined)
    throw new Failure(
      ExitCode.FAILED,
      `${first.policy}: ${formatNoun(first.mismatches, 'sector')} with wrong content,` +
        ` ${formatNoun(first.errors, 'request')} failed`,
    );
  return ExitCode.OK;
}

interface Watch {
  readonly onProgress: (what: string, share: number) => void;
  readonly onLog: (text: string) => void;
}

/** Starts the machines, has them work in turn, and ends them. What was measured until the signal is returned. */
async function measure(
  options: PolicyOptions,
  signal: AbortSignal,
  { onProgress, onLog }: Watch,
): Promise<PolicyResult[]> {
  const { policies, disk } = options;
  const folder = disk === undefined ? mkdtempSync(join(tmpdir(), 'viommu-disk-')) : undefined;
  const base = folder === undefined ? disk : join(folder, 'disk');
  const removeFolder = (): void => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  };
  const gate = new WorkloadGate(policies.length);
  const machines: PolicyMachine[] = [];
  const ended = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  try {
    for (const [place, policy] of policies.entries()) {
      const file =
        base === undefined || base === MEMORY_DISK
          ? undefined
          : diskFile(base, policy, policies.length > 1);
      machines.push(
        new PolicyMachine(policy, place, gate, options, file, (text) =>
          onLog(`${policy}: ${text}`),
        ),
      );
    }
    const contest = new PolicyContest(machines, { signal, onProgress });
    const work = async (): Promise<void> => {
      await Promise.all(machines.map((machine) => machine.ready()));
      // The disks are open, and need no names any more.
      if (process.platform !== 'win32') removeFolder();
      await contest.run(options.seconds);
    };
    await Promise.race([work(), ended]);
    return contest.records.flatMap((record) => record.result() ?? []);
  } finally {
    await Promise.all(machines.map((machine) => machine.end()));
    removeFolder();
  }
}

function headingOf({ workload, blockBytes, depth, disk, diskBytes }: PolicyOptions): string {
  const where = disk === MEMORY_DISK ? 'in memory' : 'in a file';
  return (
    `${workload} of ${formatBytes(BigInt(blockBytes))}, ${formatNoun(depth, 'request')} in flight,` +
    ` on a disk of ${formatBytes(BigInt(diskBytes))} ${where}`
  );
}
