/** Whether what a driver's queue saves is what its books say. */

import type { DriverQueueState } from '@viommu/ring';
import type { DriverBook } from './driver-book.ts';
import { type Setting, deviation } from './setting.ts';

/** A chain that was added and not published. */
export interface Pending {
  readonly token: number;
  readonly slots: number;
}

export function checkSaved(
  setting: Setting,
  saved: DriverQueueState,
  book: DriverBook,
  pending: readonly Pending[],
  position: number,
): void {
  const { size, features, packed } = setting;
  const wrong = (what: string): Error =>
    deviation(`driver: another ${what} is saved`, setting, JSON.stringify(saved));
  const { chains, free, batch } = saved;
  if (saved.position !== position) throw wrong('position');
  if (saved.size !== size || JSON.stringify(saved.features) !== JSON.stringify({ ...features }))
    throw wrong('shape');
  if (saved.broken !== book.broken || saved.unpublished !== pending.length) throw wrong('state');
  const published = [...book.inFlight.values()];
  const known = new Map(chains.slice(0, published.length).map((chain) => [chain.ids[0], chain]));
  for (const { id, token, slots, writableBytes } of published) {
    const chain = known.get(id);
    if (chain?.token !== token || chain.slots !== slots || chain.writableBytes !== writableBytes)
      throw wrong('chain');
  }
  if (features.inOrder && published.some(({ id }, index) => chains[index]?.ids[0] !== id))
    throw wrong('order');
  let held = 0;
  for (const [index, { token, slots }] of pending.entries()) {
    const chain = chains[published.length + index];
    if (chain?.token !== token || chain.slots !== slots) throw wrong('chain that is held back');
    held += slots;
  }
  const ids = new Set([...free, ...chains.flatMap((chain) => chain.ids)]);
  if (ids.size !== size || (!packed && free.length + book.slots + held !== size))
    throw wrong('set of descriptors');
  if (batch?.last !== book.batch?.last || batch?.bytes !== book.batch?.bytes) throw wrong('batch');
}
