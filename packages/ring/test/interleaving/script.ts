/**
 * What a program does, as a tree: an access, and for each value that it may return the access after it.
 *
 * The tree grows where it is walked. A program cannot be stopped in its middle and gone on with, so each new branch runs
 * it once more from its start, with the values that lead there. Only loads tell it anything: between two of them it runs
 * on, so that one run adds all accesses up to the next load.
 */

import { type GuestPhysical, guestPhysical } from '@viommu/common';
import { Bell, type GuestMemory } from '@viommu/ring';

/** What a side's program works with. */
export interface Side {
  readonly memory: GuestMemory;
  /** Bells by number; `wait` has no time limit here, so that a lost wake-up is a state with no way on. */
  bell(index: number): Bell;
  /** What is done here happened before the run, in a memory that is all zero and stays so: it is no access. */
  setUp<Result>(work: () => Result): Result;
}

/** Runs to its end and throws if what it saw is wrong. */
export type Program = (side: Side) => void;

/** The guest-physical address of the first byte. */
export const BASE: GuestPhysical = guestPhysical(0x4000_0000n);

/** One access of a side. Bells are words of memory; to wait is to look at one until it has another value. */
export interface Operation {
  readonly kind: 'load' | 'store' | 'wait';
  readonly position: number;
  readonly width: 1 | 2 | 4;
  /** What is stored, or the value to sleep on. */
  readonly value: number;
  /** The value is added to what is there. */
  readonly add?: boolean;
}

/** A program that has made some accesses. */
export interface ScriptNode {
  readonly number: number;
  /** The access it makes next; undefined at its end. */
  readonly operation: Operation | undefined;
  /** Why it threw instead of going on. */
  readonly failure: string | undefined;
}

interface Node extends ScriptNode {
  /** The loaded values that lead here. */
  readonly values: readonly number[];
  /** Accesses before this one. */
  readonly depth: number;
  /** By the value that the access returns. */
  readonly next: Map<number, Node>;
}

/** Thrown into a program at a load whose value is not known. */
const SUSPENDED = new Error('suspended');

export class Script {
  readonly start: ScriptNode;
  readonly #program: Program;
  readonly #bytes: number;
  #count = 0;

  constructor(program: Program, bytes: number) {
    this.#program = program;
    this.#bytes = bytes;
    this.start = this.#grow([], 0);
  }

  /** Where the program is once its access has returned `value`; 0 for anything but a load. */
  next(from: ScriptNode, value: number): ScriptNode {
    const node = from as Node; // All of them are made below.
    const known = node.next.get(value);
    if (known !== undefined) return known;
    const values = node.operation?.kind === 'load' ? [...node.values, value] : node.values;
    const next = this.#grow(values, node.depth + 1);
    node.next.set(value, next);
    return next;
  }

  /** Runs the program with these loads; the node of access number `depth`, with those behind it up to a load. */
  #grow(values: readonly number[], depth: number): Node {
    let first: Node | undefined;
    let last: Node | undefined;
    const add = (operation: Operation | undefined, failure?: string): void => {
      const at = last === undefined ? depth : last.depth + 1;
      const node = { number: this.#count, operation, failure, values, depth: at, next: new Map() };
      this.#count += 1;
      last?.next.set(0, node);
      first ??= node;
      last = node;
    };
    let accesses = 0;
    let loads = 0;
    const access = (operation: Operation): number => {
      const known = accesses < depth;
      accesses += 1;
      if (operation.kind === 'load') {
        const value = values[loads];
        loads += 1;
        if (value !== undefined) return value;
      }
      if (!known) add(operation);
      if (operation.kind === 'load') throw SUSPENDED;
      return 0;
    };
    try {
      this.#program(sideOf(this.#bytes, access));
      add(undefined);
    } catch (error) {
      if (error !== SUSPENDED) add(undefined, error instanceof Error ? error.message : 'unknown');
    }
    if (first === undefined) throw new Error('a program behaves differently when run again');
    return first;
  }
}

type Access = (operation: Operation) => number;

function sideOf(bytes: number, access: Access): Side {
  const scratch = new DataView(new ArrayBuffer(bytes));
  let settingUp = false;
  const load = (position: number, width: 1 | 2 | 4): number => {
    if (!settingUp) return access({ kind: 'load', position, width, value: 0 });
    if (width === 1) return scratch.getUint8(position);
    return width === 2 ? scratch.getUint16(position, true) : scratch.getUint32(position, true);
  };
  const store = (position: number, width: 1 | 2 | 4, value: number): void => {
    if (!settingUp) access({ kind: 'store', position, width, value });
    else if (width === 1) scratch.setUint8(position, value);
    else if (width === 2) scratch.setUint16(position, value, true);
    else scratch.setUint32(position, value, true);
  };
  const memory: GuestMemory = {
    view: undefined,
    locate: (low, high, length) => {
      const position = low - Number(BASE);
      return high === 0 && position >= 0 && position + length <= bytes ? position : -1;
    },
    getUint8: (position) => load(position, 1),
    getUint16: (position) => load(position, 2),
    getUint32: (position) => load(position, 4),
    setUint8: (position, value) => store(position, 1, value),
    setUint16: (position, value) => store(position, 2, value),
    setUint32: (position, value) => store(position, 4, value),
    loadUint16: (position) => load(position, 2),
    storeUint16: (position, value) => store(position, 2, value),
    // Copies are made byte by byte, as two threads would see them.
    read: (position, target, at, length) => {
      for (let index = 0; index < length; index += 1)
        target[at + index] = load(position + index, 1);
    },
    write: (position, source, at, length) => {
      for (let index = 0; index < length; index += 1)
        store(position + index, 1, source[at + index] ?? 0);
    },
  };
  return {
    memory,
    bell: (index) => new ScriptedBell(bytes + 4 * index, access),
    setUp(work) {
      settingUp = true;
      try {
        return work();
      } finally {
        settingUp = false;
      }
    },
  };
}

/** A bell whose word is in the memory of the explorer. */
class ScriptedBell extends Bell {
  readonly #position: number;
  readonly #access: Access;

  constructor(position: number, access: Access) {
    super(new Int32Array(1), 0);
    this.#position = position;
    this.#access = access;
  }

  override value(): number {
    return this.#access({ kind: 'load', position: this.#position, width: 4, value: 0 });
  }

  override ring(): void {
    this.#access({ kind: 'store', position: this.#position, width: 4, value: 1, add: true });
  }

  override wait(seen: number): boolean {
    this.#access({ kind: 'wait', position: this.#position, width: 4, value: seen });
    return true;
  }
}
