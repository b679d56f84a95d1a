/**
 * What streams reach, as numbers: how often an edge was taken within a step, in classes as wide as powers of two; or,
 * where nothing is instrumented, pairs of rules that followed each other. What was never reached before is worth to go
 * on from.
 */

import type { PairCoverage } from '../coverage.ts';
import { EDGES_MAX, FIRST_EDGE, type Probe, type ProbedModule } from './probe.ts';
import { RuleTrace } from './rule-trace.ts';

/** How much is reached, in this thread or, where names are joined, in several. */
export interface Reached {
  /** Edges that were taken, by name, and how many there are. */
  readonly edges: readonly string[];
  readonly edgesThere: number;
  /** Comparisons whose operands were once equal, by name, and how many there are. */
  readonly comparisons: readonly string[];
  readonly comparisonsThere: number;
  /** Pairs of rules. */
  readonly pairs: readonly string[];
}

/** Counts from 0 to 255 as one of eight bits: 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more. */
const CLASSES: Uint8Array = Uint8Array.from({ length: 256 }, (_, count) => {
  if (count < 4) return count === 0 ? 0 : 1 << (count - 1);
  if (count < 32) return 1 << (Math.floor(Math.log2(count)) + 1);
  return count < 128 ? 64 : 128;
});
/** Features of an edge. */
const CLASS_COUNT = 8;
/** The first feature that is a pair of rules. */
const FIRST_PAIR = EDGES_MAX * CLASS_COUNT;

export class Feedback {
  readonly #probe: Probe | undefined;
  readonly #words: Int32Array | undefined;
  readonly #rules = new RuleTrace();
  /** Bits of classes, for each edge. */
  readonly #seenEdges = new Uint8Array(EDGES_MAX);
  readonly #seenPairs = new Set<number>();
  /** Not 0 for comparisons whose operands were once equal. */
  readonly #equal: boolean[] = [];
  #fresh: { edges: number[]; comparisons: number[]; pairs: number[] } = emptyNews();

  /** Without a probe, pairs of rules steer; with one they are only counted. */
  constructor(probe?: Probe) {
    this.#probe = probe;
    this.#words = probe && new Int32Array(probe.counts.buffer);
  }

  /** What is to hear of rules. */
  get rules(): PairCoverage {
    return this.#rules;
  }

  get probe(): Probe | undefined {
    return this.#probe;
  }

  /** A stream begins. */
  begin(): void {
    this.#rules.begin();
    this.clear();
  }

  /** A step begins: what was counted until now does not belong to it. */
  clear(): void {
    const { counts, edges } = this.#probe ?? NO_PROBE;
    counts.fill(0, FIRST_EDGE, edges);
  }

  /** The features of the last step that none had before. */
  take(): readonly number[] {
    let news: number[] | undefined;
    this.#each((feature) => {
      if (this.#see(feature)) (news ??= []).push(feature);
    });
    return news ?? NONE;
  }

  /** All features of the last step. */
  collect(into: Set<number>): void {
    this.#each((feature) => into.add(feature));
  }

  /** Of these features, those that the last step does not have. */
  without(features: readonly number[]): readonly number[] {
    const counts = this.#probe?.counts;
    const pairs = this.#rules.recent();
    const isMissing = (feature: number): boolean => {
      if (feature >= FIRST_PAIR) return !pairs.includes(feature - FIRST_PAIR);
      const count = counts?.[Math.floor(feature / CLASS_COUNT)] ?? 0;
      return CLASSES[count] !== 1 << (feature % CLASS_COUNT);
    };
    return features.filter(isMissing);
  }

  /** Takes features for seen; true if one was not. */
  see(features: Iterable<number>): boolean {
    let news = false;
    for (const feature of features) if (this.#see(feature)) news = true;
    return news;
  }

  /** The operands of a comparison were equal. */
  sawEqual(comparison: number): void {
    if (this.#equal[comparison] === true) return;
    this.#equal[comparison] = true;
    this.#fresh.comparisons.push(comparison);
  }

  wasEqual(comparison: number): boolean {
    return this.#equal[comparison] === true;
  }

  /** What was reached since this was last asked for. */
  takeReached(): Reached {
    const { edges, comparisons, pairs } = this.#fresh;
    this.#fresh = emptyNews();
    const modules = this.#probe?.modules ?? [];
    return {
      edges: edges.map((edge) => nameIn(modules, edge, 'firstEdge')),
      edgesThere: modules.reduce((sum, module) => sum + module.edges, 0),
      comparisons: comparisons.map((each) => nameIn(modules, each, 'firstComparison')),
      comparisonsThere: this.#probe?.comparisons ?? 0,
      pairs: pairs.map((pair) => this.#rules.nameOf(pair)),
    };
  }

  #see(feature: number): boolean {
    if (feature >= FIRST_PAIR) {
      const pair = feature - FIRST_PAIR;
      if (this.#seenPairs.has(pair)) return false;
      this.#seenPairs.add(pair);
      this.#fresh.pairs.push(pair);
      return true;
    }
    const edge = Math.floor(feature / CLASS_COUNT);
    const bit = 1 << (feature % CLASS_COUNT);
    const seen = this.#seenEdges[edge]!; // an edge below the limit
    if ((seen & bit) !== 0) return false;
    if (seen === 0) this.#fresh.edges.push(edge);
    this.#seenEdges[edge] = seen | bit;
    return true;
  }

  #each(visit: (feature: number) => void): void {
    const words = this.#words;
    const { counts, edges } = this.#probe ?? NO_PROBE;
    for (const pair of this.#rules.recent())
      // Where there are edges, an input for each pair as well would be many more without reaching more.
      if (words === undefined) visit(FIRST_PAIR + pair);
      else this.#see(FIRST_PAIR + pair);
    if (words === undefined) return;
    for (let word = FIRST_EDGE / BYTES; word * BYTES < edges; word += 1) {
      // Most edges are not taken by most steps.
      if (words[word] === 0) continue;
      for (let edge = word * BYTES; edge < word * BYTES + BYTES; edge += 1) {
        const bit = CLASSES[counts[edge]!]!; // an edge below the limit, and a byte
        if (bit !== 0) visit(edge * CLASS_COUNT + (31 - Math.clz32(bit)));
      }
    }
  }
}

const BYTES = Int32Array.BYTES_PER_ELEMENT;
const NONE: readonly number[] = [];
const NO_PROBE = { counts: new Uint8Array(0), edges: 0 };

function emptyNews(): { edges: number[]; comparisons: number[]; pairs: number[] } {
  return { edges: [], comparisons: [], pairs: [] };
}

/** The same in every thread, whatever else was loaded there. */
function nameIn(
  modules: readonly ProbedModule[],
  number: number,
  first: 'firstEdge' | 'firstComparison',
): string {
  const module = modules.findLast((each) => each[first] <= number);
  return module === undefined ? `${number}` : `${module.name} ${number - module[first]}`;
}
