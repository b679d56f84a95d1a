/** The bytes that endpoints may access, and what should be in them. */

import type { AccessPrediction, Piece } from '../model/access.ts';
import type { DeviceTarget, DmaDirection, DmaOutcome } from '../target.ts';
import { Deviation } from './deviation.ts';
import type { Guest } from './guest.ts';
import { ACCESS_MAX, DATA_BYTES } from './limit.ts';

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

/** What is there at first. */
const FIRST = Uint8Array.from({ length: DATA_BYTES }, (_, at) => (at * 7) ^ (at >>> 8));
/** What is there while it is looked at. */
const SEEN = new Uint8Array(DATA_BYTES);
/** No two of the first 256 places begin alike. */
const PATTERNS = Uint8Array.from({ length: 256 + ACCESS_MAX }, (_, at) => at * 11 + (at >>> 8) * 3);

export class Data {
  readonly #guest: Guest;
  /** What some bytes hold that are looked at. */
  readonly #piece: Uint8Array = new Uint8Array(ACCESS_MAX);
  #reached: readonly Piece[] | undefined;
  #reach: Reach = 'nowhere';
  readonly #expected: Uint8Array = FIRST.slice();
  #pattern = 0;

  constructor(guest: Guest) {
    this.#guest = guest;
    guest.writeData(FIRST);
  }

  /** Writes what was there at first. */
  begin(): void {
    this.#expected.set(FIRST);
    this.#guest.writeData(this.#expected);
  }

  /** True if the other holds the same, as far as both were last looked at. */
  equals(other: Data): boolean {
    return sameBytes(this.#expected, other.#expected);
  }

  /** Whatever is there now is as it should be. */
  accept(): void {
    this.#guest.readData(this.#expected);
  }

  /** Bytes unlike those before; not to be changed. */
  pattern(length: number): Uint8Array {
    this.#pattern = (this.#pattern + 37) % 256;
    return PATTERNS.subarray(this.#pattern, this.#pattern + length);
  }

  /** Whether an access of these pieces can be made without harm to anything but the data. */
  reach(pieces: readonly Piece[]): Reach {
    // Asked several times about each access.
    if (pieces !== this.#reached) {
      this.#reach = this.#find(pieces);
      this.#reached = pieces;
    }
    return this.#reach;
  }

  #find(pieces: readonly Piece[]): Reach {
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

  /** True if a read through these pieces got these bytes; a region for interrupts leaves those before. */
  #gave(pieces: readonly Piece[], bytes: Uint8Array, before: Uint8Array): boolean {
    let offset = 0;
    for (const { kind, address, length } of pieces) {
      const right =
        kind === 'interrupt'
          ? samePart(bytes, offset, before, offset, length)
          : samePart(bytes, offset, this.#expected, this.#placeOf(address), length);
      if (!right) return false;
      offset += length;
    }
    return true;
  }

  /** True if what was seen is what this predicts. */
  explains({ pieces, fault }: AccessPrediction, seen: SeenAccess): boolean {
    const { direction, outcome, before, bytes } = seen;
    if (fault !== undefined) {
      if (outcome === 'done') return false;
      if (direction === 'write') return outcome === 'refused' || this.isUntouched;
      // An endpoint that does not know may have got zeros.
      const nothing = outcome === 'unknown' && bytes.every((byte) => byte === 0);
      return nothing || sameBytes(bytes, before);
    }
    if (this.reach(pieces) !== 'data') return true;
    if (outcome === 'refused') return false;
    return direction === 'read' ? this.#gave(pieces, bytes, before) : this.#holds(pieces, bytes);
  }

  /** True if the bytes are there after a write through these pieces. */
  #holds(pieces: readonly Piece[], bytes: Uint8Array): boolean {
    const seen = this.#piece;
    // From the last one on: where pieces share bytes, it counts.
    let end = bytes.length;
    const later: (readonly [at: number, length: number])[] = [];
    for (let index = pieces.length - 1; index >= 0; index -= 1) {
      const { kind, address, length } = pieces[index]!; // Below the length.
      end -= length;
      if (kind === 'interrupt') continue;
      const at = this.#placeOf(address);
      this.#guest.readData(seen, at, length);
      const covered = later.some(([from, bytes]) => from < at + length && at < from + bytes);
      if (!covered && !samePart(bytes, end, seen, 0, length)) return false;
      for (let byte = 0; covered && byte < length; byte += 1) {
        const place = at + byte;
        if (later.some(([from, bytes]) => place >= from && place < from + bytes)) continue;
        if (seen[byte] !== bytes[end + byte]) return false;
      }
      if (pieces.length > 1) later.push([at, length]);
    }
    return true;
  }

  /** A write through these pieces was made. */
  written(pieces: readonly Piece[], bytes: Uint8Array): void {
    if (this.reach(pieces) !== 'data') return;
    let offset = 0;
    for (const { kind, address, length } of pieces) {
      if (kind !== 'interrupt')
        this.#expected.set(bytes.subarray(offset, offset + length), this.#placeOf(address));
      offset += length;
    }
  }

  /** What became of an access that should have come to something else. */
  symptom({ direction, outcome, before, bytes }: SeenAccess): string {
    if (outcome === 'refused') return 'is refused';
    if (direction === 'write') return this.isUntouched ? 'changes nothing' : 'changes other bytes';
    const nothing = sameBytes(bytes, before) || bytes.every((byte) => byte === 0);
    return nothing ? 'gets nothing' : 'gets other bytes';
  }

  /** True if every byte is as it should be. */
  get isUntouched(): boolean {
    this.#guest.readData(SEEN);
    return sameBytes(SEEN, this.#expected);
  }

  /** Checks every byte. */
  check(): void {
    if (this.isUntouched) return;
    const at = SEEN.findIndex((byte, index) => byte !== this.#expected[index]);
    const address = this.#guest.dataAddress + BigInt(at);
    throw new Deviation(
      'memory',
      'a byte is changed that no access may reach',
      `0x${address.toString(16)} holds ${SEEN[at]}, not ${this.#expected[at]}`,
    );
  }

  #placeOf(address: bigint): number {
    return Number(address - this.#guest.dataAddress);
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
  return one.length === other.length && samePart(one, 0, other, 0, one.length);
}

/** Few bytes are compared sooner than a view of them is made. */
const FEW = 64;

function samePart(
  one: Uint8Array,
  from: number,
  other: Uint8Array,
  otherFrom: number,
  length: number,
): boolean {
  if (length > FEW)
    return (
      Buffer.compare(
        one.subarray(from, from + length),
        other.subarray(otherFrom, otherFrom + length),
      ) === 0
    );
  for (let at = 0; at < length; at += 1) if (one[from + at] !== other[otherFrom + at]) return false;
  return true;
}
