/**
 * `viommu bench [NAME…]`: the benchmarks of a checkout, each figure beside its floor or its alternative.
 *
 * They live in `bench/` at the top of the repository, are no part of any package, and are found from here by place.
 */

import { existsSync } from 'node:fs';
import { ExitCode, usageFailure } from './failure.ts';
import type { Output } from './output.ts';
import { Progress, formatShare } from './progress.ts';

export interface BenchOptions {
  /** How long the windows take together. */
  readonly seconds: number;
  /** Ends with code 1 if a goal is missed. */
  readonly check: boolean;
}

/** The part of `bench/run.ts` that is used here. */
interface BenchModule {
  readonly unknownNames: (names: readonly string[]) => string[];
  readonly runBench: (options: {
    readonly names: readonly string[];
    readonly seconds: number;
    readonly signal: AbortSignal;
    readonly onProgress: (what: string, share: number) => void;
  }) => Promise<{
    readonly figures: readonly Figure[];
    readonly skipped: readonly { readonly name: string; readonly reason: string }[];
    readonly rounds: number;
    readonly othersShare: number;
  }>;
}

interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly against: string;
  readonly againstValue: number | undefined;
  readonly ratio: number;
  readonly quartiles: readonly [number, number] | undefined;
  readonly of: 'time' | 'rate' | 'count';
  readonly goal:
    | (({ readonly atMost: number } | { readonly atLeast: number }) & { readonly issue?: number })
    | undefined;
  readonly met: boolean | undefined;
}

/** Beyond this share of the processors other programs are in the way. */
const OTHERS_MAX = 0.05;

const MODULE = new URL('../../../bench/run.ts', import.meta.url);

/** Measures what `names` ask for, all without any; the result is the exit code. */
export async function bench(
  names: readonly string[],
  options: BenchOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  if (!existsSync(MODULE))
    throw usageFailure('the benchmarks are not part of the packages; run them from a checkout');
  if (process.features.typescript === false)
    throw usageFailure('the benchmarks need Node 24, which runs TypeScript as it is');
  const { unknownNames, runBench } = (await import(MODULE.href)) as BenchModule; // Declared above.
  const [unknown] = unknownNames(names);
  if (unknown !== undefined)
    throw usageFailure(`there is no figure ${unknown}; bench/figure.ts lists them`);

  let state = 'starting';
  const progress = new Progress(output.notes, () => state);
  const onProgress = (what: string, share: number): void => {
    state = `${what} ${formatShare(share, 1)}`;
  };
  const begun = performance.now();
  const { figures, skipped, rounds, othersShare } = await runBench({
    names,
    seconds: options.seconds,
    signal,
    onProgress,
  }).finally(() => progress.end());

  if (figures.length > 0) print(figures, rounds, output);
  if (othersShare > OTHERS_MAX)
    output.line(
      `Other programs had ${formatShare(othersShare, 1)} of the processors meanwhile: measure again when it is quiet.`,
    );
  for (const { name, reason } of skipped) output.line(`  ${name} skipped: ${reason}`);
  for (const figure of figures) output.event(figureEvent(figure));
  for (const one of skipped) output.event({ event: 'skipped', ...one });
  const goals = figures.filter(({ met }) => met !== undefined);
  const met = goals.filter((figure) => figure.met === true).length;
  output.event({
    event: 'summary',
    figures: figures.length,
    skipped: skipped.length,
    goals: goals.length,
    met,
    missed: goals.filter((figure) => figure.met === false).map(({ name }) => name),
    rounds,
    othersShare: round(othersShare),
    seconds: round((performance.now() - begun) / 1000),
    node: process.version,
  });
  if (goals.length > 0) output.line(`${met} of ${goals.length} goals met.`);
  return options.check && met < goals.length ? ExitCode.FAILED : ExitCode.OK;
}

function print(figures: readonly Figure[], rounds: number, output: Output): void {
  output.heading(`Windows of a few milliseconds in turn, ${rounds} rounds`);
  output.table(
    [
      { title: 'figure', align: 'left' },
      { title: 'value', align: 'right' },
      { title: 'against', align: 'left' },
      { title: 'value', align: 'right' },
      { title: 'ratio (quartiles)', align: 'left' },
      { title: 'goal', align: 'left' },
      { title: 'issue', align: 'right' },
      { title: 'met', align: 'left' },
    ],
    figures.map((figure) => [
      figure.name,
      `${digits(figure.value)} ${figure.unit}`,
      figure.against,
      figure.againstValue === undefined ? '' : digits(figure.againstValue),
      ratioText(figure),
      goalText(figure),
      String(figure.goal?.issue ?? ''),
      figure.met === undefined ? '' : figure.met ? 'yes' : output.style('yellow', 'no'),
    ]),
  );
  output.line('Values are the best twentieth of the windows; ratios the median of all rounds.');
}

function ratioText({ ratio, quartiles, of }: Figure): string {
  const spread = quartiles === undefined ? '' : ` (${quartiles.map(digits).join('-')})`;
  return `${digits(ratio)}${of === 'count' ? '' : ` × ${of}`}${spread}`;
}

function goalText({ goal }: Figure): string {
  if (goal === undefined) return '';
  return 'atMost' in goal ? `at most ${digits(goal.atMost)}` : `at least ${digits(goal.atLeast)}`;
}

function figureEvent(figure: Figure): Record<string, unknown> {
  const { name, value, unit, against, againstValue, ratio, quartiles, of, goal, met } = figure;
  return {
    event: 'figure',
    name,
    value: round(value),
    unit,
    against,
    ratio: round(ratio),
    goal: goal === undefined ? null : 'atMost' in goal ? goal.atMost : goal.atLeast,
    met: met ?? null,
    // What a ratio is of, and how sure it is.
    of,
    againstValue: againstValue === undefined ? null : round(againstValue),
    quartiles: quartiles?.map(round) ?? null,
    goalIs: goal === undefined ? null : 'atMost' in goal ? 'at most' : 'at least',
    issue: goal?.issue ?? null,
  };
}

/** Three digits that mean something. */
function digits(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value === 0 ? '0' : value.toPrecision(3);
}

function round(value: number): number {
  return Number(value.toPrecision(5));
}
