/** A thread with one defect in it: fuzzers run until one of them shows it, or the time is over. */

import { registerHooks } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { Defect } from './list.ts';

/** What a thread is told. */
export interface DefectTask {
  readonly defect: Defect;
  readonly seconds: number;
  /** The one that looks; all in turns, as the command does, if absent. */
  readonly fuzzer?: string;
}

/** What it found; `matter` is undefined if nothing was wrong. */
export interface DefectOutcome {
  readonly matter: string | undefined;
  /** The fuzzer that found it. */
  readonly fuzzer: string;
  /** Processor time of the thread. */
  readonly seconds: number;
  /** Processor time of the fuzzer that found it. */
  readonly ownSeconds: number;
  readonly requests: number;
}

const { defect, seconds, fuzzer } = workerData as DefectTask; // as it was started

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

const { STREAM, runSeed } = await import('../../../src/fuzz/run-stream.ts');
const { FUZZERS, fuzzerByName } = await import('../../../src/fuzz/registry.ts');
const { signatureOf } = await import('../../../src/fuzz/deviation.ts');
const { tryFuzzer } = await import('../../../src/fuzz/fuzzer.ts');
const { Turns } = await import('../../../src/fuzz/turn.ts');
const { coreTarget } = await import('../../../src/targets/core.ts');

if (fuzzer !== undefined && fuzzer !== STREAM) fuzzerByName(fuzzer);
const names = fuzzer === undefined ? [STREAM, ...FUZZERS.map(({ name }) => name)] : [fuzzer];
const turns = new Turns(names, 0);
const seeds = new Map(names.map((name) => [name, 1]));
const own = new Map(names.map((name) => [name, 0]));
/** Processor time of this thread, in milliseconds: the same whatever else the machine does. */
const busy = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
const begun = busy();
const elapsed = (): number => (busy() - begun) / 1000;

let requests = 0;
let matter: string | undefined;
let by = names[0] ?? STREAM;
while (matter === undefined && elapsed() < seconds) {
  const turn = turns.next((seconds - elapsed()) * 1000);
  by = turn.fuzzer;
  const from = busy();
  do {
    const seed = seeds.get(by) ?? 1;
    seeds.set(by, seed + 1);
    const found = FUZZERS.find(({ name }) => name === by);
    const { tally, finding } =
      found === undefined ? await runSeed(coreTarget, seed) : await tryFuzzer(found, seed);
    requests += tally.requests;
    if (finding !== undefined) matter = signatureOf(finding);
  } while (matter === undefined && busy() - from < turn.timeMs && elapsed() < seconds);
  turns.took(by, busy() - from);
  own.set(by, (own.get(by) ?? 0) + busy() - from);
}
const outcome: DefectOutcome = {
  matter,
  fuzzer: by,
  seconds: elapsed(),
  ownSeconds: (own.get(by) ?? 0) / 1000,
  requests,
};
parentPort?.postMessage(outcome);
