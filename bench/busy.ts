/** A third thread that wants a processor for itself, and never waits. */

import { Worker } from 'node:worker_threads';

const RUN = 0;

export class BusyThread {
  readonly #words = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker = new Worker(new URL('./busy-worker.ts', import.meta.url), {
    workerData: this.#words,
  });

  constructor() {
    this.#worker.on('error', (error) => {
      throw error;
    });
  }

  /** Starts or stops its loop. */
  set busy(busy: boolean) {
    Atomics.store(this.#words, RUN, busy ? 1 : 0);
    Atomics.notify(this.#words, RUN);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
