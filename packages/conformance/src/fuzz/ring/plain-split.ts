/** A split virtqueue, read and answered as plainly as section "Split Virtqueues" has it. */

import {
  type PlainBuffer,
  PlainBytes,
  type PlainChain,
  type PlainDevice,
  type PlainOptions,
  type PlainPop,
  splitDue,
} from './plain.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const ENTRY = 16;

export class PlainSplitDevice implements PlainDevice {
  broken: boolean;
  readonly #memory: PlainBytes;
  readonly #options: PlainOptions;
  #next: number;
  /** The available index of the last look: a device may go by it until there it is. */
  #index: number;
  #used: number;
  #shown: number;

  constructor(options: PlainOptions) {
    this.#memory = new PlainBytes(options);
    this.#options = options;
    this.broken = options.broken;
    this.#next = this.#index = this.#used = this.#shown = options.position;
  }

  get position(): number {
    return this.#next;
  }

  get idle(): boolean {
    return this.#used === this.#next && this.#shown === this.#next;
  }

  get seen(): boolean {
    return this.#index !== this.#next;
  }

  pop(): PlainPop {
    if (this.broken) return 'broken';
    if (!this.seen && !this.#look()) return 'empty';
    if (this.broken) return 'broken';
    const { place, size } = this.#options;
    const head = this.#memory.u16(place.driver + 4 + 2 * (this.#next % size));
    const buffers = head < size ? this.#walk(head) : undefined;
    if (buffers === undefined) {
      this.broken = true;
      return 'broken';
    }
    this.#next = (this.#next + 1) & 0xffff;
    return { id: head, slots: 1, buffers };
  }

  ready(): boolean {
    return this.seen || this.#look() || this.broken;
  }

  push({ id }: PlainChain, written: number): void {
    const { place, size, batchUsed } = this.#options;
    const slot = (batchUsed ? this.#shown : this.#used) % size;
    this.#memory.put32(place.device + 4 + 8 * slot, id);
    this.#memory.put32(place.device + 4 + 8 * slot + 4, written);
    this.#used = (this.#used + 1) & 0xffff;
  }

  publish(): boolean {
    const { place, size, eventIndex } = this.#options;
    const before = this.#shown;
    const now = this.#used;
    if (now === before) return false;
    this.#memory.put16(place.device + 2, now);
    this.#shown = now;
    if (!eventIndex) return (this.#memory.u16(place.driver) & 1) === 0;
    return splitDue(this.#memory.u16(place.driver + 4 + 2 * size), before, now);
  }

  arm(): void {
    this.#memory.put16(this.wish[0], this.#options.eventIndex ? this.#next : 0);
  }

  suppress(): void {
    this.#memory.put16(this.wish[0], this.#options.eventIndex ? (this.#next - 1) & 0xffff : 1);
  }

  asksFor(count: number): boolean {
    const wish = this.#memory.u16(this.wish[0]);
    if (!this.#options.eventIndex) return (wish & 1) === 0;
    return splitDue(wish, this.#next, (this.#next + count) & 0xffff);
  }

  get wish(): readonly [number, number] {
    const { place, size, eventIndex } = this.#options;
    return [place.device + (eventIndex ? 4 + 8 * size : 0), 2];
  }

  #look(): boolean {
    const { place, size } = this.#options;
    const index = this.#memory.u16(place.driver + 2);
    const ahead = (index - this.#next) & 0xffff;
    if (ahead === 0) return false;
    // No more chains than descriptors, with those that were not given back.
    if (ahead + ((this.#next - this.#used) & 0xffff) > size) this.broken = true;
    else this.#index = index;
    return true;
  }

  /** The buffers of a chain, or undefined if it breaks a rule. */
  #walk(head: number): PlainBuffer[] | undefined {
    const { place, size, indirect } = this.#options;
    const memory = this.#memory;
    const buffers: PlainBuffer[] = [];
    let table = place.table;
    let entries = size;
    let inTable = false;
    for (let index = head; ;) {
      const at = table + index * ENTRY;
      const address = memory.u64(at);
      const length = memory.u32(at + 8);
      const flags = memory.u16(at + 12);
      const next = memory.u16(at + 14);
      if ((flags & INDIRECT) !== 0) {
        const found = memory.find(address, length);
        if (!indirect || inTable || (flags & NEXT) !== 0 || length === 0 || length % ENTRY !== 0)
          return undefined;
        if (found === undefined) return undefined;
        table = found;
        entries = length / ENTRY;
        inTable = true;
        index = 0;
        continue;
      }
      const writable = (flags & WRITE) !== 0;
      if (!writable && buffers.at(-1)?.writable === true) return undefined;
      buffers.push({ address, length, writable });
      if ((flags & NEXT) === 0) return buffers;
      if (next >= entries || buffers.length === size) return undefined;
      index = next;
    }
  }
}
