/** The guest's RAM as the IOMMU core sees it: whole pages and bytes, by page number. */

import { IommuError, PAGE_SIZE, addressAt, assert, guestPhysical, pageOf } from '@viommu/common';
import type { GuestRam as CoreRam } from '@viommu/iommu';
import type { GuestRam } from './guest-ram.ts';

/** Pages of one guest's RAM. */
export class GuestPages implements CoreRam {
  readonly firstPage: number;
  readonly lastPage: number;
  readonly #ram: GuestRam;
  readonly #bytes: Uint8Array;

  constructor(ram: GuestRam) {
    this.#ram = ram;
    this.#bytes = ram.bytes(ram.base, ram.size);
    this.firstPage = pageOf(ram.base);
    this.lastPage = this.firstPage + ram.size / PAGE_SIZE - 1;
  }

  allocatePages(pageCount: number): number {
    try {
      return pageOf(this.#ram.allocate(pageCount * PAGE_SIZE));
    } catch (error) {
      if (error instanceof IommuError && error.code === 'ENOMEM') return -1;
      throw error;
    }
  }

  freePages(startPage: number): void {
    this.#ram.free(guestPhysical(addressAt(startPage, 0)));
  }

  copy(
    fromPage: number,
    fromOffset: number,
    toPage: number,
    toOffset: number,
    sizeBytes: number,
  ): void {
    const from = this.#positionOf(fromPage, fromOffset, sizeBytes);
    this.#bytes.copyWithin(this.#positionOf(toPage, toOffset, sizeBytes), from, from + sizeBytes);
  }

  clear(page: number, offset: number, sizeBytes: number): void {
    const at = this.#positionOf(page, offset, sizeBytes);
    this.#bytes.fill(0, at, at + sizeBytes);
  }

  #positionOf(page: number, offset: number, sizeBytes: number): number {
    const position = (page - this.firstPage) * PAGE_SIZE + offset;
    assert(position >= 0 && position + sizeBytes <= this.#bytes.length, 'the bytes are in RAM');
    return position;
  }
}
