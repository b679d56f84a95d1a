/** Requests and answers in memory: written, and read back, as many at once as there are, for memory may be far away. */

import type { BufferList, GuestMemory } from '@viommu/ring';
import type { Completion } from '../model/answer.ts';
import { Deviation } from './deviation.ts';
import { cut, readableOf, roomOf } from './framing.ts';
import { BATCH_MAX, FILL, GUARD_BYTES, Place, READABLE_MAX, WRITABLE_MAX } from './limit.ts';
import type { RequestStep } from './stream.ts';

const ANSWERS_BYTES = BATCH_MAX * (WRITABLE_MAX + GUARD_BYTES);
const ANSWERS_FIRST = 0x1000;
/** What writable bytes hold beforehand: the most there are, and as many as some request had, by their number. */
const UNWRITTEN = new Uint8Array(ANSWERS_BYTES).fill(FILL);
const FILLED: Uint8Array[] = [];

/** The slots of a batch. Requests have places of one size, and answers follow each other. */
export class RequestSlots {
  readonly #memory: GuestMemory;
  readonly #window: number;
  /** The halves of the address of the window, which has no 4 GiB line in it. */
  readonly #high: number;
  readonly #low: number;
  readonly #requests: Uint8Array = new Uint8Array(BATCH_MAX * READABLE_MAX);
  /** It grows to what batches need. */
  #answers: Uint8Array = new Uint8Array(ANSWERS_FIRST);
  /** Where the answer of each slot begins. */
  readonly #places: Uint32Array = new Uint32Array(BATCH_MAX);
  /** Slots from here to there are not in memory yet, nor room for their answers. */
  #firstSlot = 0;
  #endSlot = 0;
  #firstAnswer = 0;
  #endAnswer = 0;

  /** `window` is the position of the window in memory, `address` where it begins. */
  constructor(memory: GuestMemory, window: number, address: bigint) {
    this.#memory = memory;
    this.#window = window;
    this.#high = Number(address >> 32n);
    this.#low = Number(address & 0xffff_ffffn);
  }

  /** The next request goes to `slot`, and its answer before all others. */
  begin(slot = 0): void {
    this.#firstSlot = slot;
    this.#endSlot = slot;
    if (slot > 0) return;
    this.#firstAnswer = 0;
    this.#endAnswer = 0;
  }

  /** The buffers of a request in the next slot. */
  describe(step: RequestStep, list: BufferList): void {
    const { cuts } = step;
    const { length } = readableOf(step);
    const room = roomOf(step);
    const high = this.#high;
    const request = this.#low + Place.REQUESTS + this.#endSlot * READABLE_MAX;
    const answer = this.#low + Place.ANSWERS + this.#endAnswer;
    list.clear();
    if (cuts === undefined) {
      if (length > 0) list.addReadableAt(request, high, length);
      if (room > 0) list.addWritableAt(answer, high, room);
    } else {
      cut(length, cuts[0], (at, bytes) => list.addReadableAt(request + at, high, bytes));
      cut(room, cuts[1], (at, bytes) => list.addWritableAt(answer + at, high, bytes));
    }
  }

  /** The next slot is taken by this request. */
  take(step: RequestStep): void {
    const slot = this.#endSlot;
    this.#requests.set(readableOf(step), slot * READABLE_MAX);
    this.#places[slot] = this.#endAnswer;
    this.#endAnswer += roomOf(step) + GUARD_BYTES;
    this.#endSlot = slot + 1;
  }

  /** Puts the requests into memory, and clears the room for their answers. Returns where that begins. */
  write(): number {
    const from = this.#firstSlot * READABLE_MAX;
    const bytes = this.#endSlot * READABLE_MAX - from;
    const answers = this.#firstAnswer;
    const room = this.#endAnswer - answers;
    if (bytes > 0)
      this.#memory.write(this.#window + Place.REQUESTS + from, this.#requests, from, bytes);
    if (room > 0) this.#memory.write(this.#window + Place.ANSWERS + answers, UNWRITTEN, 0, room);
    this.#firstSlot = this.#endSlot;
    this.#firstAnswer = this.#endAnswer;
    return answers;
  }

  /** Takes all answers from a place on out of memory. */
  read(from: number): void {
    const bytes = this.#endAnswer - from;
    const at = this.#window + Place.ANSWERS + from;
    if (this.#answers.length < this.#endAnswer) this.#grow(from);
    if (bytes > 0) this.#memory.read(at, this.#answers, from, bytes);
  }

  /** Room for all answers; those up to a place are kept. */
  #grow(kept: number): void {
    const before = this.#answers.subarray(0, kept);
    this.#answers = new Uint8Array(Math.min(2 * this.#endAnswer, ANSWERS_BYTES));
    this.#answers.set(before);
  }

  /** The answer in a slot, until the next batch. @throws {Deviation} if bytes behind it are written. */
  completion(step: RequestStep, slot: number, usedLength: number): Completion {
    const room = roomOf(step);
    const at = this.#places[slot] ?? 0;
    const end = at + room;
    for (let guard = end; guard < end + GUARD_BYTES; guard += 1)
      if (this.#answers[guard] !== FILL)
        throw new Deviation('memory', 'a byte behind an answer is written', `room ${room}`);
    const before = (FILLED[room] ??= new Uint8Array(room).fill(FILL));
    return { usedLength, before, after: this.#answers.subarray(at, end) };
  }
}
