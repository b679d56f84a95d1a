/** Streams made of others: cut, joined, repeated, and with other values in their steps. */

import { randomSetup } from '../platform.ts';
import type { Random } from '../random.ts';
import type { Setup, Step, Stream } from '../stream.ts';
import type { Operands } from './comparison-log.ts';
import { type StepField, fieldsOf } from './step-field.ts';

/** Steps of an input before it is gone on with. */
export const STEPS_MAX = 2000;

/** The stream without some of its last steps, or with a few things changed. `other` is a stream to take steps from. */
export function mutate(random: Random, stream: Stream, other: Stream): Stream {
  let { setup, steps } = stream;
  if (random.once(16)) setup = otherSetup(random, setup);
  for (let turn = random.pick([1, 1, 2, 4]); turn > 0; turn -= 1)
    steps = random.pick(MUTATIONS)(random, steps, other.steps);
  return { setup, steps: steps.slice(0, STEPS_MAX) };
}

type Mutation = (random: Random, steps: readonly Step[], other: readonly Step[]) => readonly Step[];

const keep: Mutation = (_, steps) => steps;

const shorten: Mutation = (random, steps) => steps.slice(0, 1 + random.number(steps.length || 1));

const drop: Mutation = (random, steps) => {
  const { from, count } = piece(random, steps.length);
  return [...steps.slice(0, from), ...steps.slice(from + count)];
};

const repeat: Mutation = (random, steps) => {
  const { from, count } = piece(random, steps.length);
  const copies = random.pick([1, 1, 2, 16]);
  const some = steps.slice(from, from + count);
  return [
    ...steps.slice(0, from),
    ...Array.from({ length: copies }, () => some).flat(),
    ...steps.slice(from),
  ];
};

const splice: Mutation = (random, steps, other) => {
  const at = random.number(steps.length + 1);
  const { from, count } = piece(random, other.length);
  const rest = random.once(2) ? steps.slice(at) : [];
  return [...steps.slice(0, at), ...other.slice(from, from + count), ...rest];
};

const nudge: Mutation = (random, steps) =>
  changeOne(random, steps, (field) => nudged(random, field.value, field.width));

/** Two steps have the same number in a field of the same name or width. */
const copyValue: Mutation = (random, steps) => {
  const from = steps[random.number(steps.length || 1)];
  const found = from === undefined ? [] : fieldsOf(from);
  if (found.length === 0) return steps;
  const { width, value } = random.pick(found);
  return changeOne(random, steps, (field) => (field.width === width ? value : field.value));
};

const MUTATIONS: readonly Mutation[] = [
  keep,
  keep,
  shorten,
  shorten,
  drop,
  repeat,
  splice,
  splice,
  nudge,
  nudge,
  nudge,
  copyValue,
];

function changeOne(
  random: Random,
  steps: readonly Step[],
  change: (field: StepField) => bigint,
): readonly Step[] {
  const index = random.number(steps.length || 1);
  const step = steps[index];
  const fields = step === undefined ? [] : fieldsOf(step);
  if (fields.length === 0) return steps;
  const field = random.pick(fields);
  return steps.with(index, field.with(change(field)));
}

function nudged(random: Random, value: bigint, width: number): bigint {
  switch (random.number(4)) {
    case 0:
      return value + random.pick(NUDGES);
    case 1:
      return value ^ (1n << BigInt(random.number(8 * width)));
    case 2:
      return random.pick(EDGES) + random.pick([0n, 0n, 1n, -1n]);
    default:
      return random.once(2)
        ? value << 1n
        : BigInt(random.next()) << BigInt(random.pick([0, 12, 32]));
  }
}

const NUDGES = [1n, -1n, 2n, -2n, 0x10n, -0x10n, 0x1000n, -0x1000n];
const EDGES = [0n, 0x7fn, 0xffn, 0x7fffn, 0xffffn, 0x7fff_ffffn, 0xffff_ffffn, 1n << 53n, -1n];

/** A few steps in a row. */
function piece(random: Random, length: number): { from: number; count: number } {
  const count = Math.min(length, random.pick([1, 1, 1, 2, 4, 16, 64]));
  return { from: random.number(length - count + 1), count };
}

/** Another device, or a driver that leaves something else alone. */
function otherSetup(random: Random, setup: Setup): Setup {
  const other = randomSetup(random);
  const { refuse, indirect } = other;
  return random.pick([{ ...setup, refuse }, { ...setup, indirect }, other]);
}

