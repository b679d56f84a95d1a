/**
 * DMA operations of a device whose back-end is another domain: it gets references instead of addresses.
 *
 * An address is 2^63 plus the reference times the page size plus the offset. The pages of one buffer have references
 * one behind the other, so that its addresses are one range.
 */

import { type Context, type ErrorCode, IommuError, PAGE_SIZE } from '@viommu/common';
import type { Device } from '../device.ts';
import {
  type CoherentMemory,
  Direction,
  DmaAddress,
  DmaAttribute,
  type DmaOps,
  type ScatterEntry,
} from '../dma-ops.ts';
import { mapEach, pagesTouched, unmapEach } from '../dma-list.ts';
import type { GuestRam } from '../guest-ram.ts';
import type { CoreLog } from '../log.ts';
import type { GrantTable } from './table.ts';

/** The page of the address 2^63: from here on pages are references. */
export const GRANT_PAGE: number = 2 ** 51;

const MASK_64 = 2n ** 64n - 1n;

/** What the operations are made of. */
export interface GrantDmaOptions {
  readonly table: GrantTable;
  readonly ram: GuestRam;
  readonly log: CoreLog;
  /** The domain of the device's back-end. */
  readonly backend: number;
}

/** The operations of one device. */
export class GrantDma implements DmaOps {
  readonly kind = 'grant';
  /** The domain of the back-end. */
  readonly backend: number;
  readonly #table: GrantTable;
  readonly #ram: GuestRam;
  readonly #log: CoreLog;
  readonly #address: DmaAddress = new DmaAddress();
  #broken = false;

  constructor({ table, ram, log, backend }: GrantDmaOptions) {
    this.#table = table;
    this.#ram = ram;
    this.#log = log;
    this.backend = backend;
  }

  /** True once the back-end kept a page that was taken back. Nothing works from then on. */
  get broken(): boolean {
    return this.#broken;
  }

  map(
    _context: Context,
    device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
    into: DmaAddress,
  ): boolean {
    if (this.#broken || device.dmaLastPage < 0 || !(sizeBytes > 0)) return false;
    if (direction === Direction.NONE || (attributes & DmaAttribute.MMIO) !== 0) return false;
    const first = page + Math.floor(offset / PAGE_SIZE);
    const rest = offset % PAGE_SIZE;
    const ref = this.#grant(
      first,
      pagesTouched(rest, sizeBytes),
      direction === Direction.TO_DEVICE,
    );
    if (ref < 0) return false;
    into.page = GRANT_PAGE + ref;
    into.offset = rest;
    return true;
  }

  unmap(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
  ): void {
    if (!this.#broken) this.#revoke(dmaPage - GRANT_PAGE, pagesTouched(dmaOffset, sizeBytes));
  }

  mapList(
    context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): number | ErrorCode {
    return mapEach(this, this.#address, context, device, list, count, direction, attributes);
  }

  unmapList(
    context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): void {
    unmapEach(this, context, device, list, count, direction, attributes);
  }

  finishMap(): boolean {
    return true;
  }

  finishUnmaps(): void {
    // Nothing was left.
  }

  allocateCoherent(
    _context: Context,
    _device: Device,
    sizeBytes: number,
  ): CoherentMemory | undefined {
    if (this.#broken) return undefined;
    const count = pagesTouched(0, sizeBytes);
    const page = this.#ram.allocatePages(count);
    if (page < 0) return undefined;
    const ref = this.#grant(page, count, false);
    if (ref >= 0) return { page, sizeBytes: count * PAGE_SIZE, dmaPage: GRANT_PAGE + ref };
    this.#ram.freePages(page);
    return undefined;
  }

  freeCoherent(
    _context: Context,
    _device: Device,
    { page, sizeBytes, dmaPage }: CoherentMemory,
  ): void {
    // Pages of a back-end that does not let go are lost on purpose.
    if (this.#broken || !this.#revoke(dmaPage - GRANT_PAGE, pagesTouched(0, sizeBytes))) return;
    this.#ram.freePages(page);
  }

  syncForCpu(): void {
    // The back-end works on the pages themselves.
  }

  syncForDevice(): void {
    // Likewise.
  }

  checkMask(device: Device, mask: bigint): void {
    if (mask !== MASK_64)
      throw new IommuError('EIO', `${device.name} needs all 64 bits of an address for its grants.`);
  }

  mappingBytesMax(): number {
    return Infinity;
  }

  /** Grants pages. Returns the first of their references, or -1. */
  #grant(page: number, count: number, readOnly: boolean): number {
    const ref = this.#table.allocate(count);
    if (ref < 0) return -1;
    for (let n = 0; n < count; n += 1)
      this.#table.grantAccess(ref + n, this.backend, page + n, readOnly);
    return ref;
  }

  /** Takes grants back. False if the back-end keeps one: the device is broken then. */
  #revoke(ref: number, count: number): boolean {
    for (let n = 0; n < count; n += 1) {
      if (this.#table.endAccess(ref + n)) continue;
      this.#broken = true;
      const message = `domain ${this.backend} keeps a page of grant ${ref + n}: the device is broken`;
      this.#log.warn('grantBroken', message);
      return false;
    }
    this.#table.free(ref, count);
    return true;
  }
}
