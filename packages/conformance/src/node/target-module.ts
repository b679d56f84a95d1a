/** Targets by name: the built-in ones, and modules that somebody else wrote. */

import { IommuError } from '@viommu/common';
import type { DeviceTarget, DeviceTargetFactory } from '../target.ts';
import { coreTarget } from '../targets/core.ts';
import { overrideTarget } from '../targets/override.ts';
import { workerTarget } from '../targets/worker.ts';

/** What can be sent to a thread, and loaded there. */
export interface TargetSpec {
  /** `core`, `worker`, or the URL of a module. */
  readonly module: string;
  /** The name of the export, if it is neither the default nor `target`. */
  readonly export?: string | undefined;
  /** Passed to the module's function. */
  readonly argument?: string | undefined;
}

/**
 * What a module exports as its default or as `target`: a factory, one device, or a function that makes either of them
 * from the argument of the command line.
 */
export type TargetExport =
  | DeviceTargetFactory
  | DeviceTarget
  | ((argument?: string) => TargetResult | Promise<TargetResult>);

type TargetResult = DeviceTargetFactory | DeviceTarget;

/** Loads a target. @throws {IommuError} `EINVAL` for a module that cannot be loaded or exports none. */
export async function loadTarget(spec: TargetSpec): Promise<DeviceTargetFactory> {
  const { module, argument } = spec;
  if (module === 'core') return coreTarget;
  if (module === 'worker') return workerTarget();
  let exports: Readonly<Record<string, unknown>>;
  try {
    exports = (await import(module)) as typeof exports; // what is in it is looked at below
  } catch (cause) {
    throw new IommuError('EINVAL', `${module} cannot be loaded: ${String(cause)}`, { cause });
  }
  const found =
    spec.export === undefined ? (exports['default'] ?? exports['target']) : exports[spec.export];
  const made: unknown =
    typeof found === 'function' ? await (found as (argument?: string) => unknown)(argument) : found; // any function
  if (isFactory(made)) return made;
  if (isTarget(made)) return always(made, module.slice(module.lastIndexOf('/') + 1));
  throw new IommuError('EINVAL', `${module} exports no target as its default, nor as \`target\`.`);
}

function isFactory(value: unknown): value is DeviceTargetFactory {
  return typeof (value as Partial<DeviceTargetFactory> | undefined)?.open === 'function'; // asked of anything
}

function isTarget(value: unknown): value is DeviceTarget {
  const { memory, notify } = (value ?? {}) as Partial<DeviceTarget>; // asked of anything
  return typeof memory === 'object' && typeof notify === 'function';
}

/** The same device for every case, after the strongest reset that it has. */
function always(target: DeviceTarget, name: string): DeviceTargetFactory {
  const reused = overrideTarget(target, { dispose: () => undefined });
  return {
    name,
    parallel: 1,
    open() {
      target.writeStatus(0);
      if (target.resets.includes('system')) target.reset?.('system');
      return reused;
    },
    close: () => target.dispose(),
  };
}
