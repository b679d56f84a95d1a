/** Memory that the guest lends to a device: where it lies, how the device reaches it, and what has to be in it. */

import { addressAt, guestPhysical } from '@viommu/common';
import type { Direction, ScatterEntry } from '@viommu/iommu';
import type { GuestRam } from '@viommu/machine';
import type { Random } from '../fuzz/random.ts';

const PAGE = 4096;

/** A piece of memory in pages of its own. */
export class Piece {
  readonly page: number;
  /** Where the piece begins in its first page, and how long it is. */
  readonly offset: number;
  readonly bytes: number;
  /** A device reaches it at another place than where it lies. */
  readonly bounced: boolean;
  /** All of its pages as they have to be: the piece, and what lies around it. */
  readonly image: Uint8Array;
  readonly #memory: GuestRam;

  constructor(memory: GuestRam, page: number, offset: number, bytes: number, bounced = false) {
    this.bounced = bounced;
    this.page = page;
    this.offset = offset;
    this.bytes = bytes;
    this.image = new Uint8Array(pagesOf(offset, bytes) * PAGE);
    this.#memory = memory;
  }

  /** The memory itself. */
  get memory(): Uint8Array {
    const address = guestPhysical(addressAt(this.page, 0));
    return this.#memory.bytes(address, this.image.length);
  }

  /** Fills the pages: bytes that nobody else has, between others. */
  fill(random: Random): void {
    this.image.fill(0xc3);
    this.change(random, 0, this.bytes);
    this.memory.set(this.image);
  }

  /** Gives some of its bytes other values, here only. */
  change(random: Random, from: number, bytes: number): void {
    let value = random.number(256);
    for (let at = from; at < from + bytes; at += 1) {
      this.image[this.offset + at] = value;
      value = (value + 29) & 0xff;
    }
  }

  /** Where memory is not as it has to be; -1 if it is. */
  difference(): number {
    const { memory, image } = this;
    return image.findIndex((byte, at) => memory[at] !== byte);
  }
}

/** Bytes of a piece that have addresses in a row. */
export interface Part {
  readonly piece: Piece;
  /** The first of its bytes, counted in the piece. */
  readonly from: number;
  readonly bytes: number;
  readonly page: number;
  readonly offset: number;
}

/**
 * `live`: the device must reach it. In all other states it may: `starting` before the mapping is done, `ending` from
 * when the unmap begins, `limbo` until a flush after it.
 */
export type LoanState = 'starting' | 'live' | 'ending' | 'limbo';

export interface LoanOptions {
  readonly kind: 'single' | 'list' | 'coherent' | 'own';
  readonly direction: Direction;
  readonly pieces: readonly Piece[];
}

/** What was mapped by one call. */
export class Loan {
  readonly kind: LoanOptions['kind'];
  readonly direction: Direction;
  /** None while it is not known where they are. */
  pieces: readonly Piece[];
  /** How the guest named it, if it is a list. */
  list: readonly ScatterEntry[] = [];
  parts: readonly Part[] = [];
  state: LoanState = 'starting';
  /** Its unmap is not waited for. */
  lazy = false;
  /** Flushes that had begun when the unmap began, and when it was over. */
  flushBefore = 0;
  flushAfter = 0;

  constructor({ kind, direction, pieces }: LoanOptions) {
    this.kind = kind;
    this.direction = direction;
    this.pieces = pieces;
  }

  /** Tells where one piece is. */
  placeAt(page: number, offset: number): void {
    const piece = this.pieces[0]!; // It has one.
    this.parts = [{ piece, from: 0, bytes: piece.bytes, page, offset }];
  }

  /** Tells where the pieces of a list are: segments have their bytes one behind the other. */
  placeList(list: readonly ScatterEntry[], segments: number): void {
    const parts: Part[] = [];
    let index = 0;
    let done = 0;
    for (const piece of this.pieces)
      for (let from = 0; from < piece.bytes && index < segments;) {
        const { dmaPage, dmaOffset, dmaSizeBytes } = list[index]!; // Below its length.
        const bytes = Math.min(piece.bytes - from, dmaSizeBytes - done);
        const at = dmaOffset + done;
        parts.push({ piece, from, bytes, page: dmaPage + (at >>> 12), offset: at & 0xfff });
        from += bytes;
        done += bytes;
        if (done < dmaSizeBytes) continue;
        index += 1;
        done = 0;
      }
    this.list = list;
    this.parts = parts;
  }

  /** The part that has a byte in this page. */
  partIn(page: number): Part | undefined {
    return this.parts.find(
      (part) => page >= part.page && page < part.page + pagesOf(part.offset, part.bytes),
    );
  }
}

export function pagesOf(offset: number, bytes: number): number {
  return Math.ceil((offset + bytes) / PAGE);
}
