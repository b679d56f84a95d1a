/** A thread with instrumented packages, and a defect that needs two numbers of 32 bits to show. */

import { registerHooks } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { hookObstacle, installHook } from '../../../src/fuzz/feedback/hook.ts';
import { probeOfThread } from '../../../src/fuzz/feedback/probe.ts';

/** What a thread is told. */
export interface ThreadTask {
  readonly mode: 'guided' | 'blind';
  /** Whether the defect is planted. */
  readonly planted: boolean;
  /** It ends after as much work as one of these allows. */
  readonly requestsMax: number;
  readonly seconds: number;
}

/** What it came to. */
export interface ThreadOutcome {
  readonly matter: string | undefined;
  readonly requests: number;
  readonly seconds: number;
  readonly edges: number;
  readonly edgesThere: number;
  readonly comparisons: number;
  readonly names: readonly string[];
}

const { mode, planted, requestsMax, seconds } = workerData as ThreadTask; // as it was started

// Before the other hook, which is called first and instruments what this one gives it.
registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!planted || !url.endsWith('/device/src/core/attach.ts')) return loaded;
    const { source = '' } = loaded;
    const text = typeof source === 'string' ? source : new TextDecoder().decode(source);
    const magic = 'if (domain === 0x51f0_aa17 && endpointId === 0x3c0f_fee5) return Status.OK;';
    return { ...loaded, source: text.replace('const { first, last }', (all) => `${magic} ${all}`) };
  },
});
const obstacle = hookObstacle();
if (obstacle !== undefined) throw new Error(obstacle);
installHook();

const { signatureOf } = await import('../../../src/fuzz/deviation.ts');
const { Feedback } = await import('../../../src/fuzz/feedback/feedback.ts');
const { GuidedRunner } = await import('../../../src/fuzz/feedback/guided-runner.ts');
const { runSeed } = await import('../../../src/fuzz/run-stream.ts');
const { coreTarget } = await import('../../../src/targets/core.ts');

const runner = new GuidedRunner(coreTarget, { feedback: new Feedback(probeOfThread()) });
const cpuSeconds = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
};
const begun = cpuSeconds();
let requests = 0;
let matter: string | undefined;
for (let seed = 1; matter === undefined && requests < requestsMax; seed += 1) {
  if (cpuSeconds() - begun > seconds) break;
  const { tally, finding } =
    mode === 'guided' ? await runner.run(seed) : await runSeed(coreTarget, seed);
  requests += tally.requests;
  if (finding !== undefined) matter = signatureOf(finding);
}
const { edges, edgesThere, comparisons } = runner.takeReached();
const outcome: ThreadOutcome = {
  matter,
  requests,
  seconds: cpuSeconds() - begun,
  edges: edges.length,
  edgesThere,
  comparisons: comparisons.length,
  names: runner.entries.map(({ name }) => name),
};
parentPort?.postMessage(outcome);
