/** What the guest program of a workload is given, and what it says. */

import type { SystemOptions } from '../guest-system.ts';
import type { WorkloadName } from './pattern.ts';

/** The disk's name in machines for this program. */
export const WORKLOAD_DISK = 'disk';

/** What the program gets as `args`. */
export interface WorkloadArgs {
  /** The words of a {@link WorkloadGate}; every machine has its place there. */
  readonly gate: SharedArrayBuffer;
  readonly place: number;
  readonly system: SystemOptions;
  readonly workload: WorkloadName;
  /** Bytes of a request: a multiple of 512. */
  readonly blockBytes: number;
  /** Requests in flight. */
  readonly depth: number;
  /** Any number but 0, of 32 bits. */
  readonly seed: number;
}

/** What was counted since the report before. */
export interface WorkloadFigures {
  readonly elapsedMs: number;
  readonly requests: number;
  readonly bytes: number;
  /** From the mapping of a request's memory to the moment when it is the guest's again. */
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** Requests to the IOMMU, and doorbells rung for them. */
  readonly iommuRequests: number;
  readonly iommuNotifications: number;
  /** Doorbells rung at the disk. */
  readonly diskNotifications: number;
  /** Flushes of flush queues. */
  readonly flushes: number;
  /** Bytes copied because of bounce buffers. */
  readonly bouncedBytes: number;
  /** Faults that the IOMMU reported. */
  readonly faults: number;
  /** Requests that failed. */
  readonly errors: number;
  /** Sectors that were read, and those of them with other bytes than were written last. */
  readonly sectorsChecked: number;
  readonly mismatches: number;
}

/** What the program reports: after each task once. */
export interface WorkloadEvent {
  readonly workload: 'ready' | 'filled' | 'window' | 'verified';
  readonly figures: WorkloadFigures;
}
