/** Plants one defect in a thread and has it looked for. */

import { Worker } from 'node:worker_threads';
import type { Defect } from './list.ts';
import type { DefectOutcome, DefectTask } from './worker.ts';

/** A stream that does not end is a finding too: the thread is ended this much later. */
const HANG_S = 10;

export async function seek(defect: Defect, seconds: number): Promise<DefectOutcome> {
  const workerData: DefectTask = { defect, seconds };
  const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData, stderr: true });
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const end = (outcome: DefectOutcome): void => {
      clearTimeout(timer);
      resolve(outcome);
      void worker.terminate();
    };
    const timer = setTimeout(
      () => end({ matter: 'hang', seconds: (performance.now() - begun) / 1000, requests: 0 }),
      (seconds + HANG_S) * 1000,
    );
    worker.once('message', end);
    worker.once('error', (error: Error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
