/** What `--target` names. */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { TargetSpec } from '@viommu/conformance/node';
import { usageFailure } from '../failure.ts';

/** The device if nothing is said. */
export const DEFAULT_TARGET = 'worker';

/** Where the suite finds the target. @throws {Failure} if there is no such thing. */
export function targetSpec(name: string): TargetSpec {
  if (name === 'core' || name === 'worker') return { module: name };
  if (/^qemu(?::|$)/.test(name))
    return { module: import.meta.resolve('@viommu/peers'), export: 'qemuTarget', argument: name };
  if (!existsSync(name) || !/\.[cm]?[jt]s$/.test(name))
    throw usageFailure(
      `there is no target ${name}; take core, worker, qemu, qemu:PATH or a module that exports one`,
    );
  return { module: pathToFileURL(resolve(name)).href };
}
