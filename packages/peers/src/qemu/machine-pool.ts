/** Machines that are kept between tests: a reset of the machine takes a twentieth of the time of a start. */

import type { QemuMachine } from './machine.ts';

/** Machines that wait for their next test; each takes some 30 MB. */
const IDLE_MAX = 6;
/** What a process may have left when it is given away; no test of a fuzzer takes half of that. */
const AGE_MS_MAX = 300_000;
/** The life of a machine that is kept. */
export const KEPT_LIFE_MS: number = 2 * AGE_MS_MAX;

/** Keeps machines by what is special about them. */
export class MachinePool {
  readonly #start: (options: Readonly<Record<string, string>>) => QemuMachine;
  /** Those that wait, the longest first. */
  readonly #idle: Map<string, QemuMachine> = new Map();

  /** `start` starts a machine whose IOMMU has these options. */
  constructor(start: (options: Readonly<Record<string, string>>) => QemuMachine) {
    this.#start = start;
  }

  /** A machine that was just reset or started. */
  take(options: Readonly<Record<string, string>>): QemuMachine {
    const key = keyOf(options);
    const idle = this.#idle.get(key);
    this.#idle.delete(key);
    if (idle !== undefined) {
      try {
        idle.memory.clear();
        idle.reset();
        return idle;
      } catch {
        // Whatever it has: the one before it did that, and another starts afresh.
        idle.dispose();
      }
    }
    return this.#start(options);
  }

  /** Takes back what {@link take} gave. */
  give(options: Readonly<Record<string, string>>, machine: QemuMachine): void {
    const key = keyOf(options);
    const { isLost, ageMs } = machine.process;
    if (isLost || ageMs > AGE_MS_MAX || this.#idle.has(key)) {
      machine.dispose();
      return;
    }
    this.#idle.set(key, machine);
    const [[oldest, least] = []] = this.#idle;
    if (this.#idle.size <= IDLE_MAX || oldest === undefined) return;
    this.#idle.delete(oldest);
    least?.dispose();
  }

  close(): void {
    for (const machine of this.#idle.values()) machine.dispose();
    this.#idle.clear();
  }
}

function keyOf(options: Readonly<Record<string, string>>): string {
  return Object.entries(options).map(String).toSorted().join();
}
