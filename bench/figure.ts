/** What is measured, beside what, and how good it has to be: the goals as data. */

/** How a value is shown: nanoseconds for a round trip, requests per second, or a count for so many requests. */
export type Unit = 'ns' | 'M/s' | 'k/s' | 'per request' | 'per million requests';

/** What runs: `module.variant`, and how many requests at a time. The module `twin` is the ring in C. */
export interface Source {
  readonly variant: string;
  readonly batch: number;
}

/** A bound on a ratio: of times (`atMost`), or of rates (`atLeast`). */
export type Goal = ({ readonly atMost: number } | { readonly atLeast: number }) & {
  /** The issue that asks for it; absent for a goal of later work. */
  readonly issue?: number;
};

/** A contender beside something that does the same work. */
export interface Comparison {
  readonly name: string;
  readonly unit: Unit;
  readonly source: Source;
  readonly against: Source;
  readonly goal?: Goal;
  /** A third thread is busy meanwhile. */
  readonly busy?: true;
}

/** Something that is counted while a contender runs, each side's share for itself. */
export interface Count {
  readonly name: string;
  readonly source: Source;
  readonly goal: Goal & { readonly atMost: number };
}

const PING_PONG: Source = { variant: 'floor.ping-pong', batch: 1 };
const WAIT_NOTIFY: Source = { variant: 'floor.wait-notify', batch: 1 };
/** The batch that keeps the ring filled. */
const STREAM = 0;

export const COMPARISONS: readonly Comparison[] = [
  // What the machine can do, in JavaScript and in C.
  floor('ping-pong', { variant: 'twin.ping-pong', batch: 1 }),
  floor('wait-notify', PING_PONG),
  { name: 'twin.split.1', unit: 'ns', source: twin(1), against: PING_PONG },
  { name: 'twin.static.64', unit: 'M/s', source: twin(64, 'static'), against: twin(64) },

  // Rings with a handler that answers OK.
  ring('split', 1, PING_PONG, { atMost: 2.2, issue: 3 }),
  ring('split', 8, twin(8)),
  ring('split', 64, twin(64), { atLeast: 0.9, issue: 3 }),
  ring('split', 256, twin(256)),
  ring('split', STREAM, twin(STREAM), { atLeast: 0.95 }),
  ring('packed', 1, split(1), { atLeast: 1, issue: 3 }),
  ring('packed', 8, split(8)),
  ring('packed', 64, split(64), { atLeast: 0.8, issue: 3 }),
  ring('packed', 256, split(256)),
  ring('packed', STREAM, split(STREAM)),
  ...[
    'split-indirect',
    'split-flags',
    'split-in-order',
    'packed-indirect',
    'packed-in-order',
  ].flatMap((variant) => [ring(variant, 1, split(1)), ring(variant, 64, split(64))]),
  ring('asleep', 1, WAIT_NOTIFY, { atMost: 1.3 }),

  // The real thing: driver, rings, device, mapping store.
  request(1, PING_PONG, { atMost: 3, issue: 2 }),
  request(64, twin(64), { atLeast: 0.4 }),
  {
    name: 'busy.request.map.1',
    unit: 'k/s',
    source: { variant: 'request.map', batch: 1 },
    against: WAIT_NOTIFY,
    goal: { atLeast: 0.5, issue: 3 },
    busy: true,
  },
  { name: 'busy.ring.split.1', unit: 'k/s', source: split(1), against: WAIT_NOTIFY, busy: true },

  // What one would otherwise write.
  alternative('object', 1),
  alternative('object', 64),
  alternative('msgpackr', 1, { atLeast: 75 }),
  alternative('msgpackr', 64, { atLeast: 100 }),
  alternative('array', 64, { atLeast: 25 }),
];

/** How often one side wakes the other, for each request. */
export const WAKES: readonly Count[] = [
  { name: 'wakes.ring.split.64', source: split(64), goal: { atMost: 1 / 64 } },
];

/** Garbage collections of each side in steady state, beyond those of two threads that do nothing but wait. */
export const GARBAGE: readonly Count[] = ['ring.split', 'ring.packed', 'request.map'].map(
  (variant) => ({
    name: `garbage.${variant}`,
    source: { variant, batch: 64 },
    goal: { atMost: 0.1, issue: 3 },
  }),
);

/** The figures that a name asks for: its own, or all below it. */
export function isNamed(figure: { readonly name: string }, names: readonly string[]): boolean {
  return (
    names.length === 0 ||
    names.some((name) => figure.name === name || figure.name.startsWith(`${name}.`))
  );
}

/** `ring.split.64`, or `ring.split.stream`. */
export function sourceName({ variant, batch }: Source): string {
  return `${variant}.${batch === STREAM ? 'stream' : batch}`;
}

function split(batch: number): Source {
  return { variant: 'ring.split', batch };
}

function twin(batch: number, what = 'split'): Source {
  return { variant: `twin.${what}`, batch };
}

function floor(variant: string, against: Source): Comparison {
  const name = `floor.${variant}`;
  return { name, unit: 'ns', source: { variant: name, batch: 1 }, against };
}

function compare(source: Source, against: Source, goal: Goal | undefined): Comparison {
  const unit = source.batch === 1 ? 'ns' : 'M/s';
  return { name: sourceName(source), unit, source, against, ...(goal !== undefined && { goal }) };
}

function ring(variant: string, batch: number, against: Source, goal?: Goal): Comparison {
  return compare({ variant: `ring.${variant}`, batch }, against, goal);
}

function request(batch: number, against: Source, goal: Goal): Comparison {
  return compare({ variant: 'request.map', batch }, against, goal);
}

/** A row for what it costs otherwise: our ring against messages. */
function alternative(variant: string, batch: number, goal?: Goal): Comparison {
  const against = { variant: `message.${variant}`, batch };
  return { ...compare(split(batch), against, goal), name: `alternative.${variant}.${batch}` };
}
