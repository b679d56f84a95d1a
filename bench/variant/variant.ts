/** One way of doing the same work with two threads. The modules beside this one export tables of them. */

import type { MessagePort } from 'node:worker_threads';

export interface Variant {
  /** Serves until `arena.stopped()`; runs in the second thread. */
  readonly device: (arena: Arena, batch: number) => void | Promise<void>;
  /** Sends `batch` requests at a time until the limit; returns how many were answered. */
  readonly driver: (arena: Arena, batch: number, limit: Limit) => number | Promise<number>;
  /** After a window: how often one side woke the other. */
  readonly wakes?: (arena: Arena) => number;
}

/** What both threads share; all zero at the start of a window. */
export interface Arena {
  readonly buffer: SharedArrayBuffer;
  /** To the other thread. */
  readonly port: MessagePort;
  /**
   * Both sides call this once they are prepared: the time counts from here. It returns when both run, each on a
   * processor of its own if there are two to be had.
   */
  readonly meet: () => void;
  /** True once the driver's side is done. */
  readonly stopped: () => boolean;
}

/** When the driver's side has done enough. Looking costs some 50 ns. */
export interface Limit {
  reached(requests: number): boolean;
}

export const ARENA_BYTES: number = 1 << 20;
