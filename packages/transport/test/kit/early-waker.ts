/** A host that wakes the guest twice before it acts on the register write in the first mailbox. */

import { workerData } from 'node:worker_threads';
import { ControlBlock, ControlPage } from '@viommu/transport';

const control = new ControlPage(workerData as SharedArrayBuffer, 0); // What the test passes.
const words = control.block(0);
const acknowledged = ControlBlock.offset.acknowledged / 4;
for (let wakes = 0; wakes < 2; wakes += 1) {
  // Counts the sleepers it woke, so each round ends with the guest asleep once more.
  while (Atomics.notify(words, acknowledged) === 0 && !control.stopped);
}
Atomics.store(words, acknowledged, Atomics.load(words, ControlBlock.offset.posted / 4));
Atomics.notify(words, acknowledged);
