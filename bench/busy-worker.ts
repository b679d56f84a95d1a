/** The loop of the busy thread. */

import { workerData } from 'node:worker_threads';

const words = workerData as Int32Array<SharedArrayBuffer>; // Our creator's.
for (;;) {
  Atomics.wait(words, 0, 0);
  while (Atomics.load(words, 0) === 1);
}
