/** What else a conforming device may do: the same question again, with other choices. */

import { CHOICES } from './choice-table.ts';
import type { ChoiceName, Choices } from './choice.ts';

/** What a prediction hangs on. */
export interface Explorable {
  readonly asked: readonly ChoiceName[];
  /** Of these any may come first. */
  readonly rules?: readonly string[];
}

/** Another outcome that conforms. */
export interface Alternative<Outcome> {
  readonly prediction: Outcome;
  /** The choices that lead to it. */
  readonly chosen: Partial<Choices>;
}

/** Choices that are made differently at once: as many as one request can hang on in practice. */
const DEPTH_MAX = 3;
/** Questions asked: all there are for one deviation, and a bound for those with many. */
const QUESTIONS_MAX = 4096;

export interface ExploreOptions {
  /** Choices made differently at once, at most. */
  readonly depthMax?: number;
  /** False for values that lead to nothing that is looked for. */
  readonly useful?: (value: string) => boolean;
}

interface Path {
  readonly chosen: Partial<Choices>;
  readonly first: string | undefined;
  readonly depth: number;
}

/**
 * Asks `question` with other and other choices, those that differ least first, and returns the answers without doubles.
 * Choices that are not `free` stay as they are.
 */
export function explore<Outcome extends Explorable>(
  choices: Choices,
  question: (choices: Choices, first: string | undefined) => Outcome,
  free: (name: ChoiceName) => boolean = () => true,
  { depthMax = DEPTH_MAX, useful = () => true }: ExploreOptions = {},
): Alternative<Outcome>[] {
  const found = new Map<string, Alternative<Outcome>>();
  const paths: Path[] = [{ chosen: {}, first: undefined, depth: 0 }];
  const seen = new Set<string>();
  for (let next = 0; next < paths.length && next < QUESTIONS_MAX; next += 1) {
    const path = paths[next]!; // Below the length.
    const prediction = question({ ...choices, ...path.chosen }, path.first);
    const key = keyOf(prediction);
    if (!found.has(key)) found.set(key, { prediction, chosen: path.chosen });
    if (path.depth >= depthMax) continue;
    for (const other of branches(path, prediction, choices, free, useful)) {
      const name = JSON.stringify([
        other.first,
        ...Object.entries(other.chosen).map(String).toSorted(),
      ]);
      if (!seen.has(name)) paths.push(other);
      seen.add(name);
    }
  }
  return [...found.values()];
}

/** The paths that make one choice more than this one. */
function* branches(
  path: Path,
  { asked, rules = [] }: Explorable,
  choices: Choices,
  free: (name: ChoiceName) => boolean,
  useful: (value: string) => boolean,
): Generator<Path> {
  const depth = path.depth + 1;
  if (path.first === undefined) for (const first of rules.slice(1)) yield { ...path, first, depth };
  for (const name of asked) {
    if (name in path.chosen || !free(name)) continue;
    for (const value of CHOICES[name].values)
      if (value !== choices[name] && useful(value))
        yield { ...path, chosen: { ...path.chosen, [name]: value }, depth };
  }
}

/** The outcome as text, without the way that led to it. */
function keyOf(outcome: Explorable): string {
  return JSON.stringify(outcome, (key, value: unknown) => {
    if (key === 'asked' || key === 'rules' || key === 'rule') return undefined;
    return typeof value === 'bigint' ? `${value}n` : value;
  });
}
