/** What `--target` names. */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Side } from '@viommu/conformance';
import type { TargetSpec } from '@viommu/conformance/node';
import { usageFailure } from '../failure.ts';

/** The target if nothing is said. */
export const DEFAULT_TARGET: Readonly<Record<Side, string>> = { device: 'worker', driver: 'core' };

/** Where the suite finds the target. @throws {Failure} if there is no such thing. */
export function targetSpec(name: string, side: Side): TargetSpec {
  if (name === 'core' || (name === 'worker' && side === 'device')) return { module: name };
  if (/^qemu(?::|$)/.test(name) && side === 'device')
    return { module: import.meta.resolve('@viommu/peers'), export: 'qemuTarget', argument: name };
  if (!existsSync(name) || !/\.[cm]?[jt]s$/.test(name))
    throw usageFailure(
      side === 'device'
        ? `there is no target ${name}; take core, worker, qemu, qemu:PATH or a module that exports one`
        : `there is no driver ${name}; take core or a module that exports one`,
    );
  return { module: pathToFileURL(resolve(name)).href };
}
