/**
 * Machines that work in turn, one at a time, in windows of some tens of milliseconds: what the computer did to one of
 * them it most likely did to its neighbours.
 */

import type { Policy, WorkloadFigures } from '@viommu/machine';
import { PolicyRecord, rateOf } from './policy-figure.ts';

const WINDOW_MS = 240;
/** A machine is warm once so many windows in a row were not faster than the best before, by this factor. */
const WARM_WINDOWS = 3;
const WARM_WINDOWS_MAX = 15;
const FASTER = 1.03;
/** The yardstick. */
const YARDSTICK: Policy = 'direct';

/** What can take part: each call works and is fulfilled when nothing is in flight any more. */
export interface Contestant {
  readonly policy: Policy;
  fill(): Promise<WorkloadFigures>;
  window(milliseconds: number): Promise<WorkloadFigures>;
  verify(): Promise<WorkloadFigures>;
}

/** What is told while it goes on. */
export interface ContestWatch {
  readonly signal: AbortSignal;
  /** What is going on, and how much of it is done. */
  readonly onProgress: (what: string, share: number) => void;
}

/** Machines and what they did so far. */
export class PolicyContest {
  readonly records: readonly PolicyRecord[];
  readonly #machines: readonly Contestant[];
  readonly #watch: ContestWatch;

  constructor(machines: readonly Contestant[], watch: ContestWatch) {
    this.#machines = machines;
    this.#watch = watch;
    this.records = machines.map(({ policy }) => new PolicyRecord(policy));
  }

  /** Fills the disks, warms up, measures for so long, and reads all disks again. Ends early if the signal says so. */
  async run(seconds: number): Promise<void> {
    await this.#each('filling', async (machine, record) => record.add(await machine.fill()));
    const share = (1000 * seconds) / WINDOW_MS / this.#machines.length;
    const windows = Math.ceil(Math.min(WARM_WINDOWS_MAX, share));
    await this.#each('warming up', (machine, record) => this.#warmUp(machine, record, windows));
    await this.#measure(seconds);
    await this.#each('verifying', async (machine, record) => record.add(await machine.verify()));
  }

  async #each(
    what: string,
    work: (machine: Contestant, record: PolicyRecord) => Promise<void>,
  ): Promise<void> {
    for (const [index, machine] of this.#machines.entries()) {
      if (this.#watch.signal.aborted) return;
      this.#watch.onProgress(`${what} ${machine.policy}`, index / this.#machines.length);
      await work(machine, this.#recordOf(index));
    }
  }

  async #warmUp(machine: Contestant, record: PolicyRecord, windows: number): Promise<void> {
    let best = 0;
    for (let window = 0, steady = 0; window < windows && steady < WARM_WINDOWS; window += 1) {
      if (this.#watch.signal.aborted) return;
      const figures = await machine.window(WINDOW_MS);
      record.add(figures);
      const rate = rateOf(figures);
      steady = rate < best * FASTER ? steady + 1 : 0;
      best = Math.max(best, rate);
    }
  }

  async #measure(seconds: number): Promise<void> {
    const begun = performance.now();
    const share = (): number => (performance.now() - begun) / (1000 * seconds);
    const yardstick = this.#machines.findIndex(({ policy }) => policy === YARDSTICK);
    const others = [...this.#machines.keys()].filter((index) => index !== yardstick);
    if (yardstick < 0 || others.length === 0) {
      for (let round = 0; round === 0 || share() < 1; round += 1)
        for (const index of this.#machines.keys())
          if ((await this.#window(index, share())) === 0) return;
      return;
    }
    let before = await this.#window(yardstick, 0);
    // Rounds are whole, so that none gets more than its share of a bad time.
    for (let round = 0; round === 0 || share() < 1; round += 1)
      for (let turn = 0; turn < others.length; turn += 1) {
        const index = others[(turn + round) % others.length]!; // Below the length.
        const rate = await this.#window(index, share());
        const after = rate && (await this.#window(yardstick, share()));
        if (!after || !rate || !before) return;
        this.#recordOf(index).ratios.push(rate / Math.sqrt(before * after));
        before = after;
      }
  }

  /** Measures one window; returns its rate, or 0 if it is time to end. */
  async #window(index: number, share: number): Promise<number> {
    if (this.#watch.signal.aborted) return 0;
    const machine = this.#machines[index]!; // One of them.
    this.#watch.onProgress('measuring', share);
    const figures = await machine.window(WINDOW_MS);
    const record = this.#recordOf(index);
    record.add(figures);
    record.windows.push(figures);
    return rateOf(figures);
  }

  #recordOf(index: number): PolicyRecord {
    return this.records[index]!; // There is one for each machine.
  }
}
