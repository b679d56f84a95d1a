/** One of the two threads of a pair. */

import { GCProfiler } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import type { Order } from './contender.ts';
import { Control, type PairData, type Report } from './pair.ts';
import { follow, lead } from './meeting.ts';
import type { Arena, Limit, Variant } from './variant/variant.ts';

const { side, module, variant, control, buffer, port } = workerData as PairData; // Our creator's.
const { variants } = (await import(`./variant/${module}.ts`)) as {
  variants: Readonly<Record<string, Variant>>; // What every module there exports.
};
const chosen = variants[variant];
if (chosen === undefined) throw new Error(`There is no variant ${module}.${variant}.`);
const { device, driver, wakes } = chosen;
const profiler = new GCProfiler();
/** When both sides were prepared. */
let begun = 0;
const arena: Arena = {
  buffer,
  port,
  stopped: () => Atomics.load(control, Control.STOP) !== 0,
  meet() {
    if (side === 'driver') lead(control);
    else follow(control);
    profiler.start();
    begun = performance.now();
  },
};

parentPort?.on('message', (order: Order) => {
  // Not on a listener's time: what fails must end the thread.
  void run(order).then((report) => parentPort?.postMessage(report));
});

async function run({ batch, windowMs, requestsMax = Infinity }: Order): Promise<Report> {
  let requests = 0;
  if (side === 'device') {
    await device(arena, batch);
  } else {
    const limit: Limit = {
      reached: (done) => done >= requestsMax || performance.now() - begun > windowMs,
    };
    requests = await driver(arena, batch, limit);
  }
  const elapsedMs = performance.now() - begun;
  if (side === 'driver') Atomics.store(control, Control.STOP, 1);
  const collections = profiler.stop().statistics.length;
  return { requests, elapsedMs, collections, wakes: wakes?.(arena) };
}
