/**
 * Follows a device whose choices are not known.
 *
 * Most choices show in the answer that hangs on them, and are simply taken over. A few do not: whether ATTACH to the same
 * domain dropped its mappings is only seen later. There the follower keeps a model for each possibility, and drops those
 * that what comes next rules out. If none is left, no conforming device does what was seen.
 */

import { Status } from '@viommu/common';
import { type Completion, agrees } from './answer.ts';
import { CHOICES, SILENT } from './choice-table.ts';
import type { ChoiceName, Choices } from './choice.ts';
import type { Alternative } from './exploration.ts';
import type { Model } from './model.ts';
import type { Prediction } from './prediction.ts';

/** Possibilities kept at once; the oldest go first. Each doubtful request at most doubles them, and most end doubts. */
const CANDIDATES_MAX = 64;

/** What the same device does now so, now so: in which order it comes upon mappings is nobody's business. */
const INCONSTANT: ReadonlySet<ChoiceName> = new Set<ChoiceName>(['unmapCutRemoves']);

/** Rules by which a request is refused and does something all the same: then it matters which rule came first. */
const HALF: ReadonlySet<string> = new Set<ChoiceName>([
  'attachMismatch',
  'attachMismatchAlone',
  'unmapCut',
  'unmapReserved',
]);

interface Candidate {
  readonly model: Model;
  /** Silent choices that this candidate stands for. */
  readonly settled: ReadonlySet<ChoiceName>;
}

/** A set of models, one of which is like the device. */
export class Follower {
  #candidates: readonly Candidate[];

  /** Begins with a model of the device when it is new. */
  constructor(model: Model) {
    this.#candidates = [{ model, settled: new Set<ChoiceName>() }];
  }

  /** The models that agree with all that was seen; the one that differs least from what is recommended first. */
  get models(): readonly Model[] {
    return this.#candidates.map(({ model }) => model);
  }

  /**
   * The device carried out a request; `completion` is undefined if it gave nothing back. Returns what explains it best,
   * or undefined if nothing does: then all stays as it was.
   */
  request(
    readable: Uint8Array,
    room: number,
    completion: Completion | undefined,
  ): Prediction | undefined {
    const fits = ({ answer }: Prediction): boolean =>
      completion === undefined ? !answer.completed : agrees(answer, completion);
    const next: Candidate[] = [];
    let best: Prediction | undefined;
    let useful: ((value: string) => boolean) | undefined;
    const isUseful = (value: string): boolean => (useful ??= usefulFor(completion))(value);
    for (const candidate of this.#candidates) {
      const found = explanations(candidate, readable, room, fits, isUseful);
      best ??= found[0]?.prediction;
      for (const [index, explanation] of found.entries()) {
        // The last one may have the model itself.
        const own = index === found.length - 1;
        next.push(decide(candidate, explanation, own, found.length > 1));
      }
    }
    if (best !== undefined) this.#candidates = next.slice(0, CANDIDATES_MAX);
    return best;
  }

  /** Something was seen that only some models do. False if none does: then all stays as it was. */
  keep(does: (model: Model) => boolean): boolean {
    const left = this.#candidates.filter(({ model }) => does(model));
    if (left.length > 0) this.#candidates = left;
    return left.length > 0;
  }

  /** Something happened that all models take alike: features, buffers, a write to the configuration space. */
  each(does: (model: Model) => void): void {
    for (const { model } of this.#candidates) does(model);
  }

  /** Device reset, after which a device may know what it knew (7.10, 7.1). */
  reset(): void {
    for (const name of ['resetState', 'resetBypass'] as const) this.#split(name);
    this.each((model) => model.reset());
  }

  /** Drops candidates that know the same as another one, and differ in nothing that stays as it is. */
  forgetDoubles(): void {
    const found = new Map<string, Candidate>();
    for (const candidate of this.#candidates) {
      const key = keyOf(candidate.model);
      if (!found.has(key)) found.set(key, candidate);
    }
    this.#candidates = [...found.values()];
  }

  /** Stands for all values of a choice from now on. */
  #split(name: ChoiceName): void {
    this.#candidates = this.#candidates.flatMap((candidate) => {
      const { model, settled } = candidate;
      if (settled.has(name)) return [candidate];
      const now = new Set([...settled, name]);
      const own = model.choices[name];
      const others = CHOICES[name].values.filter((value) => value !== own);
      const copies = others.map((value) => {
        const copy = model.copy();
        copy.choose({ [name]: value });
        return { model: copy, settled: now };
      });
      return [{ model, settled: now }, ...copies];
    });
  }
}

/** Choices for a status that is nowhere in what came back explain nothing, unless nothing came back for any status. */
function usefulFor(completion: Completion | undefined): (value: string) => boolean {
  const { before, after } = completion ?? { before: NO_BYTES, after: NO_BYTES };
  if (completion !== undefined && after.every((byte, at) => byte === before[at])) return () => true;
  const seen = new Set<number | undefined>(after);
  return (value) => !Object.hasOwn(Status, value) || seen.has(Status[value as keyof typeof Status]); // just looked
}

const NO_BYTES = new Uint8Array();

function keyOf(model: Model): string {
  const choices = Object.entries(model.choices).filter(
    ([name]) => !INCONSTANT.has(name as ChoiceName), // its own names
  );
  const { domains, bypass, needsReset } = model;
  const state = domains.map((id) => [id, model.endpointsOf(id), model.mappings(id)]);
  return JSON.stringify([choices, bypass, needsReset, state], (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
}

/** The outcomes that fit what was seen, without those that change the same. */
function explanations(
  { model, settled }: Candidate,
  readable: Uint8Array,
  room: number,
  fits: (prediction: Prediction) => boolean,
  useful: (value: string) => boolean,
): readonly Alternative<Prediction>[] {
  const expected = model.predict(readable, room);
  const silent = (name: ChoiceName): boolean => SILENT.has(name) && !settled.has(name);
  if (fits(expected)) {
    const { asked, rules } = expected;
    const doubtful =
      asked.some(silent) || (rules.length > 1 && rules.some((rule) => HALF.has(rule)));
    if (!doubtful) return [{ prediction: expected, chosen: {} }];
    return model.alternatives(readable, room, silent).filter(({ prediction }) => fits(prediction));
  }
  const free = (name: ChoiceName): boolean => !settled.has(name);
  // Mostly a single thing is otherwise. Where that cannot be all that changes, all ways are tried, which takes long.
  const near = model.alternatives(readable, room, free, { depthMax: 1, useful });
  const found = near.find(({ prediction }) => fits(prediction));
  if (found !== undefined && !found.prediction.asked.some(silent)) return [found];
  return model
    .alternatives(readable, room, free, { useful })
    .filter(({ prediction }) => fits(prediction));
}

/** The candidate that an explanation leads to. */
function decide(
  { model, settled }: Candidate,
  { prediction, chosen }: Alternative<Prediction>,
  own: boolean,
  doubtful: boolean,
): Candidate {
  const decided = own ? model : model.copy();
  const changed: Partial<Choices> = chosen;
  if (Object.keys(changed).length > 0) decided.choose(changed);
  decided.commit(prediction);
  if (!doubtful) return { model: decided, settled };
  const silent = prediction.asked.filter((name) => SILENT.has(name) && !INCONSTANT.has(name));
  return { model: decided, settled: new Set([...settled, ...silent]) };
}
