/**
 * A machine on Node: two worker threads, one SharedArrayBuffer, and a creator that sees to it that both end.
 *
 * The creator's own thread never blocks. Whatever goes wrong, on either side or in here, becomes the one rejection of
 * `run`, and both workers are gone when it settles.
 */

import { performance } from 'node:perf_hooks';
import { IommuError } from '@viommu/common';
import { Interruption, type InterruptionOptions } from './interruption.ts';
import { MemoryMap } from './memory-map.ts';
import {
  type GuestSettings,
  type HostSettings,
  type MachineOptions,
  type MachineSettings,
  deviceOptions,
  settingsOf,
} from './options.ts';
import { locateProgram } from './program.ts';
import { type MachineStatistics, readStatistics } from './statistics.ts';
import { type Listener, type Outcome, WorkerThread, within } from './worker-thread.ts';

export { nodeRecordFile, type NodeRecordFile } from './record-file.ts';

const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** The guest program that `viommu run` runs if it is given none. */
export const DEMONSTRATION: URL = new URL(`./demonstration.${EXTENSION}`, import.meta.url);

/** The guest program of `viommu run --policy`: see `WorkloadArgs`. */
export const WORKLOAD: URL = new URL(`./workload/program.${EXTENSION}`, import.meta.url);

/** How long a worker that was asked to end may take before it is ended. */
const GRACE_MS = 500;
/** How long the host may take after a guest program that ended well, with a listener that has much to write. */
const HOST_END_MS = 2000;
/** How long the listener may take with what is left once the workers are gone. */
const DRAIN_MS = 1000;

/** A machine for Node: its options, and what only a creator on Node can have. */
export interface NodeMachineOptions extends MachineOptions, Listener, InterruptionOptions {
  /** The guest program: a module whose default function takes the `GuestContext`. A path, or a URL. */
  readonly program: URL | string;
}

/** How a run ended well. */
export interface MachineResult {
  /** What the guest program returned. */
  readonly value: unknown;
  /** From the start of the workers to the end of the guest program. */
  readonly seconds: number;
  readonly statistics: MachineStatistics;
}

/** Two workers around one memory. */
export interface Machine {
  /** The plan of {@link buffer}. */
  readonly map: MemoryMap;
  /** Everything the two sides share. */
  readonly buffer: SharedArrayBuffer;
  /**
   * Starts the workers and runs the guest program to its end. Once only.
   *
   * @throws {IommuError} the guest program's code, or `ESHUTDOWN` for other errors, with its error as the cause;
   * `ENOENT` or `EINVAL` if there is no such program, or it has no default function; `ESHUTDOWN` if a worker ended, or
   * the machine was stopped or aborted; `ETIMEDOUT` after `timeoutMs`; `EBUSY` if it was run before.
   */
  run(): Promise<MachineResult>;
  /** Asks the guest program to end, and ends it if it does not. Fulfilled when both workers are gone. */
  stop(): Promise<void>;
  /** What has been counted so far. */
  stats(): MachineStatistics;
}

/**
 * Plans a machine; `run` starts it.
 *
 * @throws {IommuError} `EINVAL` for options that no machine can have.
 */
export function createMachine(options: NodeMachineOptions): Machine {
  return new NodeMachine(options);
}

class NodeMachine implements Machine {
  readonly map: MemoryMap;
  readonly buffer: SharedArrayBuffer;
  readonly #options: NodeMachineOptions;
  readonly #settings: MachineSettings;
  readonly #interruption: Interruption = new Interruption();
  #ended: Promise<unknown> | undefined;

