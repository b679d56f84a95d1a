/** One endpoint that keeps trying, under one policy after the other. */

import { type GuestContext, GuestSystem } from '@viommu/machine';
import { type Reached, reach, withProber } from '../kit/reach.ts';

export const PROBER = 40;

export interface ReachArgs {
  /** Maps and unmaps under each policy. */
  readonly operations: number;
  readonly commandLines: readonly string[];
}

export default function program(context: GuestContext): Reached[] {
  const { operations, commandLines } = context.args as ReachArgs; // What the test passes.
  return commandLines.map((commandLine) => {
    const amend = withProber(PROBER);
    const system = new GuestSystem(context, { commandLine, tree: { amend } });
    return reach(context, system, operations);
  });
}
