/** One of the two threads of `pair.ts`. */

import { parentPort, workerData } from 'node:worker_threads';
import type { Arena, Order, Variant } from './pair.ts';
import { ringVariants } from './variant/ring.ts';
import { floorVariants } from './variant/floor.ts';

const VARIANTS: Readonly<Record<string, Variant>> = { ...floorVariants, ...ringVariants };

const { side, stop, buffer } = workerData as {
  side: string;
  stop: Int32Array;
  buffer: SharedArrayBuffer;
};
const arena: Arena = { buffer, stopped: () => Atomics.load(stop, 0) !== 0 };

parentPort?.on('message', ({ variant, batch, windowMs }: Order) => {
  const run = VARIANTS[variant];
  if (run === undefined) throw new Error(`no variant ${variant}`);
  if (side === 'device') {
    run.device(arena, batch);
    parentPort?.postMessage(0);
  } else {
    const start = performance.now();
    const requests = run.driver(arena, batch, start + windowMs);
    parentPort?.postMessage((requests / (performance.now() - start)) * 1000);
  }
});
