/** All fuzzers, by name: each runs a seed against our own device or driver, and finds nothing. */

import { coreTarget } from '../targets/core.ts';
import { coreDriver } from '../targets/driver-core.ts';
import { runHostile } from './hostile-device.ts';
import { type StreamResult, runSeed } from './run-stream.ts';

export interface Fuzzer {
  readonly name: string;
  /** For people: what is tried on what. */
  readonly about: string;
  /** Seeds that take some seconds together, for every change of the sources. */
  readonly smokeSeeds: number;
  run(seed: number): Promise<StreamResult>;
}

export const FUZZERS: readonly Fuzzer[] = [
  {
    name: 'stream',
    about: 'streams of a guest, in lock-step with the model, and rings with something wrong',
    smokeSeeds: 12,
    run: (seed) => runSeed(coreTarget, seed),
  },
  {
    name: 'driver',
    about: 'our driver in front of a device that breaks rules',
    smokeSeeds: 100,
    run: (seed) => runHostile(coreDriver, coreTarget, seed),
  },
];
