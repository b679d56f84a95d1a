/** A device in a thread of its own: answers every request OK, and sleeps while there is none. */

import { workerData } from 'node:worker_threads';
import { guestPhysical } from '@viommu/common';
import {
  Bell,
  Chain,
  Popped,
  type QueueLayout,
  SharedMemory,
  SplitDeviceQueue,
  Waiter,
} from '@viommu/ring';

/** What the thread is started with. Words: 0 the doorbell, 16 the interrupt bell, 32 to stop, 48 to wait before answers. */
export interface AnsweringData {
  readonly ram: SharedArrayBuffer;
  readonly base: bigint;
  readonly words: Int32Array;
  readonly layout: QueueLayout;
}

const { ram, base, words, layout } = workerData as AnsweringData; // Only the test starts this.
const memory = new SharedMemory({
  buffer: ram,
  offset: 0,
  size: ram.byteLength,
  base: guestPhysical(base),
});
const queue = new SplitDeviceQueue({
  memory,
  layout,
  features: { indirect: true, eventIndex: true },
});
const doorbell = new Bell(words, 0);
const interrupt = new Bell(words, 16);
const waiter = new Waiter({ bell: doorbell, pollsMax: 100 });
const chain = new Chain(memory, queue.size);

while (Atomics.load(words, 32) === 0) {
  if (!waiter.wait(queue, 20)) continue;
  const delayMs = Atomics.load(words, 48);
  if (delayMs > 0) Atomics.wait(words, 60, 0, delayMs);
  while (queue.pop(chain) === Popped.CHAIN) {
    chain.writeWord(0, 0);
    queue.push(chain, 4);
  }
  if (queue.publish()) interrupt.ring();
}
