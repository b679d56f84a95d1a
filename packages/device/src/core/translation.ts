/** The answer to an access: pieces of memory, or a fault. Made once, and used for access after access. */

import {
  FaultReason,
  type GuestPhysical,
  type Iova,
  addressAt,
  guestPhysical,
  iova,
} from '@viommu/common';

/** How an access ended. */
export const TranslateOutcome = {
  /** The pieces of the translation are what the access may touch. */
  OK: 0,
  /** The access is refused as a whole; none of it may happen. */
  FAULT: 1,
} as const;

export type TranslateOutcome = (typeof TranslateOutcome)[keyof typeof TranslateOutcome];

/** What a piece of a translation is. */
export const PieceKind = {
  /** Translated: guest-physical addresses. */
  MEMORY: 0,
  /** Bypassed: guest-physical addresses equal to those of the access. */
  IDENTITY: 1,
  /** A write into a region for interrupts: for the interrupt controller, never for memory (6.12). */
  MSI: 2,
} as const;

export type PieceKind = (typeof PieceKind)[keyof typeof PieceKind];

const PIECES_MIN = 16;

/**
 * The pieces of one access in the order of its bytes, as columns; valid until the next use of the object, and only as
 * long as no request is served in between.
 *
 * There is one piece for each mapping that the access touches, so the limit on mappings bounds them.
 */
export class Translation {
  /** Pieces; 0 after a fault. */
  count = 0;
  /** Where each piece starts. */
  physPage: Float64Array = new Float64Array(PIECES_MIN);
  physOffset: Uint16Array = new Uint16Array(PIECES_MIN);
  /** Bytes in each piece. */
  length: Float64Array = new Float64Array(PIECES_MIN);
  /** Values of {@link PieceKind}. */
  kind: Uint8Array = new Uint8Array(PIECES_MIN);

  /** After a fault: why, and the first byte that could not be translated. */
  faultReason: FaultReason = FaultReason.UNKNOWN;
  faultPage = 0;
  faultOffset = 0;

  /** The guest-physical address of a piece; for people and tests. */
  address(piece: number): GuestPhysical {
    return guestPhysical(addressAt(this.physPage[piece] ?? 0, this.physOffset[piece] ?? 0));
  }

  /** The address of the fault; for people and tests. */
  faultAddress(): Iova {
    return iova(addressAt(this.faultPage, this.faultOffset));
  }

  /** For the device: adds a piece. */
  add(page: number, offset: number, length: number, kind: PieceKind): void {
    const index = this.count;
    if (index === this.kind.length) this.#grow();
    this.physPage[index] = page;
    this.physOffset[index] = offset;
    this.length[index] = length;
    this.kind[index] = kind;
    this.count = index + 1;
  }

  /** For the device: refuses the access. */
  refuse(reason: FaultReason, page: number, offset: number): void {
    this.count = 0;
    this.faultReason = reason;
    this.faultPage = page;
    this.faultOffset = offset;
  }

  #grow(): void {
    const { physPage, physOffset, length, kind } = this;
    const pieces = 2 * kind.length;
    (this.physPage = new Float64Array(pieces)).set(physPage);
    (this.physOffset = new Uint16Array(pieces)).set(physOffset);
    (this.length = new Float64Array(pieces)).set(length);
    (this.kind = new Uint8Array(pieces)).set(kind);
  }
}
