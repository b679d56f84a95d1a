/** Makes the input of a finding as short and as plain as it gets while it still shows the same thing. */

import { signatureOf } from './deviation.ts';
import type { Finding, FindingInput } from './finding.ts';
import type { Setup, Step, Stream } from './stream.ts';

export interface ShrinkOptions {
  /** Tries at most. */
  readonly runsMax?: number;
  /** True once there is no more time. */
  readonly ended?: () => boolean;
}

/** Runs an input again; what it shows, if anything. */
export type Replay = (input: FindingInput) => Promise<Finding | undefined>;

/** The same finding with the shortest input that was found. One that does not show again is returned as it is. */
export async function shrink(
  finding: Finding,
  replay: Replay,
  { runsMax = 2000, ended = () => false }: ShrinkOptions = {},
): Promise<Finding> {
  const signature = signatureOf(finding);
  let best = finding;
  let runs = 0;
  const shows = async (input: FindingInput): Promise<boolean> => {
    if (runs >= runsMax || ended()) return false;
    runs += 1;
    const seen = await replay(input);
    if (seen === undefined || signatureOf(seen) !== signature) return false;
    best = { ...seen, foundAfter: finding.foundAfter };
    return true;
  };
  if (!(await shows(finding.input))) return finding;
  for (let before = Infinity; size(best.input) < before && runs < runsMax && !ended();) {
    before = size(best.input);
    const { input } = best;
    if (input.kind === 'stream') await shrinkStream(input.stream, shows);
    else await shrinkTape(input.tape, (tape) => shows({ ...input, tape }));
  }
  return best;
}

async function shrinkStream(
  stream: Stream,
  shows: (input: FindingInput) => Promise<boolean>,
): Promise<void> {
  let best = stream;
  const showsStream = async (other: Stream): Promise<boolean> => {
    if (!(await shows({ kind: 'stream', stream: other }))) return false;
    best = other;
    return true;
  };
  await dropSteps(() => best, showsStream);
  await plainer(() => best, showsStream);
}

/** Pieces of the tape go, then single values become small: fuzzers draw what is simple with 0. */
async function shrinkTape(
  tape: readonly number[],
  shows: (tape: readonly number[]) => Promise<boolean>,
): Promise<void> {
  let best = tape;
  for (let count = Math.ceil(best.length / 2); count >= 1; count = Math.floor(count / 2)) {
    for (let from = best.length - count; from > -count; from -= count) {
      const kept = best.toSpliced(Math.max(from, 0), count + Math.min(from, 0));
      if (kept.length < best.length && (await shows(kept))) best = kept;
    }
  }
  for (let index = 0; index < best.length; index += 1) {
    for (const divisor of TAPE_DIVISORS) {
      const value = Math.floor(best[index]! / divisor); // below the length
      if (value === best[index]) break;
      const other = best.with(index, value);
      if (!(await shows(other))) continue;
      best = other;
      break;
    }
  }
}

/** To 0, to a little, to half. */
const TAPE_DIVISORS = [2 ** 32, 16, 2] as const;

type Now = () => Stream;
type Shows = (stream: Stream) => Promise<boolean>;

/** Takes away pieces, from half of the steps down to single ones, as long as one of a size can go. */
async function dropSteps(now: Now, shows: Shows): Promise<void> {
  for (let count = Math.ceil(now().steps.length / 2); count >= 1; count = Math.floor(count / 2)) {
    // From the end on: what comes first is needed by what follows.
    for (let from = now().steps.length - count; from > -count; from -= count) {
      const { setup, steps } = now();
      const kept = steps.filter((_, index) => index < from || index >= from + count);
      if (kept.length < steps.length) await shows({ setup, steps: kept });
    }
  }
}

/** Tries plainer steps and a plainer device, one thing at a time. */
async function plainer(now: Now, shows: Shows): Promise<void> {
  for (let index = 0; index < now().steps.length; index += 1) {
    for (const other of plainerSteps(now().steps[index]!)) {
      // Below the length.
      const { setup, steps } = now();
      await shows({ setup, steps: steps.with(index, other) });
    }
  }
  for (const change of PLAINER_SETUPS) {
    const { setup, steps } = now();
    const other = change(setup);
    if (other !== setup) await shows({ setup: other, steps });
  }
}

function plainerSteps(step: Step): Step[] {
  switch (step.kind) {
    case 'request': {
      const { cuts, ...whole } = step;
      return [
        ...(cuts === undefined ? [] : [whole]),
        ...(step.held ? [{ ...step, held: false }] : []),
      ];
    }
    case 'access':
      return [1, 8].filter((length) => length < step.length).map((length) => ({ ...step, length }));
    case 'reset':
      return step.refuse === 0n ? [] : [{ ...step, refuse: 0n }];
    default:
      return [];
  }
}

const PLAINER_SETUPS: readonly ((setup: Setup) => Setup)[] = [
  (setup) => (setup.refuse === 0n ? setup : { ...setup, refuse: 0n }),
  (setup) => (setup.indirect ? { ...setup, indirect: false } : setup),
  // A split queue has a power of two.
  (setup) =>
    setup.format === 'packed'
      ? { ...setup, format: 'split', queueSize: 2 ** Math.floor(Math.log2(setup.queueSize)) }
      : setup,
  ...(
    [
      'withFeatures',
      'withoutFeatures',
      'pageSizeMask',
      'inputRange',
      'domainRange',
      'probeSize',
      'bypass',
      'reserved',
      'limits',
      'memoryStart',
    ] as const
  ).map((name) => (setup: Setup) => {
    if (setup.wish[name] === undefined) return setup;
    const { [name]: _, ...wish } = setup.wish;
    return { ...setup, wish };
  }),
];

/** A measure of how much there is to read. */
function size(input: FindingInput): number {
  if (input.kind === 'tape')
    return input.tape.reduce((sum, value) => sum + Math.log2(value + 1), input.tape.length * 4);
  const { setup, steps } = input.stream;
  const cuts = steps.filter((step) => step.kind === 'request' && step.cuts !== undefined).length;
  const held = steps.filter((step) => step.kind === 'request' && step.held).length;
  return steps.length * 4 + cuts + held + Object.keys(setup.wish).length;
}
