/** The bytes that endpoints may access, and what should be in them. */

import type { AccessPrediction, Piece } from '../model/access.ts';
import type { DeviceTarget, DmaDirection, DmaOutcome } from '../target.ts';
import { Deviation } from './deviation.ts';
import type { Guest } from './guest.ts';
import { DATA_BYTES } from './limit.ts';

/** An access that was made. */
export interface SeenAccess {
  readonly direction: DmaDirection;
  readonly outcome: DmaOutcome;
  /** What the buffer held before, and holds now. */
  readonly before: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Where the pieces of an access lie: all of them in the data, none of them in memory, or anywhere else. */
export type Reach = 'data' | 'nowhere' | 'elsewhere';

export class Data {
  readonly #guest: Guest;
  readonly #expected: Uint8Array = new Uint8Array(DATA_BYTES);
  readonly #seen: Uint8Array = new Uint8Array(DATA_BYTES);
  #pattern = 0;

  constructor(guest: Guest) {
    this.#guest = guest;
    for (let at = 0; at < DATA_BYTES; at += 1) this.#expected[at] = (at * 7) ^ (at >>> 8);
    guest.writeData(this.#expected);
  }

  /** Whatever is there now is as it should be. */
  accept(): void {
    this.#guest.readData(this.#expected);
  }

  /** Bytes unlike any before. */
  pattern(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#pattern += 1;
    for (let at = 0; at < length; at += 1) bytes[at] = this.#pattern * 37 + at * 11;
    return bytes;
  }

  /** Whether an access of these pieces can be made without harm to anything but the data. */
  reach(pieces: readonly Piece[]): Reach {
    const { memory } = this.#guest.target;
    let inside = 0;
    let nowhere = 0;
    for (const { kind, address, length } of pieces) {
      const at = address - this.#guest.dataAddress;
      if (kind === 'interrupt' || (at >= 0n && at + BigInt(length) <= DATA_BYTES)) inside += 1;
      else if (!touches(memory, address, length)) nowhere += 1;
    }
    if (inside === pieces.length) return 'data';
    return nowhere === pieces.length ? 'nowhere' : 'elsewhere';
  }

  /** What a read through these pieces gets. */
  read(pieces: readonly Piece[], before: Uint8Array): Uint8Array {
    const bytes = before.slice();
    this.#walk(pieces, (at, offset, length) =>
      bytes.set(this.#expected.subarray(at, at + length), offset),
    );
    return bytes;
  }

  /** True if what was seen is what this predicts. */
  explains({ pieces, fault }: AccessPrediction, seen: SeenAccess): boolean {
    const { direction, outcome, before, bytes } = seen;
    if (fault !== undefined)
      return outcome !== 'done' && (direction === 'write' || sameBytes(bytes, before));
    if (this.reach(pieces) !== 'data') return true;
    if (outcome === 'refused') return false;
    return direction === 'read'
      ? sameBytes(bytes, this.read(pieces, before))
      : this.holds(pieces, bytes);
  }

  /** True if the bytes are there after a write through these pieces. */
  holds(pieces: readonly Piece[], bytes: Uint8Array): boolean {
    let holds = true;
    // Where pieces share bytes, the last one counts.
    const last = new Map<number, number>();
    if (pieces.length > 1)
      this.#walk(pieces, (at, offset, length) => {
        for (let index = 0; index < length; index += 1)
          last.set(at + index, bytes[offset + index]!); // Below the length.
      });
    this.#walk(pieces, (at, offset, length) => {
      const seen = new Uint8Array(length);
      this.#guest.readData(seen, at);
      if (pieces.length === 1) holds &&= sameBytes(seen, bytes.subarray(offset, offset + length));
      else holds &&= seen.every((byte, index) => byte === last.get(at + index));
    });
    return holds;
  }

  /** A write through these pieces was made. */
  written(pieces: readonly Piece[], bytes: Uint8Array): void {
    if (this.reach(pieces) !== 'data') return;
    this.#walk(pieces, (at, offset, length) =>
      this.#expected.set(bytes.subarray(offset, offset + length), at),
    );
  }

  /** Checks every byte. */
  check(): void {
    this.#guest.readData(this.#seen);
    if (sameBytes(this.#seen, this.#expected)) return;
    const at = this.#seen.findIndex((byte, index) => byte !== this.#expected[index]);
    const address = this.#guest.dataAddress + BigInt(at);
    throw new Deviation(
      'memory',
      'a byte is changed that no access may reach',
      `0x${address.toString(16)} holds ${this.#seen[at]}, not ${this.#expected[at]}`,
    );
  }

  #walk(
    pieces: readonly Piece[],
    each: (at: number, offset: number, length: number) => void,
  ): void {
    let offset = 0;
    for (const { kind, address, length } of pieces) {
      if (kind !== 'interrupt') each(Number(address - this.#guest.dataAddress), offset, length);
      offset += length;
    }
  }
}

/** True if some of the bytes are in memory. */
function touches(memory: DeviceTarget['memory'], address: bigint, length: number): boolean {
  const has = (at: bigint): boolean =>
    memory.locate(Number(at & 0xffff_ffffn), Number((at >> 32n) & 0xffff_ffffn), 1) >= 0;
  // Memory begins and ends at pages, and accesses have two at most.
  return has(address) || has(address + BigInt(length - 1));
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
