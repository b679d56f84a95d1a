/** What many windows come to: medians, never means, since a window that the machine disturbed must not move a figure. */

import type { Policy, WorkloadFigures } from '@viommu/machine';

/** Everything that one policy did. */
export class PolicyRecord {
  readonly policy: Policy;
  /** The measured windows. */
  readonly windows: WorkloadFigures[] = [];
  /** Rates of windows as parts of those of `direct` just before and after. */
  readonly ratios: number[] = [];
  /** Of everything, measured or not. */
  errors = 0;
  faults = 0;
  mismatches = 0;
  sectorsChecked = 0;

  constructor(policy: Policy) {
    this.policy = policy;
  }

  /** Counts what has to be right in any case. */
  add({ errors, faults, mismatches, sectorsChecked }: WorkloadFigures): void {
    this.errors += errors;
    this.faults += faults;
    this.mismatches += mismatches;
    this.sectorsChecked += sectorsChecked;
  }

  /** What it comes to; `undefined` if nothing was measured. */
  result(): PolicyResult | undefined {
    const { windows, ratios } = this;
    if (windows.length === 0) return undefined;
    const medianOf = (of: (window: WorkloadFigures) => number): number =>
      percentile(windows.map(of), 0.5);
    const sum = (of: (window: WorkloadFigures) => number): number =>
      windows.reduce((total, window) => total + of(window), 0);
    return {
      policy: this.policy,
      windows: windows.length,
      requestsPerSecond: medianOf(rateOf),
      bytesPerSecond: medianOf(({ bytes, elapsedMs }) => (1000 * bytes) / elapsedMs),
      ratio: ratios.length === 0 ? undefined : percentile(ratios, 0.5),
      quartiles:
        ratios.length === 0 ? undefined : [percentile(ratios, 0.25), percentile(ratios, 0.75)],
      p50Us: medianOf(({ p50Us }) => p50Us),
      p95Us: medianOf(({ p95Us }) => p95Us),
      p99Us: medianOf(({ p99Us }) => p99Us),
      maxUs: windows.reduce((most, { maxUs }) => Math.max(most, maxUs), 0),
      requests: sum(({ requests }) => requests),
      iommuRequests: sum(({ iommuRequests }) => iommuRequests),
      iommuNotifications: sum(({ iommuNotifications }) => iommuNotifications),
      diskNotifications: sum(({ diskNotifications }) => diskNotifications),
      flushes: sum(({ flushes }) => flushes),
      bouncedBytes: sum(({ bouncedBytes }) => bouncedBytes),
      faults: this.faults,
      errors: this.errors,
      sectorsChecked: this.sectorsChecked,
      mismatches: this.mismatches,
    };
  }
}

/** Figures of one policy. Counts are those of the measured windows, but for the last four. */
export interface PolicyResult extends Omit<WorkloadFigures, 'elapsedMs' | 'bytes'> {
  readonly policy: Policy;
  readonly windows: number;
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  /** To `direct`, with the quartiles of the windows. */
  readonly ratio: number | undefined;
  readonly quartiles: readonly [number, number] | undefined;
}

/** Requests per second. */
export function rateOf({ requests, elapsedMs }: WorkloadFigures): number {
  return (1000 * requests) / elapsedMs;
}

/** The value below which a share 0..1 of the samples lies; NaN without samples. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
