/** From the windows of a comparison, or a count, to a figure with its goal. */

import type { Sample } from './contest.ts';
import { type Comparison, type Goal, type Unit, sourceName } from './figure.ts';
import { median, percentile } from './percentile.ts';

/** One figure, as it came out. */
export interface Figure {
  readonly name: string;
  /** The best twentieth of the windows. */
  readonly value: number;
  readonly unit: Unit;
  /** What it is measured against, and the value of that. */
  readonly against: string;
  readonly againstValue: number | undefined;
  /** The median of the ratios of all rounds, and the quartiles around it. */
  readonly ratio: number;
  readonly quartiles: readonly [number, number] | undefined;
  /** Whether the ratio is one of times or of rates. */
  readonly of: 'time' | 'rate' | 'count';
  readonly goal: Goal | undefined;
  readonly met: boolean | undefined;
}

export function figureOf(one: Comparison, samples: readonly Sample[]): Figure {
  const { name, unit, against, goal } = one;
  const floor = against.variant.startsWith('floor.') && one.busy !== true;
  const time = goal === undefined ? floor : 'atMost' in goal;
  const ratios = samples.map(({ rate, againstRate }) =>
    time ? againstRate / rate : rate / againstRate,
  );
  const ratio = median(ratios);
  return {
    name,
    value: valueOf(
      samples.map(({ rate }) => rate),
      unit,
    ),
    unit,
    against: sourceName(against),
    againstValue: valueOf(
      samples.map(({ againstRate }) => againstRate),
      unit,
    ),
    ratio,
    quartiles: [percentile(ratios, 0.25), percentile(ratios, 0.75)],
    of: time ? 'time' : 'rate',
    goal,
    met: goal && meets(ratio, goal),
  };
}

export function countOf(
  name: string,
  unit: Unit,
  value: number,
  against: string,
  goal: Goal,
): Figure {
  const met = meets(value, goal);
  const rest = { againstValue: undefined, quartiles: undefined, of: 'count', goal, met } as const;
  return { name, value, unit, against, ratio: value, ...rest };
}

/** The best twentieth of the windows, in `unit`. */
function valueOf(rates: readonly number[], unit: Unit): number {
  const rate = percentile(rates, 0.95);
  if (unit === 'ns') return 1e9 / rate;
  return rate / (unit === 'M/s' ? 1e6 : 1e3);
}

function meets(ratio: number, goal: Goal): boolean {
  return 'atMost' in goal ? ratio <= goal.atMost : ratio >= goal.atLeast;
}
