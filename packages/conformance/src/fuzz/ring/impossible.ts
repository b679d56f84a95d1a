/** Saved states that no driver's queue can be in: each must be refused as a whole. */

import { IommuError } from '@viommu/common';
import type { DriverQueueState } from '@viommu/ring';
import type { Random } from '../random.ts';
import { type Setting, deviation } from './setting.ts';

type Spoil = (state: DriverQueueState, setting: Setting) => object | undefined;

const IMPOSSIBLE: Readonly<Record<string, Spoil>> = {
  'of another version': () => ({ version: 2 }),
  'of another size': ({ size }) => ({ size: size + 1 }),
  'of other features': ({ features }) => ({
    features: { ...features, eventIndex: !features.eventIndex },
  }),
  'of the other format': ({ features }) => ({
    features: { ...features, packed: !features.packed },
  }),
  'with other tables': ({ buffersPerTable }) => ({ buffersPerTable: buffersPerTable + 1 }),
  'at no position': () => ({ position: 0x1_0000 }),
  'at half a position': () => ({ position: 0.5 }),
  'at a position behind the ring': ({ size }, { packed }) =>
    packed && size < 0x8000 ? { position: size } : undefined,
  'without a free descriptor': ({ free }) =>
    free.length > 0 ? { free: free.slice(1) } : undefined,
  'with a descriptor twice': ({ free }) =>
    free.length > 1 ? { free: [free[1], ...free.slice(1)] } : undefined,
  'with a descriptor outside': ({ free, size }) =>
    free.length > 0 ? { free: [size, ...free.slice(1)] } : undefined,
  'with more held back than there is': ({ chains }) => ({ unpublished: chains.length + 1 }),
  'with a token that is none': ({ chains }) => changed(chains, { token: -1 }),
  'with a token that is too large': ({ chains }) => changed(chains, { token: 2 ** 31 }),
  'with lengths that are none': ({ chains }) => changed(chains, { writableBytes: 2 ** 32 }),
  'with a chain of no slots': ({ chains }) => changed(chains, { slots: 0 }),
  'with more slots than there are': ({ chains, size }, { packed }) =>
    packed && chains.length > 1 ? changed(chains, { slots: size }) : undefined,
  'with flags that nobody holds back': () => ({ heldFlags: 8 }),
  'in a batch that ends with nobody': ({ size }) => ({ batch: { last: size, bytes: 0 } }),
  'broken in another way': () => ({ broken: 1 }),
};
const NAMES: readonly string[] = Object.keys(IMPOSSIBLE);

/** Throws if a queue is made of a state with something impossible in it; `make` makes one. */
export function expectRefused(
  random: Random,
  setting: Setting,
  state: DriverQueueState,
  make: (state: DriverQueueState) => unknown,
): void {
  const name = random.pick(NAMES);
  const change = IMPOSSIBLE[name]?.(state, setting);
  if (change === undefined) return;
  const spoilt = { ...state, ...change } as DriverQueueState; // Wrong on purpose.
  try {
    make(spoilt);
  } catch (error) {
    if (error instanceof IommuError && error.code === 'EINVAL') return;
    throw error;
  }
  throw deviation(`driver: a state ${name} is taken`, setting, JSON.stringify(spoilt));
}

/** The first chain with something else in it. */
function changed(chains: DriverQueueState['chains'], change: object): object | undefined {
  const [first, ...others] = chains;
  return first && { chains: [{ ...first, ...change }, ...others] };
}
