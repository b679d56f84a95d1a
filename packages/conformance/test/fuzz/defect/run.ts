/** Plants one defect in a thread and has it looked for. */

import { Worker } from 'node:worker_threads';
import type { Defect } from './list.ts';
import type { DefectOutcome, DefectTask } from './worker.ts';

/**
 * What does not end is a finding too: the thread is ended this much later, and on a machine with other work it may take so
 * many times as long as its processor time.
 */
const HANG_S = 10;
const BUSY_FACTOR = 6;

/** `fuzzer` alone looks for it, or all in turns if absent. */
export async function seek(
  defect: Defect,
  seconds: number,
  fuzzer?: string,
): Promise<DefectOutcome> {
  const workerData: DefectTask = { defect, seconds, ...(fuzzer !== undefined && { fuzzer }) };
  const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData, stderr: true });
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const end = (outcome: DefectOutcome): void => {
      clearTimeout(timer);
      resolve(outcome);
      void worker.terminate();
    };
    const timer = setTimeout(
      () => {
        const tookS = (performance.now() - begun) / 1000;
        end({
          matter: 'hang',
          fuzzer: fuzzer ?? '',
          seconds: tookS,
          ownSeconds: tookS,
          requests: 0,
        });
      },
      (seconds * BUSY_FACTOR + HANG_S) * 1000,
    );
    worker.once('message', end);
    worker.once('error', (error: Error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
