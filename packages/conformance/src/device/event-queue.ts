/** Buffers for fault records, and what the device wrote into them. */

import { FaultRecord } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';
import { readBytes, writeBytes } from '../ring/bytes.ts';
import type { TestRing } from '../ring/test-ring.ts';
import type { Arena } from './arena.ts';

/** A buffer that came back. */
export interface EventAnswer {
  /** The used length. */
  readonly length: number;
  /** The whole buffer. */
  readonly bytes: Uint8Array;
  /** The record, if the buffer has room for one. */
  readonly record: ReturnType<typeof FaultRecord.read> | undefined;
}

/** Writable buffers hold this beforehand. */
export const EVENT_FILL = 0xff;

export class EventQueue {
  readonly ring: TestRing;
  readonly #memory: GuestMemory;
  readonly #arena: Arena;
  readonly #posted = new Map<number, { readonly address: bigint; readonly length: number }>();

  constructor(ring: TestRing, memory: GuestMemory, arena: Arena) {
    this.ring = ring;
    this.#memory = memory;
    this.#arena = arena;
  }

  /** Makes one buffer available, filled with {@link EVENT_FILL}; `cuts` are the lengths of its pieces. */
  post(...cuts: readonly number[]): void {
    const length = cuts.reduce((sum, cut) => sum + cut, 0);
    const address = this.#arena.allocate(length);
    writeBytes(this.#memory, address, new Uint8Array(length).fill(EVENT_FILL));
    let at = address;
    const id = this.ring.offer(
      cuts.map((cut) => {
        const buffer = { address: at, length: cut, writable: true };
        at += BigInt(cut);
        return buffer;
      }),
    );
    this.#posted.set(id, { address, length });
  }

  /** All buffers that came back since the last call. */
  take(): EventAnswer[] {
    const answers: EventAnswer[] = [];
    for (let used = this.ring.take(); used !== undefined; used = this.ring.take()) {
      const posted = this.#posted.get(used.id);
      this.#posted.delete(used.id);
      const bytes = readBytes(this.#memory, posted?.address ?? 0n, posted?.length ?? 0);
      const whole = bytes.length >= FaultRecord.size;
      const record = whole ? FaultRecord.read(new DataView(bytes.buffer)) : undefined;
      answers.push({ length: used.length, bytes, record });
    }
    return answers;
  }
}
