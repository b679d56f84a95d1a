/** The shell of the host: what Node calls the things that `host.ts` works with. */

import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '@viommu/common';
import { FileBacking } from './disk/file-backing.ts';
import { Host } from './host.ts';
import { MemoryMap } from './memory-map.ts';
import { Outbox } from './message.ts';
import type { HostSettings } from './options.ts';

assert(parentPort !== null, 'this module is for worker threads');
const settings = workerData as HostSettings; // Our creator's.
const bookkeeping = new MemoryMap(settings.map).bookkeeping(settings.buffer);
const outbox = new Outbox(parentPort, bookkeeping.messages('host'));

await outbox.conclude(async () => {
  const host = await Host.create(settings, outbox, {
    load: (address) => import(address),
    openDisk: (file, sizeBytes) => new FileBacking(file, sizeBytes),
  });
  bookkeeping.announceHost();
  try {
    host.serve();
  } finally {
    host.close();
  }
});
