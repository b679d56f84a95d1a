/** One of the two threads of a pair. */

import { GCProfiler } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import type { Order } from './contender.ts';
import { Control, type PairData, type Report } from './pair.ts';
import type { Arena, Limit, Variant } from './variant/variant.ts';

const { side, module, variant, control, buffer, port } = workerData as PairData; // Our creator's.
const { variants } = (await import(`./variant/${module}.ts`)) as {
  variants: Readonly<Record<string, Variant>>; // What every module there exports.
};
const chosen = variants[variant];
if (chosen === undefined) throw new Error(`There is no variant ${module}.${variant}.`);
const { device, driver, wakes } = chosen;
const arena: Arena = { buffer, port, stopped: () => Atomics.load(control, Control.STOP) !== 0 };

parentPort?.on('message', (order: Order) => {
  // Not on a listener's time: what fails must end the thread.
  void run(order).then((report) => parentPort?.postMessage(report));
});

async function run({ batch, windowMs, requestsMax = Infinity }: Order): Promise<Report> {
  const profiler = new GCProfiler();
  profiler.start();
  const start = performance.now();
  let requests = 0;
  let elapsedMs = 0;
  if (side === 'device') {
    Atomics.store(control, Control.BEGUN, 1);
    Atomics.notify(control, Control.BEGUN);
    await device(arena, batch);
  } else {
    Atomics.wait(control, Control.BEGUN, 0);
    let begun = 0;
    const limit: Limit = {
      start: () => (begun = performance.now()),
      reached: (done) => done >= requestsMax || performance.now() - begun > windowMs,
    };
    requests = await driver(arena, batch, limit);
    elapsedMs = performance.now() - begun;
    Atomics.store(control, Control.STOP, 1);
  }
  const collections = profiler.stop().statistics.length;
  return {
    requests,
    elapsedMs: side === 'driver' ? elapsedMs : performance.now() - start,
    collections,
    wakes: wakes?.(arena),
  };
}
