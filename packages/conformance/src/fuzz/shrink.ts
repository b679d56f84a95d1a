/** Makes the stream of a finding as short and as plain as it gets while it still shows the same thing. */

import type { DeviceTargetFactory } from '../target.ts';
import { signatureOf } from './deviation.ts';
import type { Finding } from './finding.ts';
import { runStream } from './run-stream.ts';
import type { Setup, Step, Stream } from './stream.ts';

export interface ShrinkOptions {
  /** Runs of the stream at most. */
  readonly runsMax?: number;
  /** True once there is no more time. */
  readonly ended?: () => boolean;
}

/** The same finding with the shortest stream that was found. One that does not show again is returned as it is. */
export async function shrink(
  factory: DeviceTargetFactory,
  finding: Finding,
  { runsMax = 2000, ended = () => false }: ShrinkOptions = {},
): Promise<Finding> {
  const signature = signatureOf(finding);
  let best = finding;
  let runs = 0;
  const shows = async (stream: Stream): Promise<boolean> => {
    if (runs >= runsMax || ended()) return false;
    runs += 1;
    const { finding: seen } = await runStream(factory, stream, finding);
    if (seen === undefined || signatureOf(seen) !== signature) return false;
    best = { ...seen, foundAfter: finding.foundAfter };
    return true;
  };
  if (!(await shows(finding.stream))) return finding;
  for (let before = Infinity; size(best.stream) < before && runs < runsMax;) {
    before = size(best.stream);
    await dropSteps(() => best.stream, shows);
    await plainer(() => best.stream, shows);
  }
  return best;
}

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
  (setup) => (setup.format === 'packed' ? { ...setup, format: 'split' } : setup),
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
    ] as const
  ).map((name) => (setup: Setup) => {
    if (setup.wish[name] === undefined) return setup;
    const { [name]: _, ...wish } = setup.wish;
    return { ...setup, wish };
  }),
];

/** A measure of how much there is to read. */
function size({ setup, steps }: Stream): number {
  const cuts = steps.filter((step) => step.kind === 'request' && step.cuts !== undefined).length;
  const held = steps.filter((step) => step.kind === 'request' && step.held).length;
  return steps.length * 4 + cuts + held + Object.keys(setup.wish).length;
}
