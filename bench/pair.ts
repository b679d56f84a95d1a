/** Two threads of Node with an arena between them. Each pair has its own, so that no variant spoils another's code. */

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Contender, Order, Outcome, Side } from './contender.ts';
import { ARENA_BYTES } from './variant/variant.ts';

/** What a thread of a pair is made of. */
export interface PairData {
  readonly side: Side;
  /** A module of `variant/`, and a name in its table. */
  readonly module: string;
  readonly variant: string;
  readonly control: Int32Array;
  readonly buffer: SharedArrayBuffer;
  readonly port: MessagePort;
}

/** Words of `control`. */
export const Control = { STOP: 0, THERE: 16, BACK: 32 } as const;

/** What a thread answers when a window is over. */
export interface Report {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly collections: number;
  readonly wakes: number | undefined;
}

export class Pair implements Contender {
  readonly #control = new Int32Array(new SharedArrayBuffer(256));
  readonly #bytes = new Uint8Array(new SharedArrayBuffer(ARENA_BYTES));
  readonly #device: Worker;
  readonly #driver: Worker;
  readonly #failed: Promise<never>;

  constructor(module: string, variant: string) {
    const { port1, port2 } = new MessageChannel();
    const start = (side: Side, port: MessagePort): Worker =>
      new Worker(new URL('./pair-worker.ts', import.meta.url), {
        workerData: {
          side,
          module,
          variant,
          control: this.#control,
          buffer: this.#bytes.buffer,
          port,
        } satisfies PairData,
        transferList: [port],
      });
    this.#device = start('device', port1);
    this.#driver = start('driver', port2);
    this.#failed = new Promise((_, reject) => {
      for (const worker of [this.#device, this.#driver])
        worker.on('error', reject).on('exit', () => reject(new Error('a thread has ended')));
    });
    this.#failed.catch(() => undefined); // Whoever waits for a window sees it.
  }

  async window(order: Order): Promise<Outcome> {
    this.#bytes.fill(0);
    Atomics.store(this.#control, Control.STOP, 0);
    Atomics.store(this.#control, Control.THERE, 0);
    Atomics.store(this.#control, Control.BACK, 0);
    const device = this.#ask(this.#device, order);
    const driver = this.#ask(this.#driver, order);
    const [{ collections }, report] = await Promise.all([device, driver]);
    return {
      requests: report.requests,
      elapsedMs: report.elapsedMs,
      collections: { device: collections, driver: report.collections },
      ...(report.wakes !== undefined && { wakes: report.wakes }),
    };
  }

  async end(): Promise<void> {
    await Promise.all([this.#device.terminate(), this.#driver.terminate()]);
  }

  #ask(worker: Worker, order: Order): Promise<Report> {
    const answer = new Promise<Report>((resolve) => worker.once('message', resolve));
    worker.postMessage(order);
    return Promise.race([answer, this.#failed]);
  }
}
