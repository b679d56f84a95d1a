/** Runs a guest program of `program/` on a machine of two workers. */

import type { MachineEvent } from '@viommu/machine';
import {
  type Machine,
  type MachineResult,
  type NodeMachineOptions,
  createMachine,
} from '@viommu/machine/node';
import { DEVICE } from './kit/disks.ts';

export interface Run extends MachineResult {
  readonly machine: Machine;
  /** What was reported, in order. */
  readonly reports: readonly Readonly<Record<string, unknown>>[];
}

/** Runs `program/<name>.ts` to its end. */
export async function run(
  name: string,
  options: Partial<NodeMachineOptions>,
  onReport?: (report: Readonly<Record<string, unknown>>, machine: Machine) => void,
): Promise<Run> {
  const reports: Readonly<Record<string, unknown>>[] = [];
  const machine = createMachine({
    program: new URL(`./program/${name}.ts`, import.meta.url),
    memoryBytes: 16 << 20,
    driver: 'manual',
    timeoutMs: 55_000,
    device: DEVICE,
    onEvent(event: MachineEvent) {
      if (event.type !== 'report') return;
      reports.push(event.event);
      onReport?.(event.event, machine);
    },
    ...options,
  });
  const result = await machine.run();
  return { ...result, machine, reports };
}

/** The address of an endpoint's module. */
export function moduleOf(name: string): URL {
  return new URL(`./endpoint/${name}.ts`, import.meta.url);
}
