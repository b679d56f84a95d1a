/** One run of a guided input: the steps that are known, and what a generator does after them. */

import type { DeviceTarget, DeviceTargetFactory } from '../../target.ts';
import type { PairCoverage } from '../coverage.ts';
import { symptomOf } from '../finding.ts';
import type { Outcome, Tally } from '../fuzzer.ts';
import { Generator } from '../generator.ts';
import { Lockstep } from '../lockstep.ts';
import { Random } from '../random.ts';
import type { Step, Stream } from '../stream.ts';
import type { Feedback } from './feedback.ts';

/** The name of what makes inputs of others. */
export const GUIDED = 'guided';

/** An input before it is run. */
export interface Plan {
  /** The steps that come first. */
  readonly stream: Stream;
  /** What a generator goes on with, and for how many steps. */
  readonly seed: number;
  readonly more: number;
}

/** What a run came to. */
export interface Trial extends Outcome {
  readonly stream: Stream;
  /** Features that no run before had, and the steps up to the last of them. */
  readonly news: readonly number[];
  readonly newsAt: number;
}

export interface TrialOptions {
  /** Signatures of deviations that do not end a stream, if one can go on after them. */
  readonly tolerated: readonly string[];
  /** Hears how many steps there are before each of them is taken. */
  readonly drew?: ((steps: number) => void) | undefined;
  /** What a finding is kept with. */
  readonly seed: number;
}

/** Runs a plan, and tells what is new about it. */
export async function runPlan(
  factory: DeviceTargetFactory,
  plan: Plan,
  feedback: Feedback,
  { tolerated, drew, seed }: TrialOptions,
): Promise<Trial> {
  const steps: Step[] = [];
  const news: number[] = [];
  let newsAt = 0;
  const { tally, error } = await drive(factory, plan, {
    tolerated,
    rules: feedback.rules,
    begin: () => feedback.begin(),
    before(step) {
      steps.push(step);
      drew?.(steps.length);
      feedback.clear();
    },
    after() {
      const found = feedback.take();
      if (found.length === 0) return;
      news.push(...found);
      newsAt = steps.length;
    },
  });
  const stream = { setup: plan.stream.setup, steps };
  const outcome = { tally, stream, news, newsAt };
  if (error === undefined) return { ...outcome, finding: undefined };
  const input = { kind: 'stream', stream } as const;
  const known = { fuzzer: GUIDED, seed, foundAfter: steps.length, input, tolerated };
  return { ...outcome, finding: { ...known, ...symptomOf(error) } };
}

/** The first steps of a plan, of which the last is not taken: so one is known that never ends. */
export async function streamOfPlan(
  factory: DeviceTargetFactory,
  plan: Plan,
  count: number,
  tolerated: readonly string[] = [],
): Promise<Stream> {
  const steps: Step[] = [];
  // It did not get further than opening the target.
  if (count === 0) return { setup: plan.stream.setup, steps };
  await drive(factory, plan, {
    tolerated,
    before(step) {
      steps.push(step);
      if (steps.length >= count) throw new Error('The steps are there.');
    },
  });
  return { setup: plan.stream.setup, steps };
}

/** Hears of the steps of a plan. */
export interface Visitor {
  readonly tolerated: readonly string[];
  readonly rules?: PairCoverage;
  /** The target is there, and the driver about to start. */
  readonly begin?: () => void;
  /** A step is about to be taken. What this throws ends the plan. */
  readonly before?: (step: Step, index: number) => void;
  /** The driver has started, a step was taken, or all that was held back was sent at the end. */
  readonly after?: () => void;
}

/** Carries a plan out; `error` is what ended it. */
export async function drive(
  factory: DeviceTargetFactory,
  { stream: { setup, steps }, seed, more }: Plan,
  { tolerated, rules, begin, before, after }: Visitor,
): Promise<{ readonly tally: Tally; readonly error: unknown }> {
  let target: DeviceTarget | undefined;
  let tally: Tally = { requests: 0, accesses: 0, faults: 0 };
  try {
    target = await factory.open(setup.wish);
    begin?.();
    const lockstep = new Lockstep(target, setup, factory.choices, new Set(tolerated));
    ({ tally } = lockstep);
    lockstep.coverage = rules;
    after?.();
    const take = (step: Step, index: number): void => {
      before?.(step, index);
      lockstep.step(step);
      after?.();
    };
    steps.forEach(take);
    const generator =
      more > 0 ? new Generator(new Random(seed), () => lockstep.model, setup, target) : undefined;
    for (let count = 0; count < more && generator !== undefined; count += 1) {
      const step = generator.next();
      // It takes as long as thousands of others, and blind streams have it too.
      if (step.kind !== 'turn') take(step, steps.length + count);
    }
    lockstep.end();
    after?.();
    return { tally, error: undefined };
  } catch (error) {
    return { tally, error: error ?? new Error('something was thrown') };
  } finally {
    target?.dispose();
  }
}