  constructor(options: NodeMachineOptions) {
    this.#options = options;
    this.#settings = settingsOf(options);
    this.#interruption.check(options);
    this.map = new MemoryMap(this.#settings.map);
    this.buffer = this.map.createBuffer();
  }

  run(): Promise<MachineResult> {
    if (this.#ended !== undefined)
      return Promise.reject(new IommuError('EBUSY', 'A machine runs once; create another one.'));
    const run = this.#run();
    this.#ended = run.catch(() => undefined);
    return run;
  }

  async stop(): Promise<void> {
    this.#interruption.raise(new IommuError('ESHUTDOWN', 'The machine was stopped.'), 'gentle');
    await this.#ended;
  }

  stats(): MachineStatistics {
    return readStatistics(this.map.bookkeeping(this.buffer));
  }

  async #run(): Promise<MachineResult> {
    const release = this.#interruption.watch(this.#options);
    const workers: WorkerThread[] = [];
    try {
      const program = await locateProgram(this.#options.program);
      if (this.#interruption.error !== undefined) throw this.#interruption.error;
      const begun = performance.now();
      const host = this.#startHost(workers);
      const guest = this.#startGuest(program, workers);
      const outcome = await this.#outcome(host, guest);
      this.#interruption.stopClock();
      const seconds = (performance.now() - begun) / 1000;
      await this.#end(host, guest, outcome.kind === 'done' ? HOST_END_MS : GRACE_MS);
      if (outcome.kind === 'failed') throw outcome.error;
      await Promise.race([this.#drained(workers), this.#interruption.raised]);
      const hostEnd = await host.outcome;
      if (hostEnd.kind === 'failed') throw hostEnd.error;
      if (this.#interruption.strict) throw this.#interruption.error;
      return { value: outcome.value, seconds, statistics: this.stats() };
    } finally {
      release();
      // Whatever happened, and even if the second worker could not be started.
      await Promise.all(workers.map((worker) => worker.end(0)));
      await within(this.#drained(workers), DRAIN_MS);
    }
  }

  /** Waits for the end of the guest program, or for whatever comes before it. */
  async #outcome(host: WorkerThread, guest: WorkerThread): Promise<Outcome> {
    const interruption = this.#interruption;
    const early = host.outcome.then(tooEarly);
    const first = await Promise.race([guest.outcome, early, interruption.raised]);
    if (interruption.error === undefined) return first;
    this.map.bookkeeping(this.buffer).wantEnd();
    const ended = await within(guest.outcome, GRACE_MS);
    return ended && !interruption.strict ? guest.outcome : interruption.raised;
  }

  /** Ends both workers: first what runs on its own, then what was told to end and does not. */
  async #end(host: WorkerThread, guest: WorkerThread, hostMs: number): Promise<void> {
    this.map.bookkeeping(this.buffer).wantEnd();
    if (!guest.concluded) await guest.end(0);
    this.map.controlPage(this.buffer).stop();
    await Promise.all([guest.end(GRACE_MS), host.end(hostMs)]);
  }

  async #drained(workers: readonly WorkerThread[]): Promise<void> {
    await Promise.all(workers.map((worker) => worker.drained()));
  }

  #startHost(workers: WorkerThread[]): WorkerThread {
    const { device, record = false, hostPolls } = this.#options;
    const data: HostSettings = {
      ...this.#settings,
      buffer: this.buffer,
      device: deviceOptions(device, this.#settings.endpoints),
      record,
      polls: hostPolls,
    };
    return this.#start('host', data, workers);
  }

  #startGuest(program: URL, workers: WorkerThread[]): WorkerThread {
    const { driver = 'automatic', args } = this.#options;
    const data: GuestSettings = {
      ...this.#settings,
      buffer: this.buffer,
      program: program.href,
      driver,
      args,
    };
    return this.#start('guest', data, workers);
  }

  #start(side: 'host' | 'guest', data: unknown, workers: WorkerThread[]): WorkerThread {
    try {
      const worker = new WorkerThread({
        name: `${side} worker`,
        url: new URL(`./${side}-worker.${EXTENSION}`, import.meta.url),
        data,
        messages: this.map.bookkeeping(this.buffer).messages(side),
        listener: this.#options,
        onListenerFailure: (error) =>
          this.#interruption.raise(
            new IommuError('ESHUTDOWN', `The event listener failed: ${String(error)}`, {
              cause: error,
            }),
          ),
      });
      workers.push(worker);
      return worker;
    } catch (error) {
      throw new IommuError('EINVAL', `The ${side} worker cannot be started: ${String(error)}`, {
        cause: error,
      });
    }
  }
}

/** The host works until it is told to end, which it is not before the guest program has ended. */
function tooEarly(outcome: Outcome): Outcome {
  if (outcome.kind === 'failed') return outcome;
  const error = new IommuError('ESHUTDOWN', 'The host worker ended before the guest program did.');
  return { kind: 'failed', error };
}
