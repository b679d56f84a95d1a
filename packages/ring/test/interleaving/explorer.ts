/**
 * Visits every interleaving of two sides that share memory, one access at a time.
 *
 * Each side is an ordinary synchronous program, and all it knows of the rest is what its accesses return. A side's state
 * is therefore the list of these values, and the state of the whole is the memory and the two lists: what was visited
 * once is not visited again, and the visit is exhaustive. What a program does after a list of values is found out once,
 * by running it from its start with these values, and remembered: see `Script`.
 */

import { type Operation, type Program, Script, type ScriptNode } from './script.ts';

/** What the visit found. */
export interface Visit {
  readonly states: number;
  /** Why the visit ended early: the message and the schedule, one digit an access. */
  readonly failure: string | undefined;
}

/** Bells lie behind the memory that is in use, a word each. */
const BELLS = 4;

/** So many memories, and so many nodes of a script, can be told apart in a state's number. */
const COUNT_MAX = 2 ** 17;

interface State {
  /** Number of the memory's content. */
  readonly memory: number;
  readonly nodes: readonly [ScriptNode, ScriptNode];
  readonly before: State | undefined;
  /** Who made the last access. */
  readonly side: number;
}

export interface ExploreOptions {
  readonly programs: readonly [Program, Program];
  /** Bytes of memory in use, a multiple of 4. */
  readonly bytes: number;
  readonly statesMax: number;
}

/** Visits all interleavings, or up to the first in which a program throws or nobody can go on. */
export function explore({ programs, bytes, statesMax }: ExploreOptions): Visit {
  const memories = new Memories(bytes);
  const scripts = programs.map((program) => new Script(program, bytes)) as [Script, Script]; // As many as programs.
  const start: State = {
    memory: 0,
    nodes: [scripts[0].start, scripts[1].start],
    before: undefined,
    side: 0,
  };
  const seen = new Set<number>([keyOf(start)]);
  const open = [start];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const failure = state.nodes[0].failure ?? state.nodes[1].failure;
    if (failure !== undefined) return { states: seen.size, failure: told(failure, state) };
    let moved = false;
    for (const side of [0, 1] as const) {
      const next = step(state, side, scripts[side], memories);
      if (next === undefined) continue;
      moved = true;
      const key = keyOf(next);
      if (seen.has(key)) continue;
      seen.add(key);
      open.push(next);
    }
    if (seen.size > statesMax)
      return { states: seen.size, failure: `more than ${statesMax} states` };
    if (!moved && state.nodes.some(({ operation }) => operation !== undefined))
      return { states: seen.size, failure: told('everybody sleeps', state) };
  }
  return { states: seen.size, failure: undefined };
}

/** Lets one side make its next access. Undefined if it sleeps or has come to its end. */
function step(state: State, side: 0 | 1, script: Script, memories: Memories): State | undefined {
  const node = state.nodes[side];
  const { operation } = node;
  if (operation === undefined) return undefined;
  let { memory } = state;
  let value = 0;
  if (operation.kind === 'store') memory = memories.store(memory, operation);
  else value = memories.load(memory, operation);
  // A sleeper sees nothing of the word but that it has changed.
  if (operation.kind === 'wait') {
    if (value === operation.value) return undefined;
    value = 0;
  }
  const next = script.next(node, value);
  const nodes = side === 0 ? ([next, state.nodes[1]] as const) : ([state.nodes[0], next] as const);
  return { memory, nodes, before: state, side };
}

function keyOf({ memory, nodes: [one, other] }: State): number {
  if (Math.max(memory, one.number, other.number) >= COUNT_MAX) throw new Error('too many states');
  return (memory * COUNT_MAX + one.number) * COUNT_MAX + other.number;
}

function told(failure: string, state: State): string {
  let schedule = '';
  for (let at = state; at.before !== undefined; at = at.before) schedule = `${at.side}${schedule}`;
  return `${failure}: ${schedule}`;
}

/** Contents of memory and bells, by number; number 0 is all zero. */
class Memories {
  readonly #views: DataView[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(bytes: number) {
    this.#numberOf(new Uint8Array(bytes + 4 * BELLS));
  }

  load(memory: number, { position, width }: Operation): number {
    const view = this.#view(memory);
    if (width === 1) return view.getUint8(position);
    return width === 2 ? view.getUint16(position, true) : view.getUint32(position, true);
  }

  /** The memory that comes of this access. */
  store(memory: number, { position, width, value, add = false }: Operation): number {
    const bytes = new Uint8Array(this.#view(memory).buffer.slice(0));
    const view = new DataView(bytes.buffer);
    if (width === 1) view.setUint8(position, value);
    else if (width === 2) view.setUint16(position, value, true);
    else view.setUint32(position, add ? view.getUint32(position, true) + value : value, true);
    return this.#numberOf(bytes);
  }

  #view(memory: number): DataView<ArrayBuffer> {
    const view = this.#views[memory];
    if (view === undefined) throw new Error('a memory has a number that was given out');
    return view as DataView<ArrayBuffer>; // Made below.
  }

  #numberOf(bytes: Uint8Array<ArrayBuffer>): number {
    const text = Buffer.from(bytes.buffer).toString('latin1');
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const number = this.#views.push(new DataView(bytes.buffer)) - 1;
    this.#numbers.set(text, number);
    return number;
  }
}
