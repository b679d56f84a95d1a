/** A thread with one defect in it: streams run until one shows it, or the time is over. */

import { registerHooks } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { Defect } from './list.ts';

/** What a thread is told. */
export interface DefectTask {
  readonly defect: Defect;
  readonly seconds: number;
}

/** What it found; `matter` is undefined if nothing was wrong. */
export interface DefectOutcome {
  readonly matter: string | undefined;
  readonly seconds: number;
  readonly requests: number;
}

const { defect, seconds } = workerData as DefectTask; // as it was started

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(`/packages/${defect.file}`)) return loaded;
    const { source = '' } = loaded;
    const text = typeof source === 'string' ? source : new TextDecoder().decode(source);
    // A function, so that no sign in the text has a meaning.
    return { ...loaded, source: text.replace(defect.find, () => defect.replace) };
  },
});

const { runSeed } = await import('../../../src/fuzz/run-stream.ts');
const { signatureOf } = await import('../../../src/fuzz/deviation.ts');
const { coreTarget } = await import('../../../src/targets/core.ts');

const begun = performance.now();
const elapsed = (): number => (performance.now() - begun) / 1000;
let requests = 0;
let matter: string | undefined;
for (let seed = 1; matter === undefined && elapsed() < seconds; seed += 1) {
  const { tally, finding } = await runSeed(coreTarget, seed);
  requests += tally.requests;
  if (finding !== undefined) matter = signatureOf(finding);
}
const outcome: DefectOutcome = { matter, seconds: elapsed(), requests };
parentPort?.postMessage(outcome);
