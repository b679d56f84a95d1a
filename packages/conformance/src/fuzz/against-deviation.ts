/** Differences between two devices that are known, each with a name: so that they hide no other. */

import { IommuError } from '@viommu/common';

/** What was seen on both sides. */
export interface Difference {
  /** `answer`, `access`, `event`, `memory`, `config` or `reset`. */
  readonly kind: string;
  /** What it is about: the kind of request (`attach` …), `read` or `write`, or the name of a field. */
  readonly about: string;
  /** What each did, in words: `OK`, `nothing written`, `length 4` … */
  readonly first: string;
  readonly second: string;
  /** Which of the two a standard-conforming device may do. */
  readonly verdict: Verdict;
  /** The rules that decided on each side. */
  readonly rules: readonly string[];
}

/** `both` conform and made another choice, or `neither` does. */
export type Verdict = 'both' | 'first' | 'second' | 'neither';

/** One or several of them. */
type Words = string | readonly string[];

/** A difference with a name. It covers whatever agrees with all that its `where` says. */
export interface NamedDeviation {
  readonly name: string;
  /** For people: what the difference is. */
  readonly about: string;
  readonly where: {
    readonly kind?: Words;
    readonly about?: Words;
    /** What the two did, whichever was which. */
    readonly does?: readonly [Words, Words];
    readonly verdict?: Words;
    /** One of the rules that decided. */
    readonly rule?: Words;
  };
}

/** The first name that covers a difference. */
export function nameOfDifference(
  difference: Difference,
  deviations: readonly NamedDeviation[],
): string | undefined {
  return deviations.find(({ where }) => covers(where, difference))?.name;
}

/** One line that is the same for all differences that are one. */
export function formatDifference({ about, first, second, verdict, rules }: Difference): string {
  const side = { both: 'both conform', neither: 'neither conforms' } as Record<string, string>; // the others are below
  const by = rules.length === 0 ? '' : ` (${rules.join(', ')})`;
  return `${about}: ${first} and ${second}; ${side[verdict] ?? `only the ${verdict} conforms`}${by}`;
}

/** The table that a file of JSON holds. @throws {IommuError} `EINVAL` if it is none. */
export function parseDeviations(text: string): readonly NamedDeviation[] {
  let table: unknown;
  try {
    table = JSON.parse(text);
  } catch (cause) {
    throw new IommuError('EINVAL', 'The deviations are no JSON.', { cause });
  }
  if (!Array.isArray(table)) throw new IommuError('EINVAL', 'The deviations are no list.');
  return table.map((entry: unknown, index) => {
    const { name, about, where } = Object(entry) as Record<string, unknown>; // looked at next
    if (typeof name !== 'string' || typeof about !== 'string' || !isWhere(where))
      throw new IommuError('EINVAL', `Deviation ${index + 1} has no name, about and where.`);
    return { name, about, where };
  });
}

function isWhere(value: unknown): value is NamedDeviation['where'] {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).every(([key, field]) => {
    if (key === 'does') return Array.isArray(field) && field.length === 2 && field.every(isWords);
    return ['kind', 'about', 'verdict', 'rule'].includes(key) && isWords(field);
  });
}

function isWords(value: unknown): value is Words {
  const words: unknown[] = Array.isArray(value) ? value : [value];
  return words.every((word) => typeof word === 'string');
}

function covers(where: NamedDeviation['where'], difference: Difference): boolean {
  const { kind, about, verdict, rules, first, second } = difference;
  if (!has(where.kind, kind) || !has(where.about, about) || !has(where.verdict, verdict))
    return false;
  if (where.rule !== undefined && !rules.some((rule) => has(where.rule, rule))) return false;
  const { does } = where;
  if (does === undefined) return true;
  const [one, other] = does;
  return (has(one, first) && has(other, second)) || (has(one, second) && has(other, first));
}

function has(words: Words | undefined, word: string): boolean {
  if (words === undefined) return true;
  return typeof words === 'string' ? words === word : words.includes(word);
}
