/** What stands between a device and guest memory: an IOMMU, grants, or a rule about which pages may be touched. */

import { MapFlag } from '@viommu/common';

/** What an access is for: bits of `MapFlag`, of which these two matter here. */
export const Access: { readonly READ: typeof MapFlag.READ; readonly WRITE: typeof MapFlag.WRITE } =
  MapFlag;

export type Access = (typeof Access)[keyof typeof Access];

/** How a translation ended. */
export const Translated = {
  /** All of the access may happen, in the pieces given. */
  OK: 0,
  /** None of it may happen. */
  FAULT: 1,
  /** None of it may happen, and a device that tried has to be reset before it does anything else. */
  FATAL: 2,
} as const;

export type Translated = (typeof Translated)[keyof typeof Translated];

const PIECES_MIN = 16;

/** Pieces of guest-physical memory in the order of an access's bytes, as columns. Made once and used again. */
export class PieceList {
  count = 0;
  /** Where each piece starts. */
  page: Float64Array = new Float64Array(PIECES_MIN);
  offset: Uint16Array = new Uint16Array(PIECES_MIN);
  /** Bytes in each piece. */
  sizeBytes: Float64Array = new Float64Array(PIECES_MIN);

  add(page: number, offset: number, sizeBytes: number): void {
    const index = this.count;
    if (index === this.page.length) this.#grow();
    this.page[index] = page;
    this.offset[index] = offset;
    this.sizeBytes[index] = sizeBytes;
    this.count = index + 1;
  }

  #grow(): void {
    const { page, offset, sizeBytes } = this;
    const pieces = 2 * page.length;
    (this.page = new Float64Array(pieces)).set(page);
    (this.offset = new Uint16Array(pieces)).set(offset);
    (this.sizeBytes = new Float64Array(pieces)).set(sizeBytes);
  }
}

/**
 * Translates the addresses of one device.
 *
 * A translation may be kept as long as {@link generation} stays the same and nobody calls `invalidate` of the memory
 * that keeps it. So whoever takes memory away from the device does one of the two before it tells anybody that it is
 * done.
 */
export interface Translator {
  /**
   * Translates the `sizeBytes` bytes from `offset` in `page`, 1 or more, none beyond the last address; `access` is a
   * bit of `MapFlag`. On success `into`, which is empty, has pieces of `sizeBytes` bytes together; what it has after a
   * fault does not matter.
   */
  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
    into: PieceList,
  ): Translated;
  /** Changes when a translation may have become wrong; constant where `invalidate` is called instead. A small integer. */
  readonly generation: number;
  /**
   * True if what holds for one byte of a page holds for the page, and a translation can be kept as above; false where
   * every access has to be asked about, as with a rule that the guest changes without telling.
   */
  readonly wholePages: boolean;
  /**
   * The device has made all its accesses to the buffers of a request, and the driver will hear of it next: what was held
   * for the translations so far is let go of. They must not be used after this, so {@link generation} changes.
   */
  release?(): void;
}

/** Addresses are those of guest memory, and all of it may be used. */
export const IDENTITY: Translator = {
  generation: 0,
  wholePages: true,
  translate(page, offset, sizeBytes, _access, into) {
    into.add(page, offset, sizeBytes);
    return Translated.OK;
  },
};
