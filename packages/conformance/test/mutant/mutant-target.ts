/**
 * Targets from changed sources. A module that is imported with `?mutant=…` passes this on to what it imports in the same
 * package and in those that build on it, so that each mutant has modules of its own; those below, and the suite, are
 * shared.
 */

import { registerHooks } from 'node:module';
import type { DeviceTargetFactory } from '@viommu/conformance';
import { MUTANTS, PACKAGES, mutate } from './mutant.ts';

/** What a device is made of, each after what it builds on. */
const LAYERS = ['ring/src/', 'transport/src/', 'device/src/', 'conformance/src/targets/'];
const KEY = 'mutant';
/** In place of a number: nothing is changed. */
const RIGHT = 'none';

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    const mark = markOf(context.parentURL);
    if (mark === undefined || layerOf(resolved.url) < lowestLayer(mark)) return resolved;
    return { ...resolved, url: `${resolved.url}?${KEY}=${mark}` };
  },
  load(url, context, nextLoad) {
    const mark = markOf(url);
    const mutant = mark === undefined ? undefined : MUTANTS[Number(mark)];
    if (mutant === undefined || !url.startsWith(`${PACKAGES}${mutant.file}?`))
      return nextLoad(url, context);
    return { format: 'module-typescript', source: mutate(mutant), shortCircuit: true };
  },
});

/** Our device with the change of a mutant, or as it is. @throws {Error} if it cannot be loaded. */
export async function mutantTarget(mutant?: number): Promise<DeviceTargetFactory> {
  const module = `${PACKAGES}conformance/src/targets/core.ts?${KEY}=${mutant ?? RIGHT}`;
  const loaded = (await import(module)) as { readonly coreTarget: DeviceTargetFactory }; // It is that file.
  return loaded.coreTarget;
}

function markOf(url: string | undefined): string | undefined {
  return url?.startsWith(PACKAGES) === true
    ? (new URL(url).searchParams.get(KEY) ?? undefined)
    : undefined;
}

/** -1 for what all share. */
function layerOf(url: string): number {
  return LAYERS.findIndex((layer) => url.startsWith(PACKAGES + layer));
}

function lowestLayer(mark: string): number {
  const file = MUTANTS[Number(mark)]?.file ?? '';
  return Math.max(
    0,
    LAYERS.findIndex((layer) => file.startsWith(layer)),
  );
}
