/** `viommu replay FILE…`: recordings sent through the real driver and the real device, and every answer compared. */

import { ExitCode, printable, usageFailure } from './failure.ts';
import { STANDARD_INPUT, inputName } from './input.ts';
import { type Output, formatCount, formatNoun, roundSeconds } from './output.ts';
import { Progress, formatShare } from './progress.ts';
import {
  NO_REQUESTS,
  type Recording,
  type RecordedCounts,
  readRecording,
} from './replay/recording.ts';
import { rowText } from './replay/row-text.ts';
import { ReplaySession, type ReplayResult } from './replay/session.ts';
import type { BatchMode } from './replay/walk.ts';
import type { RingFormat } from './ring-format.ts';

export interface ReplayOptions {
  readonly batch: BatchMode;
  /** The format of the queues; that of the recorded device if not given. */
  readonly ring?: RingFormat | undefined;
}

/** Mismatches of one recording that people are shown. */
const SHOWN_MAX = 20;

/** Replays each of `files` on a machine of its own; the result is the exit code. */
export async function replay(
  files: readonly string[],
  options: ReplayOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  if (files.filter((file) => file === STANDARD_INPUT).length > 1)
    throw usageFailure('standard input (-) can be read once only');
  const begun = performance.now();
  // All of them before any of them runs: damage is found before anything happens.
  const recordings: Recording[] = [];
  for (const file of files) recordings.push(await read(file, output, signal));
  const total = new Total();
  for (const recording of recordings) {
    const result = await perform(recording, options, output, signal);
    report(recording, result, output);
    total.add(recording, result);
  }
  const seconds = (performance.now() - begun) / 1000;
  if (recordings.length > 1) reportTotal(total, seconds, output);
  output.event(total.summary(options.batch, seconds));
  return total.mismatches === 0 ? ExitCode.OK : ExitCode.FAILED;
}

async function read(file: string, output: Output, signal: AbortSignal): Promise<Recording> {
  const progress = new Progress(output.notes, () => `reading ${printable(inputName(file))}`);
  try {
    return await readRecording(file, signal);
  } finally {
    progress.end();
  }
}

async function perform(
  recording: Recording,
  { batch, ring }: ReplayOptions,
  output: Output,
  signal: AbortSignal,
): Promise<ReplayResult> {
  const session = new ReplaySession(recording, batch, ring);
  for (const remark of session.remarks)
    output.note(`viommu: ${printable(recording.name)}: ${remark}`);
  const progress = new Progress(
    output.notes,
    () => `replaying ${formatShare(session.rowsDone(), recording.script.length)}`,
  );
  try {
    return await session.run(signal);
  } finally {
    progress.end();
  }
}

/** What all recordings together came to. */
class Total {
  readonly perKind: RecordedCounts = { ...NO_REQUESTS };
  files = 0;
  requests = 0;
  accesses = 0;
  mismatches = 0;
  notifications = 0;
  syncs = 0;
  runSeconds = 0;

  add({ counts }: Recording, result: ReplayResult): void {
    for (const kind of KINDS) this.perKind[kind] += counts[kind];
    this.files += 1;
    this.requests += result.requests;
    this.accesses += result.accesses;
    this.mismatches += result.mismatches;
    this.notifications += result.notifications;
    this.syncs += result.syncs;
    this.runSeconds += result.seconds;
  }

  /** As the one object that programs look for. */
  summary(batch: BatchMode, seconds: number): Record<string, unknown> {
    return {
      event: 'summary',
      requests: this.requests,
      accesses: this.accesses,
      mismatches: this.mismatches,
      notifications: this.notifications,
      seconds: roundSeconds(seconds),
      batch,
      files: this.files,
      perKind: this.perKind,
      syncs: this.syncs,
      runSeconds: roundSeconds(this.runSeconds),
      requestsPerSecond: perSecond(this.requests, this.runSeconds),
    };
  }
}

const KINDS = ['probe', 'attach', 'detach', 'map', 'unmap'] as const;

function report(recording: Recording, result: ReplayResult, output: Output): void {
  const { script, counts } = recording;
  const name = printable(recording.name);
  for (const [index, { row, expected, got }] of result.found.entries()) {
    const line = script.line(row);
    const what = rowText(script, row);
    output.event({ event: 'mismatch', file: recording.name, line, what, expected, got });
    if (index < SHOWN_MAX && !output.json)
      output.line(
        `${name}:${line}: ${output.style('red', 'mismatch')}: ${what}: expected ${expected}, got ${got}`,
      );
  }
  if (output.json) {
    output.event({ event: 'file', file: recording.name, ...result, found: undefined });
    return;
  }
  const shown = Math.min(result.found.length, SHOWN_MAX);
  if (result.mismatches > shown)
    output.line(
      `${name}: and ${formatNoun(result.mismatches - shown, 'more mismatch', 'more mismatches')}`,
    );
  const kinds = KINDS.filter((kind) => counts[kind] > 0).map(
    (kind) => `${formatCount(counts[kind])} ${kind.toUpperCase()}`,
  );
  output.heading(name);
  for (const remark of recording.remarks) output.line(`  ${printable(remark)}`);
  reportFigures(result, kinds.join(', '), output);
}

function reportFigures(
  figures: Pick<ReplayResult, 'requests' | 'accesses' | 'mismatches' | 'notifications' | 'seconds'>,
  kinds: string,
  output: Output,
): void {
  const { requests, accesses, mismatches, notifications, seconds } = figures;
  const ratio = notifications === 0 ? '' : `${(requests / notifications).toFixed(2)} requests each`;
  output.table(
    [
      { title: '', align: 'left' },
      { title: '', align: 'right' },
      { title: '', align: 'left' },
    ],
    [
      ['requests', formatCount(requests), kinds],
      ['notifications', formatCount(notifications), ratio],
      ['accesses', formatCount(accesses), ''],
      ['seconds', seconds.toFixed(2), `${formatCount(perSecond(requests, seconds))} requests/s`],
    ],
  );
  output.line(
    mismatches === 0
      ? `  ${output.style('green', 'every answer is as recorded')}`
      : `  ${output.style('red', formatNoun(mismatches, 'answer is', 'answers are'))} not as recorded`,
  );
}

function reportTotal(total: Total, seconds: number, output: Output): void {
  if (output.json) return;
  output.heading(`${formatNoun(total.files, 'recording')} together`);
  const { requests, accesses, mismatches, notifications } = total;
  reportFigures({ requests, accesses, mismatches, notifications, seconds }, '', output);
}

function perSecond(count: number, seconds: number): number {
  return seconds > 0 ? Math.round(count / seconds) : 0;
}
