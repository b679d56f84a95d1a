/** The guest program of `viommu run --policy`: boots a kernel, drives its disk, and does what the gate tells it. */

import type { GuestContext } from '../guest.ts';
import { GuestSystem } from '../guest-system.ts';
import { WorkloadGate, WorkloadTask } from './gate.ts';
import {
  WORKLOAD_DISK,
  type WorkloadArgs,
  type WorkloadEvent,
  type WorkloadFigures,
} from './report.ts';
import { Workload } from './workload.ts';

const SETTLE_MS = 60;

/** @throws {IommuError} `EIO` if the disk stands still; as `GuestSystem` and its disk. */
export default function work(context: GuestContext): void {
  const args = context.args as WorkloadArgs; // What the creator of such a machine passes.
  const { place, workload: name } = args;
  const gate = new WorkloadGate(args.gate);
  const counted = new Counted(context, args);
  const report = (workload: WorkloadEvent['workload'], elapsedMs: number): void => {
    const event: WorkloadEvent = { workload, figures: counted.take(elapsedMs) };
    context.report({ ...event });
  };
  report('ready', 0);
  for (;;) {
    const task = gate.next(place, context.stopped);
    let begun = context.clock.now();
    if (task === WorkloadTask.END) return;
    if (task === WorkloadTask.WINDOW) {
      // Two threads that were asleep may share a processor at first.
      counted.workload.run(name, SETTLE_MS);
      begun = context.clock.now();
      counted.settled();
      counted.workload.run(name, gate.windowMs(place));
    } else counted.workload.sweep(task === WorkloadTask.FILL ? 'write' : 'read');
    const elapsedMs = context.clock.now() - begun;
    if (task === WorkloadTask.WINDOW) report('window', elapsedMs);
    else report(task === WorkloadTask.FILL ? 'filled' : 'verified', elapsedMs);
  }
}

type Totals = Omit<WorkloadFigures, 'elapsedMs' | 'bytes' | 'p50Us' | 'p95Us' | 'p99Us' | 'maxUs'>;

/** A workload, and what the parts of its guest count. */
class Counted {
  readonly workload: Workload;
  readonly #context: GuestContext;
  readonly #system: GuestSystem;
  readonly #disk: ReturnType<GuestSystem['plugDisk']>;
  readonly #usesIommu: boolean;
  readonly #blockBytes: number;
  #faults = 0;
  #last: Totals;

  constructor(context: GuestContext, { system: options, blockBytes, depth, seed }: WorkloadArgs) {
    const system = new GuestSystem(context, {
      ...options,
      driver: { ...options.driver, onFault: () => (this.#faults += 1) },
    });
    this.#context = context;
    this.#system = system;
    this.#usesIommu = options.iommu !== false;
    this.#blockBytes = blockBytes;
    this.#disk = system.plugDisk(WORKLOAD_DISK, { depth });
    const { driver } = this.#disk;
    if (driver === undefined) throw new Error('The disk has no driver.');
    const { memory, clock } = context;
    const bytes = memory.bytes(memory.base, memory.size);
    const ram = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const parts = { system, driver, clock, ram };
    this.workload = new Workload({ ...parts, blockBytes, depth, seed, tokens: depth });
    this.#last = this.#totals();
  }

  /** What was counted since the last call. */
  take(elapsedMs: number): WorkloadFigures {
    if (this.#usesIommu) while (this.#system.driver.serveEvents() > 0);
    const totals = this.#totals();
    const last = this.#last;
    this.#last = totals;
    const { latency } = this.workload;
    const figures: WorkloadFigures = {
      elapsedMs,
      requests: totals.requests - last.requests,
      bytes: (totals.requests - last.requests) * this.#blockBytes,
      p50Us: latency.percentile(0.5),
      p95Us: latency.percentile(0.95),
      p99Us: latency.percentile(0.99),
      maxUs: latency.maxUs,
      iommuRequests: totals.iommuRequests - last.iommuRequests,
      iommuNotifications: totals.iommuNotifications - last.iommuNotifications,
      diskNotifications: totals.diskNotifications - last.diskNotifications,
      flushes: totals.flushes - last.flushes,
      bouncedBytes: totals.bouncedBytes - last.bouncedBytes,
      faults: totals.faults - last.faults,
      errors: totals.errors - last.errors,
      sectorsChecked: totals.sectorsChecked - last.sectorsChecked,
      mismatches: totals.mismatches - last.mismatches,
    };
    latency.clear();
    return figures;
  }

  /** What was counted so far does not count, but for what went wrong. */
  settled(): void {
    const { faults, errors, sectorsChecked, mismatches } = this.#last;
    this.#last = { ...this.#totals(), faults, errors, sectorsChecked, mismatches };
    this.workload.latency.clear();
  }

  #totals(): Totals {
    const { requests, errors, sectorsChecked, mismatches } = this.workload;
    const { device, driver } = this.#disk;
    const queue = device.group?.domain?.cookie?.flushQueue;
    return {
      requests,
      iommuRequests: this.#usesIommu ? this.#system.driver.requests.added : 0,
      iommuNotifications: this.#usesIommu ? this.#context.transport.notifications : 0,
      diskNotifications: driver?.notifications ?? 0,
      flushes: queue?.flushesStarted ?? 0,
      bouncedBytes: this.#system.pool?.bytesCopied ?? 0,
      faults: this.#faults,
      errors,
      sectorsChecked,
      mismatches,
    };
  }
}
