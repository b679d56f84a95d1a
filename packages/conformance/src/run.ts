/** Runs the suite: every case against a target of its own, one after the other. */

import { type DeviceCase, UNREACHABLE_CASES } from './case.ts';
import { type Summary, summarize } from './coverage.ts';
import { DEVICE_CASES } from './device/suite.ts';
import type { RingFormat } from './device/start.ts';
import { type Manifest, mark, vanished } from './manifest.ts';
import { runCase } from './run-case.ts';
import type { DeviceTargetFactory } from './target.ts';
import type { CaseResult } from './verdict.ts';

export interface ConformanceOptions {
  /** Only cases whose id begins with this. */
  readonly only?: string | undefined;
  /** Default all cases on the device's side. */
  readonly cases?: readonly DeviceCase[];
  /** Default split. */
  readonly format?: RingFormat | undefined;
  /** Divergences that are known. */
  readonly manifest?: Manifest | undefined;
  /** Called with each result as it is there. */
  readonly onResult?: ((result: CaseResult, done: number, total: number) => void) | undefined;
  /** Seconds on any clock; without one no case takes any time. */
  readonly now?: () => number;
  /** Ends the run between two cases, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What a run found. */
export interface ConformanceReport {
  readonly target: string;
  readonly results: readonly CaseResult[];
  /** Ids that a manifest lists as divergent and that are not any more. */
  readonly vanished: readonly string[];
  readonly summary: Summary;
  /** False if something fails that no manifest lists. */
  readonly conforms: boolean;
}

/** The cases that a run has. */
export function casesOf({ only = '', cases }: ConformanceOptions): DeviceCase[] {
  return (cases ?? [...DEVICE_CASES, ...UNREACHABLE_CASES]).filter(({ id }) => id.startsWith(only));
}

/**
 * Runs the suite against a device in this thread. A device that never returns hangs the caller: `runInThreads` of
 * `@viommu/conformance/node` has a bound for that.
 */
export async function runConformance(
  factory: DeviceTargetFactory,
  options: ConformanceOptions = {},
): Promise<ConformanceReport> {
  const {
    format = 'split',
    now = () => 0,
    signal,
    onResult,
    manifest = factory.manifest,
  } = options;
  const cases = casesOf(options);
  const results: CaseResult[] = [];
  for (const one of cases) {
    signal?.throwIfAborted();
    const result = mark(await runCase(one, factory, { format, now }), manifest);
    results.push(result);
    onResult?.(result, results.length, cases.length);
  }
  return reportOf(factory.name, results, { ...options, manifest });
}

/** The report on a complete run. */
export function reportOf(
  target: string,
  results: readonly CaseResult[],
  { manifest, only = '' }: ConformanceOptions,
): ConformanceReport {
  const isNew = ({ result, expected }: CaseResult): boolean =>
    expected !== true && (result === 'fail' || (manifest !== undefined && result === 'warn'));
  return {
    target,
    results,
    vanished: vanished(results, manifest),
    summary: summarize(results, only),
    conforms: !results.some(isNew),
  };
}
