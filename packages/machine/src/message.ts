/** What workers tell their creator. */

import type { MessageCount } from './bookkeeping.ts';
import { type FailureData, takeApart } from './failure.ts';

/** Something that happened while a machine runs. */
export type MachineEvent =
  /** A line of text for people. */
  | { readonly type: 'log'; readonly from: string; readonly text: string }
  /** An object a guest program or an endpoint reported. */
  | {
      readonly type: 'report';
      readonly from: string;
      readonly event: Readonly<Record<string, unknown>>;
    }
  /** An endpoint wrote to an MSI doorbell: the interrupt that this stands for. */
  | {
      readonly type: 'interrupt';
      readonly endpoint: number;
      readonly address: bigint;
      readonly data: number;
    }
  /** Lines of the recording, without line ends, and the lowest version that holds all lines so far. */
  | { readonly type: 'record'; readonly lines: readonly string[]; readonly version: 1 | 2 };

/** All that a worker posts. The last two end its work; nothing follows them. */
export type WorkerMessage =
  | MachineEvent
  | { readonly type: 'done'; readonly value: unknown }
  | { readonly type: 'failed'; readonly error: FailureData };

/** The sending half of a message port, whatever the platform calls it. */
export interface Poster {
  postMessage(message: WorkerMessage): void;
}

/** Sends messages, no more at a time than the creator can take. */
export class Outbox {
  readonly #poster: Poster;
  readonly #count: MessageCount;

  constructor(poster: Poster, count: MessageCount) {
    this.#poster = poster;
    this.#count = count;
  }

  /**
   * Posts a message; waits while too many are on their way.
   *
   * @throws if the message holds something that cannot be cloned, such as a function.
   */
  post(message: WorkerMessage): void {
    this.#count.add();
    try {
      this.#poster.postMessage(message);
    } catch (error) {
      this.#count.remove();
      throw error;
    }
  }

  /** Does the work of a worker and posts how it ended. */
  async conclude(work: () => unknown): Promise<void> {
    let last: WorkerMessage;
    try {
      last = { type: 'done', value: await work() };
    } catch (error) {
      last = { type: 'failed', error: takeApart(error) };
    }
    try {
      this.post(last);
    } catch (error) {
      // The value cannot be cloned.
      this.post({ type: 'failed', error: takeApart(error) });
    }
  }
}
