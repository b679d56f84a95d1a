/**
 * What the driver's side of a packed queue knows of its lists, by buffer id. The device cannot reach any of it.
 *
 * Lists have numbers modulo 2^16, in the order in which they were added; the last of them may be held back, which is
 * to say not published yet.
 */

import type { ChainState } from './queue-state.ts';

/** In place of a token: the id is not in flight. */
const FREE = -1;

/** The words of an id's entry, all in one array, as a request touches all of them. */
const ENTRY_SHIFT = 2;
/** The caller's token while a list is in flight, else FREE. */
const TOKEN = 0;
/** The number of the list. */
const NUMBER = 1;
/** Slots of the ring that it occupies. */
const SLOTS = 2;
/** Bytes in the writable buffers. */
const WRITABLE = 3;

/** The lists of one packed queue. */
export class PackedListBook {
  readonly #size: number;
  readonly #entries: Int32Array;
  /**
   * A ring of ids: the free ones, first freed first taken, so that an indirect table comes back to the buffers it had;
   * behind them as many as are in flight. Those are in the order in which they were given out only if they come back in
   * that order, and the last ones as long as they are held back.
   */
  readonly #ids: Uint16Array;
  #freeFirst = 0;
  /** Where the next freed id goes; there the oldest one in flight was taken from. */
  #oldest = 0;
  /** Lists added, published and taken back so far. */
  #added = 0;
  #published = 0;
  #ended = 0;

  constructor(size: number) {
    this.#size = size;
    this.#ids = Uint16Array.from({ length: size }, (_, id) => id);
    this.#entries = new Int32Array(size << ENTRY_SHIFT);
    for (let id = 0; id < size; id += 1) this.#entries[(id << ENTRY_SHIFT) | TOKEN] = FREE;
  }

  /** Lists added and not taken back. */
  get inFlight(): number {
    return (this.#added - this.#ended) & 0xffff;
  }

  /** False if all lists in flight are held back. */
  get awaited(): boolean {
    return this.#published !== this.#ended;
  }

  /** Lists that are held back. */
  get held(): number {
    return (this.#added - this.#published) & 0xffff;
  }

  /** Gives a list an id, of which there must be a free one. */
  begin(token: number, slots: number, writableBytes: number): number {
    const at = this.#freeFirst;
    const id = this.#ids[at]!; // Below the size.
    this.#freeFirst = at + 1 === this.#size ? 0 : at + 1;
    const entries = this.#entries;
    const entry = id << ENTRY_SHIFT;
    const number = this.#added;
    this.#added = (number + 1) & 0xffff;
    entries[entry | TOKEN] = token;
    entries[entry | NUMBER] = number;
    entries[entry | SLOTS] = slots;
    entries[entry | WRITABLE] = writableBytes;
    return id;
  }

  /** Holds back nothing any more. */
  publish(): void {
    this.#published = this.#added;
  }

  /** Takes a list back, and returns its token. */
  end(id: number): number {
    const entries = this.#entries;
    const entry = id << ENTRY_SHIFT;
    const token = entries[entry | TOKEN]!; // Below the size.
    entries[entry | TOKEN] = FREE;
    const at = this.#oldest;
    this.#oldest = at + 1 === this.#size ? 0 : at + 1;
    this.#ids[at] = id;
    this.#ended = (this.#ended + 1) & 0xffff;
    return token;
  }

  /** The token of the list in flight with `id`, which is below the size; else -1. */
  token(id: number): number {
    return this.#entries[(id << ENTRY_SHIFT) | TOKEN]!;
  }

  /** Slots that the last list of `id` occupies. */
  slots(id: number): number {
    return this.#entries[(id << ENTRY_SHIFT) | SLOTS]!;
  }

  /** Bytes in the writable buffers of the last list of `id`. */
  writableBytes(id: number): number {
    return this.#entries[(id << ENTRY_SHIFT) | WRITABLE]! >>> 0;
  }

  /** The id given out before all others in flight, if they come back in order. */
  oldest(): number {
    return this.#ids[this.#oldest]!;
  }

  /** True if the list of `id` is held back, so that the device cannot have used it. */
  isHeld(id: number): boolean {
    const { held } = this;
    if (held === 0) return false;
    // Lists added since, with this one; for a list in flight since 65536 others that may be any number.
    const back = (this.#added - this.#entries[(id << ENTRY_SHIFT) | NUMBER]!) & 0xffff;
    if (back === 0 || back > held) return false;
    const index = this.#freeFirst - back;
    return this.#ids[index < 0 ? index + this.#size : index] === id;
  }

  /** By id: the token of its list in flight, else -1. */
  tokens(): Int32Array {
    return this.#entries.filter((_, index) => (index & ((1 << ENTRY_SHIFT) - 1)) === TOKEN);
  }

  /** Free ids, first those that are taken first. */
  free(): number[] {
    return this.#row(this.#freeFirst, this.#size - this.inFlight);
  }

  /** As many ids as are in flight: the last ones are those held back, and with IN_ORDER all are in their order. */
  latest(): number[] {
    return this.#row(this.#oldest, this.inFlight);
  }

  /** The list in flight with `id`. */
  list(id: number): ChainState {
    const writableBytes = this.writableBytes(id);
    return { token: this.token(id), writableBytes, ids: [id], slots: this.slots(id) };
  }

  /** Goes on with what another book has told; the state was checked. */
  goOn(free: readonly number[], lists: readonly ChainState[], held: number): void {
    this.#ids.set(free);
    this.#oldest = free.length % this.#size;
    for (const [index, list] of lists.entries()) {
      const id = list.ids[0]!; // A list has a buffer id.
      // As if they had been given out in this order: the oldest behind the last free one.
      this.#ids[free.length + index] = id;
      const entry = id << ENTRY_SHIFT;
      this.#entries[entry | TOKEN] = list.token;
      this.#entries[entry | NUMBER] = index;
      this.#entries[entry | SLOTS] = list.slots;
      this.#entries[entry | WRITABLE] = list.writableBytes;
    }
    this.#added = lists.length;
    this.#published = lists.length - held;
  }

  #row(first: number, count: number): number[] {
    return Array.from({ length: count }, (_, index) => this.#ids[(first + index) % this.#size]!);
  }
}
