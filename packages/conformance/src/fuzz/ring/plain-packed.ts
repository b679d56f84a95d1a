/** A packed virtqueue, read and answered as plainly as section "Packed Virtqueues" has it. */

import {
  type PlainBuffer,
  PlainBytes,
  type PlainChain,
  type PlainDevice,
  type PlainOptions,
  type PlainPop,
  packedDue,
} from './plain.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;
const ENTRY = 16;

/** A place in the ring, and the wrap counter there. */
interface Spot {
  readonly slot: number;
  readonly wrap: boolean;
}

export class PlainPackedDevice implements PlainDevice {
  broken: boolean;
  readonly #memory: PlainBytes;
  readonly #options: PlainOptions;
  #next: Spot;
  #used: Spot;
  #taken = 0;
  /** The flags of the next chain, once they were seen: a device may go by them. */
  #flags: number | undefined;
  /** Slots that were pushed and not published, from where, and the flags that show them. */
  #pushed = 0;
  #first: Spot;
  #held = 0;

  constructor(options: PlainOptions) {
    this.#memory = new PlainBytes(options);
    this.#options = options;
    this.broken = options.broken;
    const spot = { slot: options.position & 0x7fff, wrap: options.position >= 0x8000 };
    this.#next = this.#used = this.#first = spot;
  }

  get position(): number {
    return this.#next.slot | (this.#next.wrap ? 0x8000 : 0);
  }

  get idle(): boolean {
    return this.#taken === 0 && this.#pushed === 0;
  }

  readonly seen = true;

  pop(): PlainPop {
    if (this.broken) return 'broken';
    if (!this.#look()) return 'empty';
    const chain = this.#walk(this.#flags ?? 0);
    if (chain === undefined || this.#taken + chain.slots > this.#options.size) {
      this.broken = true;
      return 'broken';
    }
    this.#flags = undefined;
    this.#taken += chain.slots;
    this.#next = this.#ahead(this.#next, chain.slots);
    return chain;
  }

  ready(): boolean {
    return this.broken || this.#look();
  }

  push({ id, slots }: PlainChain, written: number): void {
    const first = this.#pushed === 0;
    if (first) this.#first = this.#used;
    const { batchUsed } = this.#options;
    const spot = batchUsed ? this.#first : this.#used;
    const at = this.#at(spot.slot);
    const flags = (spot.wrap ? AVAIL | USED : 0) | (written > 0 ? WRITE : 0);
    this.#memory.put32(at + 8, written);
    this.#memory.put16(at + 12, id);
    if (first || batchUsed) this.#held = flags;
    else this.#memory.put16(at + 14, flags);
    this.#pushed += slots;
    this.#taken -= slots;
    this.#used = this.#ahead(this.#used, slots);
  }

  publish(): boolean | undefined {
    const { place, eventIndex, size } = this.#options;
    const count = this.#pushed;
    if (count === 0) return false;
    this.#memory.put16(this.#at(this.#first.slot) + 14, this.#held);
    this.#pushed = 0;
    const event = {
      desc: this.#memory.u16(place.driver),
      flags: this.#memory.u16(place.driver + 2),
    };
    return packedDue(event, eventIndex, size, this.#first, count);
  }

  arm(): void {
    const { place, eventIndex } = this.#options;
    if (eventIndex) this.#memory.put16(place.device, this.position);
    this.#memory.put16(place.device + 2, eventIndex ? 2 : 0);
  }

  suppress(): void {
    this.#memory.put16(this.#options.place.device + 2, 1);
  }

  asksFor(count: number): boolean | undefined {
    const { place, eventIndex, size } = this.#options;
    const event = {
      desc: this.#memory.u16(place.device),
      flags: this.#memory.u16(place.device + 2),
    };
    return packedDue(event, eventIndex, size, this.#next, count);
  }

  get wish(): readonly [number, number] {
    return [this.#options.place.device, 4];
  }

  #at(slot: number): number {
    return this.#options.place.table + slot * ENTRY;
  }

  #ahead({ slot, wrap }: Spot, count: number): Spot {
    const { size } = this.#options;
    return slot + count < size
      ? { slot: slot + count, wrap }
      : { slot: slot + count - size, wrap: !wrap };
  }

  #look(): boolean {
    if (this.#flags !== undefined) return true;
    const flags = this.#memory.u16(this.#at(this.#next.slot) + 14);
    const available = ((flags & AVAIL) !== 0) === this.#next.wrap;
    const used = ((flags & USED) !== 0) === this.#next.wrap;
    if (!available || used) return false;
    this.#flags = flags;
    return true;
  }

  /** The list at the next slot, or undefined if it breaks a rule. */
  #walk(firstFlags: number): PlainChain | undefined {
    const { size, indirect } = this.#options;
    const memory = this.#memory;
    const buffers: PlainBuffer[] = [];
    for (let slots = 1; slots <= size; slots += 1) {
      const at = this.#at((this.#next.slot + slots - 1) % size);
      const address = memory.u64(at);
      const length = memory.u32(at + 8);
      const id = memory.u16(at + 12);
      const flags = slots === 1 ? firstFlags : memory.u16(at + 14);
      if ((flags & INDIRECT) !== 0) {
        if (!indirect || slots > 1 || (flags & NEXT) !== 0) return undefined;
        const listed = this.#table(address, length);
        return listed && { id, slots, buffers: listed };
      }
      buffers.push({ address, length, writable: (flags & WRITE) !== 0 });
      if (!inOrder(buffers)) return undefined;
      if ((flags & NEXT) === 0) return { id, slots, buffers };
    }
    return undefined;
  }

  #table(address: bigint, bytes: number): PlainBuffer[] | undefined {
    const memory = this.#memory;
    const table = memory.find(address, bytes);
    if (table === undefined || bytes === 0 || bytes % ENTRY !== 0) return undefined;
    if (bytes / ENTRY > this.#options.size) return undefined;
    const buffers: PlainBuffer[] = [];
    for (let at = table; at < table + bytes; at += ENTRY) {
      const flags = memory.u16(at + 14);
      if ((flags & INDIRECT) !== 0) return undefined;
      const writable = (flags & WRITE) !== 0;
      buffers.push({ address: memory.u64(at), length: memory.u32(at + 8), writable });
      if (!inOrder(buffers)) return undefined;
    }
    return buffers;
  }
}

/** Readable buffers come before writable ones. */
function inOrder(buffers: readonly PlainBuffer[]): boolean {
  return buffers.at(-1)?.writable === true || buffers.at(-2)?.writable !== true;
}
