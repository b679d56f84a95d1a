/** Runs what is asked for and says how it came out. The command line and whoever else wants figures starts here. */

import { Cast, isTwin } from './cast.ts';
import { type Heat, type Sample, runRound, warmUp } from './contest.ts';
import {
  COMPARISONS,
  type Comparison,
  GARBAGE,
  type Source,
  WAKES,
  isNamed,
  sourceName,
} from './figure.ts';
import { countGarbage } from './garbage.ts';
import { median } from './percentile.ts';
import { Processors } from './processors.ts';
import { type Figure, countOf, figureOf } from './result.ts';

export interface BenchOptions {
  /** Figures, or groups of them; all if empty. */
  readonly names: readonly string[];
  /** How long the windows take together; warming up and counting come on top. */
  readonly seconds: number;
  readonly signal: AbortSignal;
  /** Told now and then what is going on, and how much of it is done (0..1). */
  readonly onProgress: (what: string, share: number) => void;
}

export interface BenchResult {
  readonly figures: readonly Figure[];
  /** What could not be measured, and one sentence on why. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  readonly rounds: number;
  /** How much of the processors other programs had meanwhile (0..1): far from 0, figures of two threads mean little. */
  readonly othersShare: number;
}

const WINDOW_MS = 4;
/** Messages are slow, and a thread that shares its processor gets its turn seldom. */
const MESSAGE_WINDOW_MS = 10;
const BUSY_WINDOW_MS = 60;
const WARM_UP_MS = 40;
const ROUNDS_MIN = 5;

/** The names that ask for nothing. */
export function unknownNames(names: readonly string[]): string[] {
  const all = [...COMPARISONS, ...WAKES, ...GARBAGE];
  return names.filter((name) => !all.some((figure) => isNamed(figure, [name])));
}

/** Measures. Rejects with the signal's reason when that is aborted; nothing is left running. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const { names, signal } = options;
  const wakes = WAKES.filter((count) => isNamed(count, names));
  const garbage = GARBAGE.filter((count) => isNamed(count, names));
  const wanted = COMPARISONS.filter(
    (one) => isNamed(one, names) || wakes.some(({ source }) => sourceName(source) === one.name),
  );
  const cast = new Cast();
  const processors = new Processors();
  const end = (): void => void cast.end();
  signal.addEventListener('abort', end);
  try {
    const sources = wanted.flatMap(({ source, against }) => [source.variant, against.variant]);
    const noTwin = await cast.prepare(sources, signal);
    const possible = noTwin === undefined ? wanted : wanted.filter((one) => !needsTwin(one));
    const { samples, rounds } = await compare(possible, cast, options);
    const othersShare = processors.othersShare(cast.processorMs);
    const figures = possible
      .filter((one) => isNamed(one, names))
      .map((one) => figureOf(one, samples.get(one) ?? []));
    for (const { name, source, goal } of wakes) {
      const compared = possible.find((one) => one.name === sourceName(source));
      const counts = (compared && samples.get(compared)) ?? [];
      const values = counts.map(({ outcome }) => (outcome.wakes ?? 0) / outcome.requests);
      figures.push(countOf(name, 'per request', median(values), 'a wake-up for each', goal));
    }
    for (const [index, count] of garbage.entries()) {
      options.onProgress(`counting ${count.name}`, index / garbage.length);
      for (const [side, value] of Object.entries(await countGarbage(count, cast)))
        figures.push(
          countOf(
            `${count.name}.${side}`,
            'per million requests',
            value,
            'floor.ping-pong',
            count.goal,
          ),
        );
    }
    const skipped = wanted
      .filter((one) => !possible.includes(one))
      .map(({ name }) => ({ name, reason: noTwin ?? '' }));
    return { figures, skipped, rounds, othersShare };
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', end);
    await cast.end();
  }
}

/** Round after round of all comparisons until the time is over. */
async function compare(
  comparisons: readonly Comparison[],
  cast: Cast,
  { seconds, signal, onProgress }: BenchOptions,
): Promise<{ samples: Map<Comparison, Sample[]>; rounds: number }> {
  const samples = new Map<Comparison, Sample[]>(comparisons.map((one) => [one, []]));
  if (comparisons.length === 0) return { samples, rounds: 0 };
  const heats = [...Map.groupBy(comparisons, heatName).values()];
  const entry = ({ variant, batch }: Source) => ({ contender: cast.get(variant), batch });
  const sources = new Map(
    comparisons.flatMap((one) => [one.source, one.against].map((it) => [sourceName(it), it])),
  );
  let warm = 0;
  for (const source of sources.values()) {
    onProgress('warming up', (warm += 1) / sources.size);
    await warmUp(entry(source), WARM_UP_MS);
    signal.throwIfAborted();
  }
  const begun = performance.now();
  let rounds = 0;
  for (; rounds < ROUNDS_MIN || performance.now() - begun < seconds * 1000; rounds += 1) {
    for (const heat of heats) {
      onProgress('measuring', Math.min(1, (performance.now() - begun) / (seconds * 1000)));
      const [{ against, busy }] = heat as [Comparison]; // A group is not empty.
      const order: Heat = {
        against: entry(against),
        entries: heat.map(({ source }) => entry(source)),
        windowMs: windowMs(against, busy === true),
      };
      if (busy === true) cast.busyThread.busy = true;
      const round = await runRound(order);
      if (busy === true) cast.busyThread.busy = false;
      round.forEach((sample, index) => samples.get(heat[index]!)?.push(sample)); // One each.
      signal.throwIfAborted();
    }
  }
  return { samples, rounds };
}

function heatName({ against, busy }: Comparison): string {
  return `${sourceName(against)} ${busy === true}`;
}

function windowMs(against: Source, busy: boolean): number {
  if (busy) return BUSY_WINDOW_MS;
  return against.variant.startsWith('message.') ? MESSAGE_WINDOW_MS : WINDOW_MS;
}

function needsTwin({ source, against }: Comparison): boolean {
  return isTwin(source.variant) || isTwin(against.variant);
}
