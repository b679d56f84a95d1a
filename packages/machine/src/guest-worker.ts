/** The shell of the guest: what Node calls the things that `guest.ts` works with. */

import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { IommuError, assert } from '@viommu/common';
import { wrapFailure } from './failure.ts';
import { type GuestProgram, createGuest } from './guest.ts';
import { MemoryMap } from './memory-map.ts';
import { Outbox } from './message.ts';
import type { GuestSettings } from './options.ts';

/** Characters of an address that a message has room for. */
const NAME_MAX = 80;

assert(parentPort !== null, 'this module is for worker threads');
const settings = workerData as GuestSettings; // Our creator's.
const bookkeeping = new MemoryMap(settings.map).bookkeeping(settings.buffer);
const outbox = new Outbox(parentPort, bookkeeping.messages('guest'));

// A program that waits for the device with a promise keeps nothing else open.
const held = setInterval(() => undefined, 0x7fff_ffff);
await outbox.conclude(async () => {
  const program = await loadProgram(settings.program);
  bookkeeping.awaitHost();
  if (bookkeeping.endWanted)
    throw new IommuError('ESHUTDOWN', 'The machine was stopped before its guest program began.');
  const guest = createGuest(settings, outbox, performance);
  try {
    return await program(guest.context);
  } catch (error) {
    throw wrapFailure('The guest program failed', error, 'ESHUTDOWN');
  } finally {
    guest.count();
  }
});
clearInterval(held);

async function loadProgram(address: string): Promise<GuestProgram> {
  let program: unknown;
  try {
    program = ((await import(address)) as { readonly default?: unknown }).default;
  } catch (error) {
    throw wrapFailure(`The guest program ${nameOf(address)} cannot be loaded`, error, 'EINVAL');
  }
  if (typeof program !== 'function')
    throw new IommuError('EINVAL', `The guest program ${nameOf(address)} has no default function.`);
  return program as GuestProgram; // What such a module promises.
}

/** An address as people write it; one that holds the whole program is cut. */
function nameOf(address: string): string {
  if (address.startsWith('file:')) return fileURLToPath(address);
  return address.length > NAME_MAX ? `${address.slice(0, NAME_MAX)}…` : address;
}
