/**
 * What instrumented modules write into: a counter for each edge, and the operands of comparisons while somebody looks.
 * One for each thread, under a symbol of `globalThis`, since the modules that use it know nothing of this one.
 */

export const PROBE_KEY = 'viommu.fuzz.probe';

/** Counters of a thread; modules beyond are left without. */
export const EDGES_MAX = 0x4000;
/** The counters in front are none, so that all of them lie in whole words. */
export const FIRST_EDGE = 8;

/** Hears of comparisons, each with its number. */
export type Listener = (comparison: number, left: unknown, right: unknown) => void;

/** What a module has of each. */
export interface ProbedModule {
  /** The package and the file in it, without its extension: `device/core/map`. */
  readonly name: string;
  readonly firstEdge: number;
  readonly edges: number;
  readonly firstComparison: number;
}

export class Probe {
  /** How often each edge was taken, modulo 256. The first is no edge: it is not 0 while comparisons are listened to. */
  readonly counts: Uint8Array<ArrayBuffer> = new Uint8Array(EDGES_MAX);
  /** The numbers that come next. */
  edges: number = FIRST_EDGE;
  comparisons = 0;
  readonly modules: ProbedModule[] = [];
  #listener: Listener = () => undefined;

  /** Calls back for every comparison from now on, or for none. */
  listen(listener: Listener | undefined): void {
    this.#listener = listener ?? (() => undefined);
    this.counts[0] = listener === undefined ? 0 : 1;
  }

  // What follows is called by the modules, under other names and without `this`.

  readonly pair: Listener = (comparison, left, right) => this.#listener(comparison, left, right);

  /** A switch: returns its value, and has the numbers of its cases if somebody looks. */
  readonly choose: Choose = (comparison, value, cases) => {
    if (cases !== false)
      cases.forEach((each, index) => this.#listener(comparison + index, value, each));
    return value;
  };

  /** Comparisons by their operators. */
  readonly compare: Readonly<Record<string, Compare>> = comparisonsOf(this.counts, this.pair);
}

type Choose = <Value>(comparison: number, value: Value, cases: false | readonly unknown[]) => Value;

type Compare = (comparison: number, left: never, right: never) => boolean;

function comparisonsOf(counts: Uint8Array, pair: Listener): Record<string, Compare> {
  const look = (comparison: number, left: unknown, right: unknown): void => {
    if (counts[0] !== 0) pair(comparison, left, right);
  };
  return {
    '===': (comparison, left, right) => (look(comparison, left, right), left === right),
    '!==': (comparison, left, right) => (look(comparison, left, right), left !== right),
    '<': (comparison, left, right) => (look(comparison, left, right), left < right),
    '<=': (comparison, left, right) => (look(comparison, left, right), left <= right),
    '>': (comparison, left, right) => (look(comparison, left, right), left > right),
    '>=': (comparison, left, right) => (look(comparison, left, right), left >= right),
  };
}

type Global = { [key: symbol]: Probe | undefined };

/** The probe of this thread; undefined if nothing is instrumented here. */
export function probeOfThread(): Probe | undefined {
  return (globalThis as unknown as Global)[Symbol.for(PROBE_KEY)]; // nobody else writes there
}

export function setProbe(probe: Probe): void {
  (globalThis as unknown as Global)[Symbol.for(PROBE_KEY)] = probe; // nobody else writes there
}
