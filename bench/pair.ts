/**
 * Times pairs of threads: each round runs every variant once, for a few milliseconds, so that all of them see the same
 * machine. Only ratios inside one run mean anything; see the README.
 */

import { Worker } from 'node:worker_threads';

/** One way of doing the same work with two threads. Modules in `bench/variant/` export a table of them. */
export interface Variant {
  /** Serves until `stopped()`; runs in the second thread. */
  readonly device: (arena: Arena, batch: number) => void;
  /** Sends `batch` requests at a time until the deadline; returns how many were answered. */
  readonly driver: (arena: Arena, batch: number, deadlineMs: number) => number;
}

/** What both threads of a variant share; all zero at the start of a window. */
export interface Arena {
  readonly buffer: SharedArrayBuffer;
  /** True once the driver's side is done. */
  stopped(): boolean;
}

/** What one thread is told to do. */
export interface Order {
  readonly variant: string;
  readonly batch: number;
  readonly windowMs: number;
}

export interface PairOptions {
  /** Names in the tables of `bench/variant/`. */
  readonly variants: readonly string[];
  readonly batches: readonly number[];
  readonly rounds: number;
  readonly windowMs: number;
  /** Runs beside the variants in each round, such as a program in another language; requests per second. */
  readonly extra?: Readonly<
    Record<string, (batch: number, windowMs: number) => number | undefined>
  >;
}

/** Requests per second of one variant and batch, one sample a round. */
export interface Samples {
  readonly name: string;
  readonly batch: number;
  readonly rates: readonly number[];
}

/** The first word says stop; variants use the rest. */
export const ARENA_BYTES: number = 4 << 20;
const WARM_UP_ROUNDS = 3;
const WARM_UP_MS = 60;

export async function runPairs(options: PairOptions): Promise<Samples[]> {
  const { variants, batches, rounds, windowMs, extra = {} } = options;
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const buffer = new SharedArrayBuffer(ARENA_BYTES);
  const workers = ['device', 'driver'].map(
    (side) =>
      new Worker(new URL('./pair-worker.ts', import.meta.url), {
        workerData: { side, stop, buffer },
      }),
  );
  const failed = new Promise<never>((_, reject) => {
    for (const worker of workers) worker.on('error', reject);
  });
  const ask = (index: number, order: Order): Promise<number> =>
    Promise.race([
      failed,
      new Promise<number>((resolve) => {
        const worker = workers[index];
        worker?.once('message', resolve);
        worker?.postMessage(order);
      }),
    ]);
  const samples = new Map<string, { name: string; batch: number; rates: number[] }>();
  const put = (name: string, batch: number, rate: number): void => {
    const key = `${name}/${batch}`;
    const entry = samples.get(key) ?? { name, batch, rates: [] };
    entry.rates.push(rate);
    samples.set(key, entry);
  };
  try {
    for (let round = -WARM_UP_ROUNDS; round < rounds; round += 1) {
      const warm = round >= 0;
      for (const batch of batches) {
        for (const variant of variants) {
          new Uint8Array(buffer).fill(0);
          Atomics.store(stop, 0, 0);
          const order = { variant, batch, windowMs: warm ? windowMs : WARM_UP_MS };
          const device = ask(0, order);
          const rate = await ask(1, order);
          Atomics.store(stop, 0, 1);
          await device;
          if (warm) put(variant, batch, rate);
        }
        for (const [name, run] of Object.entries(extra)) {
          const rate = warm ? run(batch, windowMs) : undefined;
          if (rate !== undefined) put(name, batch, rate);
        }
      }
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return [...samples.values()];
}

/** The value below which `share` of the sorted samples lie. */
export function percentile(rates: readonly number[], share: number): number {
  const sorted = rates.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
