/**
 * Visits every interleaving of two sides that share memory, one access at a time.
 *
 * Each side is an ordinary synchronous program. It is resumed in the middle by running it again from its start with the
 * values that its earlier accesses returned, up to the first access that has not happened yet. A side's state is
 * therefore the list of those values, and the state of the whole is the memory and the two lists: what was visited
 * once is not visited again, and the visit is exhaustive.
 */

import { type GuestPhysical, guestPhysical } from '@viommu/common';
import { Bell, type GuestMemory } from '@viommu/ring';

/** What a side's program works with. */
export interface Side {
  readonly memory: GuestMemory;
  /** Bells by number; `wait` has no time limit here, so that a lost wake-up is a state with no way on. */
  bell(index: number): Bell;
  /** What is done here happened before the run: it is no access. */
  setUp<Result>(work: () => Result): Result;
}

/** Runs to its end and throws if what it saw is wrong. */
export type Program = (side: Side) => void;

/** What the visit found. */
export interface Visit {
  readonly states: number;
  /** Why the visit ended early: the message and the schedule, one letter an access. */
  readonly failure: string | undefined;
}

export const BASE: GuestPhysical = guestPhysical(0x4000_0000n);
const BELLS = 4;

interface State {
  readonly bytes: Uint8Array;
  readonly bells: Int32Array;
  /** Values that the accesses of each side returned so far. */
  readonly logs: readonly (readonly number[])[];
  /** The same as texts. */
  readonly histories: readonly string[];
  readonly finished: readonly boolean[];
  readonly schedule: string;
}

/** Thrown into a program at its first access that has not happened. */
const SUSPENDED = new Error('suspended');

export interface ExploreOptions {
  readonly programs: readonly Program[];
  /** Bytes of memory in use, from {@link BASE}. */
  readonly bytes: number;
  readonly statesMax: number;
}

/** Visits all interleavings, or up to the first in which a program throws or nobody can go on. */
export function explore({ programs, bytes, statesMax }: ExploreOptions): Visit {
  const start: State = {
    bytes: new Uint8Array(bytes),
    bells: new Int32Array(BELLS),
    logs: programs.map(() => []),
    histories: programs.map(() => ''),
    finished: programs.map(() => false),
    schedule: '',
  };
  const seen = new Set<string>([keyOf(start)]);
  const open = [start];
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    let moved = false;
    for (const [index, program] of programs.entries()) {
      if (state.finished[index] === true) continue;
      const next = advance(state, index, program);
      if (typeof next === 'string') return { states: seen.size, failure: next };
      if (next === undefined) continue;
      moved = true;
      const key = keyOf(next);
      if (seen.has(key)) continue;
      seen.add(key);
      if (seen.size > statesMax)
        return { states: seen.size, failure: `more than ${statesMax} states` };
      open.push(next);
    }
    if (!moved && state.finished.includes(false))
      return { states: seen.size, failure: `everybody sleeps: ${state.schedule}` };
  }
  return { states: seen.size, failure: undefined };
}

/** Lets side `index` make one access. Undefined if it sleeps, a text if its program threw. */
function advance(state: State, index: number, program: Program): State | string | undefined {
  const bytes = state.bytes.slice();
  const bells = state.bells.slice();
  const log = [...(state.logs[index] ?? [])];
  const schedule = `${state.schedule}${index}`;
  let cursor = 0;
  let performed = false;
  let asleep = false;
  let settingUp = false;
  const access = (act: () => number, enabled: () => boolean = () => true): number => {
    if (settingUp) return act();
    const known = log[cursor];
    if (known !== undefined) {
      cursor += 1;
      return known;
    }
    if (performed) throw SUSPENDED;
    if (!enabled()) {
      asleep = true;
      throw SUSPENDED;
    }
    performed = true;
    const value = act();
    log.push(value);
    cursor += 1;
    return value;
  };
  const side: Side = {
    memory: recordingMemory(bytes, access),
    bell: (number) => recordingBell(bells, number, access),
    setUp(work) {
      settingUp = true;
      const scratch = bytes.slice();
      try {
        return work();
      } finally {
        bytes.set(scratch);
        settingUp = false;
      }
    },
  };
  let finished = false;
  try {
    program(side);
    finished = true;
  } catch (error) {
    if (error !== SUSPENDED)
      return `${error instanceof Error ? error.message : String(error)}: ${schedule}`;
  }
  if (asleep) return undefined;
  return {
    bytes,
    bells,
    schedule,
    logs: state.logs.with(index, log),
    histories: state.histories.with(index, `${state.histories[index]},${log.at(-1)}`),
    finished: state.finished.with(index, finished),
  };
}

type Access = (act: () => number, enabled?: () => boolean) => number;

function recordingMemory(bytes: Uint8Array, access: Access): GuestMemory {
  const view = new DataView(bytes.buffer);
  const done = (act: () => void): void => {
    access(() => {
      act();
      return 0;
    });
  };
  return {
    view: undefined,
    locate: (low, high, length) => {
      const position = low - Number(BASE);
      return high === 0 && position >= 0 && position + length <= bytes.length ? position : -1;
    },
    getUint8: (position) => access(() => view.getUint8(position)),
    getUint16: (position) => access(() => view.getUint16(position, true)),
    getUint32: (position) => access(() => view.getUint32(position, true)),
    setUint8: (position, value) => done(() => view.setUint8(position, value)),
    setUint16: (position, value) => done(() => view.setUint16(position, value, true)),
    setUint32: (position, value) => done(() => view.setUint32(position, value, true)),
    loadUint16: (position) => access(() => view.getUint16(position, true)),
    storeUint16: (position, value) => done(() => view.setUint16(position, value, true)),
    // Copies are made byte by byte, as two threads would see them.
    read: (position, target, at, length) => {
      for (let index = 0; index < length; index += 1)
        target[at + index] = access(() => view.getUint8(position + index));
    },
    write: (position, source, at, length) => {
      for (let index = 0; index < length; index += 1)
        done(() => view.setUint8(position + index, source[at + index] ?? 0));
    },
  };
}

function recordingBell(bells: Int32Array, index: number, access: Access): Bell {
  const value = (): number => bells[index] ?? 0;
  const ring = (): number => {
    bells[index] = value() + 1;
    return 0;
  };
  class RecordingBell extends Bell {
    override value(): number {
      return access(value);
    }
    override ring(): void {
      access(ring);
    }
    override wait(seen: number): boolean {
      access(
        () => 1,
        () => value() !== seen,
      );
      return true;
    }
  }
  return new RecordingBell(bells, index);
}

function keyOf({ bytes, bells, histories, finished }: State): string {
  return `${Buffer.from(bytes).toString('latin1')}|${bells.join()}|${histories.join('|')}|${finished.join()}`;
}
