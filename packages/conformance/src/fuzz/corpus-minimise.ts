/** The few inputs of many that reach all that the many do. */

import type { CorpusEntry } from './corpus-file.ts';
import { type LoadedCorpus, loadCorpus, replaceCorpus } from './corpus.ts';
import type { Stream } from './stream.ts';

/** What a stream reaches: `GuidedRunner.featuresOf`. */
export type FeaturesOf = (stream: Stream) => Promise<ReadonlySet<number>>;

/**
 * A small set of entries with the coverage of all of them: short ones are preferred, and the order does not matter.
 * Those with which something is wrong are left out.
 */
export async function minimise(
  entries: readonly CorpusEntry[],
  featuresOf: FeaturesOf,
): Promise<CorpusEntry[]> {
  const sorted = entries.toSorted(
    (one, other) =>
      one.stream.steps.length - other.stream.steps.length || (one.name < other.name ? -1 : 1),
  );
  const reached = new Map<CorpusEntry, ReadonlySet<number>>();
  // Of each feature the shortest stream that has it.
  const owners = new Map<number, CorpusEntry>();
  const rarity = new Map<number, number>();
  for (const entry of sorted) {
    const features = await featuresOf(entry.stream);
    reached.set(entry, features);
    for (const feature of features) {
      if (!owners.has(feature)) owners.set(feature, entry);
      rarity.set(feature, (rarity.get(feature) ?? 0) + 1);
    }
  }
  // Features that few have decide first: who has them often has the others.
  const order = [...owners.keys()].toSorted(
    (one, other) => rarity.get(one)! - rarity.get(other)! || one - other, // all have an owner
  );
  const covered = new Set<number>();
  const kept = new Set<CorpusEntry>();
  for (const feature of order) {
    const owner = owners.get(feature);
    if (covered.has(feature) || owner === undefined) continue;
    kept.add(owner);
    for (const each of reached.get(owner) ?? []) covered.add(each);
  }
  return [...kept].toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** What a merge came to. */
export interface MergeReport extends Pick<LoadedCorpus, 'problems'> {
  /** Inputs that were there, and that are left. */
  readonly read: number;
  readonly kept: number;
}

/**
 * Puts the inputs of several folders into one, which may be one of them, without those that add nothing; what was there
 * before and adds nothing goes. `cut` says which those are: {@link minimise}, in whatever thread.
 *
 * @throws {IommuError} `EINVAL` if a folder cannot be read.
 */
export async function mergeCorpora(
  folders: readonly string[],
  into: string,
  cut: (entries: readonly CorpusEntry[]) => Promise<readonly CorpusEntry[]>,
): Promise<MergeReport> {
  const loaded = [...new Set([into, ...folders])].map(loadCorpus);
  const all = new Map(loaded.flatMap(({ entries }) => entries).map((entry) => [entry.name, entry]));
  const kept = await cut([...all.values()]);
  replaceCorpus(into, kept);
  return {
    read: all.size,
    kept: kept.length,
    problems: loaded.flatMap(({ problems }) => problems),
  };
}
