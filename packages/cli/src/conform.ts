/** `viommu conform`: the suite against one or more devices, or drivers. */

import { readFileSync, writeFileSync } from 'node:fs';
import { IommuError } from '@viommu/common';
import {
  type ConformanceReport,
  type Manifest,
  type RingFormat,
  type Side,
  caseEvent,
  casesOf,
  closingEvents,
  driverCasesOf,
  htmlOf,
  junitOf,
  readManifest,
} from '@viommu/conformance';
import { runInThreads } from '@viommu/conformance/node';
import { monitor } from './conform/monitor.ts';
import { printReport } from './conform/print.ts';
import { DEFAULT_TARGET, targetSpec } from './conform/target.ts';
import { ExitCode, usageFailure } from './failure.ts';
import type { Output } from './output.ts';
import { Progress } from './progress.ts';

export interface ConformOptions {
  /** Whose clauses; the device's if not given. */
  readonly side?: Side;
  /** `worker`, `core`, `qemu`, `qemu:PATH` or a module; several are run one after the other. */
  readonly target?: readonly string[];
  /** Only cases whose id begins with this. */
  readonly only?: string;
  /** Names the cases, and runs none. */
  readonly list?: true;
  /** Files to write reports to. */
  readonly junit?: string;
  readonly html?: string;
  /** A file with known divergences. */
  readonly manifest?: string;
  readonly ring?: RingFormat;
  readonly threads?: number;
  /** A recording whose driver is judged, in place of running one. */
  readonly monitor?: string;
}

/** Runs the suite; the result is the exit code. */
export async function conform(
  options: ConformOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { side = 'device', only } = options;
  if (options.monitor !== undefined)
    return watchRecording(options.monitor, options, output, signal);
  const cases = side === 'device' ? casesOf({ only }) : driverCasesOf({ only });
  if (cases.length === 0) throw usageFailure(`no case begins with ${only}; see --list`);
  if (options.list === true) {
    for (const { id, level, title, section } of cases) {
      output.event({ event: 'listed', id, level, title, section });
      if (!output.json) output.line(`${id}  ${level}  ${title}`);
    }
    return ExitCode.OK;
  }
  // Before anything runs: what is misspelt is said at once.
  const specs = (options.target ?? [DEFAULT_TARGET[side]]).map((name) => targetSpec(name, side));
  const manifest = options.manifest === undefined ? undefined : manifestOf(options.manifest);
  const reports: ConformanceReport[] = [];
  for (const spec of specs) {
    const begun = performance.now();
    let state = 'starting';
    const progress = new Progress(output.notes, () => state);
    const report = await runInThreads(spec, {
      side,
      only,
      format: options.ring,
      threads: options.threads,
      manifest,
      signal,
      onResult: (result, done, total) => {
        state = `${done} of ${total}: ${result.id}`;
        output.event(caseEvent(result));
      },
    })
      .catch((error: unknown) => {
        // The target is what was asked for: wrong usage rather than a device that falls short.
        if (error instanceof IommuError) throw usageFailure(error.message);
        throw error;
      })
      .finally(() => progress.end());
    const seconds = (performance.now() - begun) / 1000;
    for (const event of closingEvents(report, seconds)) output.event(event);
    if (!output.json) printReport(report, seconds, output);
    reports.push(report);
  }
  if (options.junit !== undefined) write(options.junit, junitOf(reports));
  if (options.html !== undefined) write(options.html, htmlOf(reports));
  return reports.every(({ conforms }) => conforms) ? ExitCode.OK : ExitCode.FAILED;
}

/** The driver of a recording. */
async function watchRecording(
  file: string,
  { side, junit, html }: ConformOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  if (side !== 'driver') throw usageFailure('--monitor judges a driver; add --side driver');
  const begun = performance.now();
  const report = await monitor(file, output, signal);
  const seconds = (performance.now() - begun) / 1000;
  for (const event of closingEvents(report, seconds)) output.event(event);
  if (!output.json) printReport(report, seconds, output);
  if (junit !== undefined) write(junit, junitOf([report]));
  if (html !== undefined) write(html, htmlOf([report]));
  return report.conforms ? ExitCode.OK : ExitCode.FAILED;
}

function manifestOf(file: string): Manifest {
  try {
    return readManifest(readFileSync(file, 'utf8'));
  } catch (error) {
    throw usageFailure(`${file} is no manifest: ${messageOf(error)}`);
  }
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw usageFailure(`${file} cannot be written: ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
