/**
 * Host and guest in one thread, with everything that can happen between them: `viommu fuzz --simulate`.
 *
 * All of the real code takes part, from the DMA operations of the guest's IOMMU core down to the tables of the device.
 * What is simulated is time, the order in which the two sides and the endpoints act, and what goes wrong.
 */

import type { Fuzzer, Journal } from '../fuzz/fuzzer.ts';
import type { Random } from '../fuzz/random.ts';
import { Guest } from './guest.ts';
import { Host } from './host.ts';
import { makePlan } from './plan.ts';
import { Program } from './program.ts';
import { Stage } from './stage.ts';
import { strike } from './strike.ts';

/** For the registry. */
export const simulation: Fuzzer = {
  name: 'simulation',
  about: 'a whole guest and its host, in an order of a seed and with faults of a seed',
  smokeSeeds: 80,
  run: simulate,
};

function simulate(random: Random, journal: Journal): void {
  const plan = makePlan(random);
  const { strikePeriod, accessPeriod, delays, strikes, commandLine } = plan;
  const stage = new Stage({ random, journal, strikePeriod, accessPeriod, delays });
  const host = new Host(stage, plan);
  stage.note(() => `guest: boots with ${commandLine}`);
  stage.cast = {
    work: () => host.work(),
    access: () => undefined,
    strike: () => strike(stage, host, strikes),
  };
  try {
    const guest = new Guest(stage, plan, host);
    stage.cast = { ...stage.cast, access: () => random.pick(guest.engines).access() };
    new Program(guest).run();
  } catch (error) {
    // What was found first may have been wrapped, or covered by what came of it.
    throw stage.failure ?? error;
  }
}