/**
 * The stream up to the step at which numbers were compared, and that step again and again with other numbers in it: those
 * that the comparison asked for, in all the places where the others may have come from.
 */
export function solve(random: Random, stream: Stream, operands: Operands): Stream {
  const { setup, steps } = stream;
  // What is compared may stand in any of the requests that went out together.
  let first = operands.step;
  while (first > 0 && isHeld(steps[first - 1])) first -= 1;
  const before = steps.slice(0, first);
  const places = steps
    .slice(first, operands.step + 1)
    .flatMap((step) => fieldsOf(step).map((field) => ({ step, field })));
  if (places.length === 0) return { setup, steps: before };
  const { left, right } = operands;
  const by = random.pick(BESIDE);
  const found = places.flatMap((place) => [
    ...put(place, left, right + by),
    ...put(place, right, left + by),
  ]);
  if (found.length > 0 && random.once(4)) {
    const { step, field, value } = random.pick(found);
    return { setup, steps: everywhere([...before, alone(step)], field, value) };
  }
  const turns = Array.from({ length: TURNS }, (_, turn): Change => {
    if (turn < found.length && (turn < TURNS / 2 || random.once(2)))
      return found.length > TURNS ? random.pick(found) : found[turn]!; // below the length
    // What is compared may have been worked out of what was sent, and be as far off as that.
    const { step, field } = random.pick(places);
    const { of, set } = random.pick(viewsOf(field));
    const distance = random.once(2) ? right - left : left - right;
    return { step, field, value: set(field.value, of(field.value) + distance + by) };
  });
  return { setup, steps: [...before, ...turns.flatMap(carryOut).map(alone)] };
}

/** A field of a step, and what it is to become. */
interface Change {
  readonly step: Step;
  readonly field: StepField;
  readonly value: bigint;
}

/** The step with one thing changed; and once more with its other addresses moved as far, as ends stay behind starts. */
function carryOut({ step, field, value }: Change): Step[] {
  const changed = field.with(value);
  if (field.width !== 8) return [changed];
  let moved = changed;
  for (const { name, width, value: old } of fieldsOf(step))
    if (width === 8 && name !== field.name)
      moved =
        fieldsOf(moved)
          .find((each) => each.name === name)
          ?.with(old + value - field.value) ?? moved;
  return [changed, moved];
}

const TURNS = 32;
const BESIDE = [0n, 0n, 0n, 0n, 0n, 0n, 1n, -1n];

/** What a field becomes if `wanted` takes the place of `held` in it; nothing if that is not there. */
function put(place: Pick<Change, 'step' | 'field'>, held: bigint, wanted: bigint): Change[] {
  const { value } = place.field;
  return viewsOf(place.field).flatMap(({ of, set }) =>
    of(value) === held ? [{ ...place, value: set(value, wanted) }] : [],
  );
}

function viewsOf({ width }: StepField): typeof VIEWS {
  return width > 4 ? VIEWS : VIEWS.slice(0, 1);
}

/** A request that waits for none. */
function alone(step: Step): Step {
  return step.kind === 'request' && step.held ? { ...step, held: false } : step;
}

/** How a device looks at a number: whole, as page and offset, or as halves. */
const VIEWS: readonly {
  readonly of: (value: bigint) => bigint;
  readonly set: (value: bigint, part: bigint) => bigint;
}[] = [
  { of: (value) => value, set: (_, part) => part },
  { of: (value) => value >> 12n, set: (value, part) => (part << 12n) | (value & 0xfffn) },
  { of: (value) => value & 0xfffn, set: (value, part) => (value & ~0xfffn) | (part & 0xfffn) },
  {
    of: (value) => value & 0xffff_ffffn,
    set: (value, part) => (value & ~0xffff_ffffn) | (part & 0xffff_ffffn),
  },
  {
    of: (value) => value >> 32n,
    set: (value, part) => ((part & 0xffff_ffffn) << 32n) | (value & 0xffff_ffffn),
  },
];

/** Puts a number wherever the same one stands under the same name: the steps still fit each other. */
function everywhere(steps: readonly Step[], { name, value }: StepField, other: bigint): Step[] {
  return steps.map((step) => {
    const field = fieldsOf(step).find((each) => each.name === name && each.value === value);
    return field === undefined ? step : field.with(other);
  });
}

function isHeld(step: Step | undefined): boolean {
  return step?.kind === 'request' && step.held;
}
