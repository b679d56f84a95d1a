/** The buffers of an event queue: posted one by one, and taken back with what stands in them. */

import { FaultRecord } from '@viommu/common';
import { BufferList, type DriverQueue, type GuestMemory } from '@viommu/ring';
import type { Event } from '../model/event.ts';
import { Deviation } from './deviation.ts';
import { EVENTS_MAX, EVENT_STRIDE, FILL, Place } from './limit.ts';

const UNWRITTEN = new Uint8Array(EVENT_STRIDE).fill(FILL);

/** What a queue has from its start to its reset. */
export class EventBuffers {
  readonly queue: DriverQueue;
  readonly #memory: GuestMemory;
  readonly #window: number;
  readonly #high: number;
  readonly #low: number;
  readonly #list: BufferList = new BufferList(1);
  #posted = 0;
  #used = 0;

  /** `window` is the position of the window in memory, `address` where it begins. */
  constructor(memory: GuestMemory, window: number, address: bigint, queue: DriverQueue) {
    this.queue = queue;
    this.#memory = memory;
    this.#window = window + Place.EVENTS;
    this.#high = Number(address >> 32n);
    this.#low = Number(address & 0xffff_ffffn) + Place.EVENTS;
  }

  /** Adds a buffer, which is not published yet; false if there are enough. */
  post(bytes: number): boolean {
    if (this.#posted - this.#used >= EVENTS_MAX) return false;
    const slot = this.#posted % EVENTS_MAX;
    const at = slot * EVENT_STRIDE;
    this.#memory.write(this.#window + at, UNWRITTEN, 0, EVENT_STRIDE);
    this.#list.clear().addWritableAt(this.#low + at, this.#high, bytes);
    if (!this.queue.add(this.#list, slot)) return false;
    this.#posted += 1;
    return true;
  }

  /** Puts the buffers that came back behind those in `into`; true if there are `expected` of them. */
  take(into: Event[], expected: number): boolean {
    const { queue } = this;
    for (let slot = queue.take(); slot >= 0; slot = queue.take())
      into.push(this.#event(slot, queue.takenBytes));
    if (queue.fault !== undefined) throw new Deviation('ring', 'event queue', queue.fault);
    return into.length >= expected;
  }

  #event(slot: number, usedLength: number): Event {
    const record = new Uint8Array(Math.min(usedLength, FaultRecord.size));
    this.#memory.read(this.#window + slot * EVENT_STRIDE, record, 0, record.length);
    this.#used += 1;
    return { buffer: this.#used - 1, usedLength, record };
  }
}
