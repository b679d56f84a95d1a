/** Buffers for fault records, and what the device wrote into them. */

import { FaultRecord } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';
import { readBytes, writeBytes } from '../ring/bytes.ts';
import type { TestRing } from '../ring/test-ring.ts';
import { Skipped, Violation } from '../verdict.ts';
import type { Arena } from './arena.ts';

/** A buffer that came back. */
export interface EventAnswer {
  /** The used length. */
  readonly length: number;
  /** The whole buffer. */
  readonly bytes: Uint8Array;
  /** True if the device wrote behind the buffer. */
  readonly overrun: boolean;
  /** The record, if the buffer has room for one. */
  readonly record: ReturnType<typeof FaultRecord.read> | undefined;
}

/** Writable buffers hold this beforehand, and so do some bytes behind them. */
export const EVENT_FILL = 0xff;
const GUARD_BYTES = 32;

interface Posted {
  readonly address: bigint;
  readonly length: number;
  readonly descriptors: number;
}

export class EventQueue {
  readonly ring: TestRing;
  readonly #memory: GuestMemory;
  readonly #arena: Arena;
  readonly #posted = new Map<number, Posted>();
  /** Those of all buffers that are out. */
  #descriptors = 0;

  constructor(ring: TestRing, memory: GuestMemory, arena: Arena) {
    this.ring = ring;
    this.#memory = memory;
    this.#arena = arena;
  }

  /** Makes one buffer available, filled with {@link EVENT_FILL}; `cuts` are the lengths of its pieces. */
  post(...cuts: readonly number[]): void {
    this.#descriptors += cuts.length;
    if (this.#descriptors > this.ring.size)
      throw new Skipped(`an event queue of ${this.ring.size} is too small for this case`);
    const length = cuts.reduce((sum, cut) => sum + cut, 0);
    const address = this.#arena.allocate(length + GUARD_BYTES);
    writeBytes(this.#memory, address, new Uint8Array(length + GUARD_BYTES).fill(EVENT_FILL));
    let at = address;
    const id = this.ring.offer(
      cuts.map((cut) => {
        const buffer = { address: at, length: cut, writable: true };
        at += BigInt(cut);
        return buffer;
      }),
    );
    this.#posted.set(id, { address, length, descriptors: cuts.length });
  }

  /** All buffers that came back since the last call. */
  take(): EventAnswer[] {
    const answers: EventAnswer[] = [];
    for (let used = this.ring.take(); used !== undefined; used = this.ring.take()) {
      const posted = this.#posted.get(used.id);
      this.#posted.delete(used.id);
      if (posted === undefined)
        throw new Violation(`an event comes back under id ${used.id}, which is not out`, 'fail');
      const { address, length, descriptors } = posted;
      this.#descriptors -= descriptors;
      const around = readBytes(this.#memory, address, length + GUARD_BYTES);
      const bytes = around.slice(0, length);
      const overrun = around.subarray(length).some((byte) => byte !== EVENT_FILL);
      const whole = bytes.length >= FaultRecord.size;
      const record = whole ? FaultRecord.read(new DataView(bytes.buffer)) : undefined;
      answers.push({ length: used.length, bytes, overrun, record });
    }
    return answers;
  }
}
