/** What ends a machine before its guest program does: a time limit, a signal, a call of `stop`, a broken listener. */

import { IommuError } from '@viommu/common';
import type { Outcome } from './worker-thread.ts';

export interface InterruptionOptions {
  /** Ends the machine after this long; without it, the guest program may take for ever. */
  readonly timeoutMs?: number | undefined;
  /** Ends the machine when it is aborted; its reason becomes the cause. */
  readonly signal?: AbortSignal | undefined;
}

/** The longest time limit: what a timer takes. */
const TIMEOUT_MAX_MS = 2_147_483_647;

export class Interruption {
  /** Fulfilled by the first interruption, with its error. */
  readonly raised: Promise<Outcome>;
  /** The error of the first interruption. */
  error: IommuError | undefined = undefined;
  /** True if the run has failed even if the guest program ends by itself now. */
  strict = false;
  #timer: NodeJS.Timeout | undefined = undefined;
  #fulfill: ((outcome: Outcome) => void) | undefined;

  constructor() {
    this.raised = new Promise((fulfill) => {
      this.#fulfill = fulfill;
    });
  }

  /** @throws {IommuError} `EINVAL` for a time limit that is none. */
  check({ timeoutMs }: InterruptionOptions): void {
    if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs <= TIMEOUT_MAX_MS))
      throw new IommuError('EINVAL', `A time limit of ${timeoutMs} ms cannot be kept.`);
  }

  /** Raises itself when the time is up or the signal aborted; the function returned ends that. */
  watch({ timeoutMs, signal }: InterruptionOptions): () => void {
    if (timeoutMs !== undefined)
      this.#timer = setTimeout(() => {
        const text = `The guest program did not end within ${timeoutMs} ms.`;
        this.raise(new IommuError('ETIMEDOUT', text));
      }, timeoutMs);
    const abort = (): void =>
      this.raise(
        new IommuError('ESHUTDOWN', 'The machine was aborted.', { cause: signal?.reason }),
      );
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort);
    return () => {
      this.stopClock();
      signal?.removeEventListener('abort', abort);
    };
  }

  /** The guest program has ended; what is left to do has limits of its own. */
  stopClock(): void {
    clearTimeout(this.#timer);
  }

  /** A gentle interruption is forgotten if the guest program ends by itself in time. */
  raise(error: IommuError, manner: 'gentle' | 'strict' = 'strict'): void {
    if (manner === 'strict') this.strict = true;
    if (this.error !== undefined) return;
    this.error = error;
    this.#fulfill?.({ kind: 'failed', error });
  }
}
