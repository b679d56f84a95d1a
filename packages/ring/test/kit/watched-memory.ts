/**
 * Guest memory that sees every access of a queue: to count them, to keep them, to change bytes between two of them.
 *
 * An access outside the memory throws. No queue throws on its own account, so such an error fails the test that meets it.
 */

import type { GuestMemory } from '@viommu/ring';
import type { Arena } from './arena.ts';

/** One access, of one to any number of bytes. */
export interface Access {
  readonly kind: 'read' | 'write';
  readonly position: number;
  readonly length: number;
  /** True for the loads and stores that order others: those of ring indices and event fields. */
  readonly ordered: boolean;
}

type Kind = Access['kind'];

export class WatchedMemory implements GuestMemory {
  /** Everything has to go through the calls below. */
  readonly view = undefined;
  /** Accesses so far, and how many there may be: a loop without an end meets an exception. */
  count = 0;
  countMax = 20_000_000;
  /** The accesses since this was last set to an empty array; undefined keeps none. */
  trace: Access[] | undefined;
  /** Runs before each access, and may do anything but call the queue that is at work. */
  before: ((access: Access) => void) | undefined;
  /** Runs after each access. */
  after: ((access: Access) => void) | undefined;

  readonly #memory: GuestMemory;
  readonly #size: number;

  constructor({ memory }: Arena) {
    this.#memory = memory;
    this.#size = memory.size;
  }

  locate(low: number, high: number, length: number): number {
    return this.#memory.locate(low, high, length);
  }

  getUint8(position: number): number {
    const access = this.#begin('read', position, 1, false);
    const value = this.#memory.getUint8(position);
    this.#end(access);
    return value;
  }

  getUint16(position: number): number {
    const access = this.#begin('read', position, 2, false);
    const value = this.#memory.getUint16(position);
    this.#end(access);
    return value;
  }

  getUint32(position: number): number {
    const access = this.#begin('read', position, 4, false);
    const value = this.#memory.getUint32(position);
    this.#end(access);
    return value;
  }

  setUint8(position: number, value: number): void {
    const access = this.#begin('write', position, 1, false);
    this.#memory.setUint8(position, value);
    this.#end(access);
  }

  setUint16(position: number, value: number): void {
    const access = this.#begin('write', position, 2, false);
    this.#memory.setUint16(position, value);
    this.#end(access);
  }

  setUint32(position: number, value: number): void {
    const access = this.#begin('write', position, 4, false);
    this.#memory.setUint32(position, value);
    this.#end(access);
  }

  loadUint16(position: number): number {
    if (position % 2 !== 0) throw new Error(`an index is loaded from odd position ${position}`);
    const access = this.#begin('read', position, 2, true);
    const value = this.#memory.loadUint16(position);
    this.#end(access);
    return value;
  }

  storeUint16(position: number, value: number): void {
    if (position % 2 !== 0) throw new Error(`an index is stored at odd position ${position}`);
    const access = this.#begin('write', position, 2, true);
    this.#memory.storeUint16(position, value);
    this.#end(access);
  }

  read(position: number, target: Uint8Array, at: number, length: number): void {
    const access = this.#begin('read', position, length, false);
    this.#memory.read(position, target, at, length);
    this.#end(access);
  }

  write(position: number, source: Uint8Array, at: number, length: number): void {
    const access = this.#begin('write', position, length, false);
    this.#memory.write(position, source, at, length);
    this.#end(access);
  }

  #begin(kind: Kind, position: number, length: number, ordered: boolean): Access | undefined {
    if (!(position >= 0 && length >= 0 && position + length <= this.#size))
      throw new Error(`a ${kind} of ${length} bytes at ${position} leaves the memory`);
    this.count += 1;
    if (this.count > this.countMax) throw new Error('more accesses than such a call may need');
    if (this.trace === undefined && this.before === undefined && this.after === undefined) return;
    const access = { kind, position, length, ordered };
    this.before?.(access);
    return access;
  }

  #end(access: Access | undefined): void {
    if (access === undefined) return;
    this.trace?.push(access);
    this.after?.(access);
  }
}

/** The positions of bytes that accesses of this kind touched more than once. */
export function repeated(trace: readonly Access[], kind: Kind): number[] {
  const seen = new Set<number>();
  const twice: number[] = [];
  for (const access of trace) {
    if (access.kind !== kind) continue;
    for (let at = access.position; at < access.position + access.length; at += 1) {
      if (seen.has(at)) twice.push(at);
      seen.add(at);
    }
  }
  return twice;
}
