/** A worker thread of Node as its creator sees it: messages in order, one outcome, and an end that is certain. */

import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { IommuError } from '@viommu/common';
import type { MessageCount } from './bookkeeping.ts';
import { putTogether, wrapFailure } from './failure.ts';
import type { MachineEvent, WorkerMessage } from './message.ts';

/** How the work of a worker came to its end. */
export type Outcome =
  | { readonly kind: 'done'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly error: IommuError };

/** What the creator does with events and text of its workers; the next event waits until the promise is fulfilled. */
export interface Listener {
  onEvent?: ((event: MachineEvent) => void | Promise<void>) | undefined;
  onOutput?: ((text: string, stream: 'stdout' | 'stderr') => void) | undefined;
}

export interface WorkerThreadOptions {
  /** What the worker is called in messages: `host worker`. */
  readonly name: string;
  readonly url: URL;
  readonly data: unknown;
  readonly messages: MessageCount;
  readonly listener: Listener;
  /** Takes what the listener throws. */
  readonly onListenerFailure: (error: unknown) => void;
}

export class WorkerThread {
  /** How its work ended; fulfilled once, at the latest when the thread is gone. Never rejected. */
  readonly outcome: Promise<Outcome>;
  /** True once {@link outcome} is fulfilled. */
  concluded = false;
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #texts: readonly Promise<void>[];
  /** Events that are being handled, one after the other. */
  #handled: Promise<void> = Promise.resolve();

  constructor(options: WorkerThreadOptions) {
    const { name, url, data, listener } = options;
    const captured = listener.onOutput !== undefined;
    const worker = new Worker(url, {
      workerData: data,
      name: name.replace(' ', '-'),
      stdout: captured,
      stderr: captured,
    });
    this.#worker = worker;
    this.#exited = once(worker, 'exit').catch(() => undefined);
    this.#texts = captured
      ? [passText(worker.stdout, 'stdout', options), passText(worker.stderr, 'stderr', options)]
      : [];
    this.outcome = new Promise((fulfill) => {
      const resolve = (outcome: Outcome): void => {
        this.concluded = true;
        fulfill(outcome);
      };
      worker.on('message', (message: WorkerMessage) => {
        const outcome = outcomeOf(message, name);
        if (outcome === undefined) this.#pass(message as MachineEvent, options); // It is no outcome.
        else {
          options.messages.remove();
          resolve(outcome);
        }
      });
      worker.on('error', (error: unknown) =>
        resolve({
          kind: 'failed',
          error: wrapFailure(`The ${name} ended with an error`, error, 'ESHUTDOWN'),
        }),
      );
      worker.on('messageerror', (error) =>
        resolve({
          kind: 'failed',
          error: wrapFailure(`A message of the ${name} cannot be read`, error, 'ESHUTDOWN'),
        }),
      );
      worker.on('exit', (code) =>
        resolve({
          kind: 'failed',
          error: new IommuError(
            'ESHUTDOWN',
            `The ${name} ended with exit code ${code} in the middle of its work.`,
          ),
        }),
      );
    });
  }

  /** Waits for the thread to end by itself, for at most `graceMs`; then ends it. */
  async end(graceMs: number): Promise<void> {
    if (graceMs > 0) await within(this.#exited, graceMs);
    await this.#worker.terminate();
    await this.#exited;
  }

  /** Fulfilled when the listener has had everything that the thread, which has ended, sent. */
  async drained(): Promise<void> {
    await Promise.all([...this.#texts, this.#handled]);
  }

  #pass(event: MachineEvent, { listener, messages, onListenerFailure }: WorkerThreadOptions): void {
    this.#handled = this.#handled.then(async () => {
      try {
        await listener.onEvent?.(event);
      } catch (error) {
        onListenerFailure(error);
      } finally {
        messages.remove();
      }
    });
  }
}

function outcomeOf(message: WorkerMessage, name: string): Outcome | undefined {
  if (message.type === 'done') return { kind: 'done', value: message.value };
  if (message.type !== 'failed') return undefined;
  const thrown = putTogether(message.error);
  if (thrown instanceof IommuError) return { kind: 'failed', error: thrown };
  return { kind: 'failed', error: wrapFailure(`The ${name} failed`, thrown, 'ESHUTDOWN') };
}

/** Passes all text of a stream on; the promise is fulfilled when it ends. */
async function passText(
  stream: Readable,
  name: 'stdout' | 'stderr',
  { listener, onListenerFailure }: WorkerThreadOptions,
): Promise<void> {
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    try {
      listener.onOutput?.(text, name);
    } catch (error) {
      onListenerFailure(error);
    }
  });
  await once(stream, 'end').catch(() => undefined);
}

/** Waits for `promise`, for at most `limitMs`. False if the time ran out. */
export async function within(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  const controller = new AbortController();
  const late = delay(limitMs, false, { signal: controller.signal }).catch(() => false);
  const finished = await Promise.race([promise.then(() => true), late]);
  controller.abort();
  return finished;
}
