/** Targets by name: the built-in ones, and modules that somebody else wrote. */

import { IommuError } from '@viommu/common';
import type { DriverTargetFactory } from '../driver-target.ts';
import type { DeviceTarget, DeviceTargetFactory } from '../target.ts';
import { coreTarget } from '../targets/core.ts';
import { coreDriver } from '../targets/driver-core.ts';
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

/** Loads a driver as {@link loadTarget} does a device; its export may also be called `driver`. */
export async function loadDriver(spec: TargetSpec): Promise<DriverTargetFactory> {
  if (spec.module === 'core') return coreDriver;
  const made = await exportOf(spec, 'driver');
  if (isFactory<DriverTargetFactory>(made)) return made;
  throw new IommuError('EINVAL', `${spec.module} exports no driver as its default.`);
}

/** Loads a target. @throws {IommuError} `EINVAL` for a module that cannot be loaded or exports none. */
export async function loadTarget(spec: TargetSpec): Promise<DeviceTargetFactory> {
  const { module } = spec;
  if (module === 'core') return coreTarget;
  if (module === 'worker') return workerTarget();
  const made = await exportOf(spec, 'target');
  if (isFactory<DeviceTargetFactory>(made)) return made;
  if (isTarget(made)) return always(made, module.slice(module.lastIndexOf('/') + 1));
  throw new IommuError('EINVAL', `${module} exports no target as its default, nor as \`target\`.`);
}

/** What a module exports, made if it is a function. */
async function exportOf(spec: TargetSpec, usual: string): Promise<unknown> {
  const { module, argument } = spec;
  let exports: Readonly<Record<string, unknown>>;
  try {
    exports = (await import(module)) as typeof exports; // what is in it is looked at below
  } catch (cause) {
    throw new IommuError('EINVAL', `${module} cannot be loaded: ${String(cause)}`, { cause });
  }
  const found =
    spec.export === undefined ? (exports['default'] ?? exports[usual]) : exports[spec.export];
  return typeof found === 'function'
    ? await (found as (argument?: string) => unknown)(argument) // any function
    : found;
}

function isFactory<Factory extends { readonly open: unknown }>(value: unknown): value is Factory {
  return typeof (value as Partial<Factory> | undefined)?.open === 'function'; // asked of anything
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
