/** One machine under one policy: it sleeps until it is told to work. */

import {
  POLICY_SETUPS,
  type Policy,
  WORKLOAD_DISK,
  type WorkloadArgs,
  type WorkloadEvent,
  type WorkloadFigures,
  type WorkloadGate,
  WorkloadTask,
} from '@viommu/machine';
import { type Machine, WORKLOAD, createMachine } from '@viommu/machine/node';
import type { Contestant } from './policy-contest.ts';
import type { PolicyOptions } from './policy-option.ts';

/** The guest's program, which the machine runs. */
export class PolicyMachine implements Contestant {
  readonly policy: Policy;
  readonly #place: number;
  readonly #gate: WorkloadGate;
  readonly #machine: Machine;
  /** Fulfilled with the next report, rejected if the machine ends before it. */
  #reported: (figures: WorkloadFigures) => void = () => undefined;
  #next: Promise<WorkloadFigures>;
  readonly #ended: Promise<never>;

  /** Starts the machine. `file` is its disk, in memory if absent. */
  constructor(
    policy: Policy,
    place: number,
    gate: WorkloadGate,
    options: PolicyOptions,
    file: string | undefined,
    onLog: (text: string) => void,
  ) {
    this.policy = policy;
    this.#place = place;
    this.#gate = gate;
    const { disk, system } = POLICY_SETUPS[policy];
    const { workload, blockBytes, depth, diskBytes, ramBytes, ring } = options;
    const features = { packed: ring === 'packed' };
    const args: WorkloadArgs = {
      gate: gate.buffer,
      place,
      system,
      workload,
      blockBytes,
      depth,
      seed: SEED + place,
    };
    this.#machine = createMachine({
      program: WORKLOAD,
      memoryBytes: ramBytes,
      driver: 'manual',
      device: { features, inputRange: INPUT_RANGE, bypass: true },
      endpoints: {
        [WORKLOAD_DISK]: {
          kind: 'disk',
          ...disk,
          sizeBytes: diskBytes,
          features,
          ...(file !== undefined && { file }),
        },
      },
      args,
      onEvent: (event) => {
        if (event.type === 'log') onLog(event.text);
        // Of our program: it reports nothing else.
        else if (event.type === 'report') this.#take(event.event as unknown as WorkloadEvent);
      },
    });
    this.#next = this.#promise();
    this.#ended = this.#machine.run().then(
      () => Promise.reject(new Error('The guest ended.')),
      (error: unknown) => Promise.reject(error as Error), // A machine fails with errors.
    );
    this.#ended.catch(() => undefined);
  }

  /** Fulfilled when the guest is up. @throws as the machine, if it breaks down, here and in all others. */
  ready(): Promise<WorkloadFigures> {
    return Promise.race([this.#next, this.#ended]);
  }

  /** Writes every block. */
  fill(): Promise<WorkloadFigures> {
    return this.#order(WorkloadTask.FILL, 0);
  }

  /** Works for so long. */
  window(milliseconds: number): Promise<WorkloadFigures> {
    return this.#order(WorkloadTask.WINDOW, milliseconds);
  }

  /** Reads every block. */
  verify(): Promise<WorkloadFigures> {
    return this.#order(WorkloadTask.VERIFY, 0);
  }

  /** Ends the machine, whatever it does. */
  async end(): Promise<void> {
    this.#gate.order(this.#place, WorkloadTask.END);
    await this.#machine.stop();
  }

  #order(task: WorkloadTask, milliseconds: number): Promise<WorkloadFigures> {
    this.#next = this.#promise();
    this.#gate.order(this.#place, task, milliseconds);
    return Promise.race([this.#next, this.#ended]);
  }

  #promise(): Promise<WorkloadFigures> {
    return new Promise((resolve) => {
      this.#reported = resolve;
    });
  }

  #take({ figures }: WorkloadEvent): void {
    this.#reported(figures);
  }
}

/** As many address bits as some hardware has. Page numbers of more than 31 bits would be objects. */
const INPUT_RANGE = { start: 0n, last: (1n << 42n) - 1n };
/** Runs are alike; and no disk takes another one's blocks for its own. */
const SEED = 0x76_6d_6d;
