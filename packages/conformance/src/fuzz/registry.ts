/** All fuzzers, by name. With our own device and driver they find nothing; `canary` always does. */

import { Deviation } from './deviation.ts';
import { runHonest } from './driver/honest.ts';
import { runHostile } from './driver/hostile.ts';
import { AGAINST } from './against.ts';
import { GUIDED } from './feedback/trial.ts';
import type { Fuzzer } from './fuzzer.ts';
import { ringDevice, ringDriver, ringMemory, ringRace, ringRewrite } from './ring/index.ts';
import { STREAM } from './run-stream.ts';
import { simulation } from '../simulation/simulation.ts';

/** Those that bring all they need. */
export const FUZZERS: readonly Fuzzer[] = [
  {
    name: 'driver',
    about: 'our driver in front of honest devices of every kind, and all that it promises',
    smokeSeeds: 120,
    run: runHonest,
  },
  {
    name: 'hostile',
    about: 'our driver in front of a device that breaks rules',
    smokeSeeds: 60,
    run: runHostile,
  },
  ringDevice,
  ringDriver,
  ringMemory,
  ringRewrite,
  ringRace,
  simulation,
];

/** Must be found, sooner or later: it shows that what runs fuzzers reports what they find. */
export const CANARY: Fuzzer = {
  name: 'canary',
  about:
    'finds something each time that it draws three sevens, so that one sees what a finding is like',
  smokeSeeds: 1,
  run(random, journal) {
    for (let sevens = 0, draw = 0; draw < 1000; draw += 1) {
      const value = random.number(8);
      journal.requests += 1;
      journal.note(() => `draws ${value}`);
      if (value === 7) sevens += 1;
      if (sevens === 3) throw new Deviation('canary', 'three sevens', `draw ${draw + 1}`);
    }
  },
};

/** True for those whose inputs are streams, which any device can be tried with. */
export function isStreamed(name: string): boolean {
  return [STREAM, GUIDED, AGAINST].includes(name);
}

/** @throws {Error} if there is none of this name. */
export function fuzzerByName(name: string): Fuzzer {
  const found = [...FUZZERS, CANARY].find((fuzzer) => fuzzer.name === name);
  if (found === undefined) throw new Error(`There is no fuzzer ${name}.`);
  return found;
}
