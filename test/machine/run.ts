/** Runs a guest program of `program/` on a machine with two copy engines. */

import type { EndpointOptions, MachineEvent } from '@viommu/machine';
import { type MachineResult, type NodeMachineOptions, createMachine } from '@viommu/machine/node';

/** The endpoints that every machine of these tests has. */
export const ENGINES: Readonly<Record<string, EndpointOptions>> = {
  first: { kind: 'copy', id: 8 },
  second: { kind: 'copy', id: 9 },
};

export interface Run extends MachineResult {
  readonly events: readonly MachineEvent[];
  /** What was reported, in order. */
  readonly reports: readonly Readonly<Record<string, unknown>>[];
}

/** Runs `program/<name>.ts` to its end. */
export async function run(name: string, options: Partial<NodeMachineOptions> = {}): Promise<Run> {
  const events: MachineEvent[] = [];
  const machine = createMachine({
    program: new URL(`./program/${name}.ts`, import.meta.url),
    endpoints: ENGINES,
    memoryBytes: 8 << 20,
    timeoutMs: 50_000,
    onEvent: (event) => void events.push(event),
    ...options,
  });
  const result = await machine.run();
  const reports = events.flatMap((event) => (event.type === 'report' ? [event.event] : []));
  return { ...result, events, reports };
}

/** The lines of a recorded run. */
export function linesOf({ events }: Run): string[] {
  return events.flatMap((event) => (event.type === 'record' ? event.lines : []));
}
