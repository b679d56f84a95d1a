/**
 * Ends peers that hang, long before their life is over: for those that are to live long.
 *
 * The thread that waits for a peer can do nothing else. So another thread looks at it now and then, and ends the peer
 * once a single command has made it work for longer than any command takes. Time of a processor is what counts: a peer
 * that gets none is slow, and does not hang.
 */

import { Worker } from 'node:worker_threads';
import type { QtestWatch } from './qtest.ts';

/** What the two threads share, as places in an `Int32Array`. */
export const Place = {
  /** The process that is at work, or 0. */
  PID: 0,
  /** Commands so far. */
  COMMANDS: 1,
  /** The last process that was ended. */
  ENDED: 2,
  COUNT: 3,
} as const;

const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** The only one of this thread: it waits for one peer at a time. */
let shared: Int32Array<SharedArrayBuffer> | undefined;

/** Looks after the commands of one peer. */
export class Watchdog implements QtestWatch {
  readonly #shared: Int32Array<SharedArrayBuffer>;
  readonly #pid: number;

  /** `pid` is a process that leads a group, which is what is ended. */
  constructor(pid: number) {
    this.#shared = shared ??= start();
    this.#pid = pid;
  }

  /** True if it ended the peer. */
  get bit(): boolean {
    return Atomics.load(this.#shared, Place.ENDED) === this.#pid;
  }

  begun(): void {
    Atomics.add(this.#shared, Place.COMMANDS, 1);
    // The thread that reads it sees the count of this command, or of a later one.
    Atomics.store(this.#shared, Place.PID, this.#pid);
  }

  done(): void {
    Atomics.store(this.#shared, Place.PID, 0);
  }
}

function start(): Int32Array<SharedArrayBuffer> {
  const words = new Int32Array(new SharedArrayBuffer(4 * Place.COUNT));
  const worker = new Worker(new URL(`./watchdog-worker.${EXTENSION}`, import.meta.url), {
    workerData: words,
  });
  worker.unref();
  return words;
}
