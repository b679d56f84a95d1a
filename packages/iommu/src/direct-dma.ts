/**
 * DMA without translation: the device's addresses are physical. Buffers that it must not reach, or cannot, bounce.
 */

import { type Context, type ErrorCode, IommuError, PAGE_SIZE } from '@viommu/common';
import type { BouncePool } from './bounce-pool.ts';
import { CoherentPages } from './coherent-pages.ts';
import { type Device, lastPageOfMask } from './device.ts';
import { mapEach, pagesTouched, unmapEach } from './dma-list.ts';
import {
  type CoherentMemory,
  Direction,
  DmaAddress,
  DmaAttribute,
  type DmaOps,
  type ScatterEntry,
} from './dma-ops.ts';
import type { GuestRam } from './guest-ram.ts';

/** What the operations are made of. */
export interface DirectDmaOptions {
  readonly ram: GuestRam;
  readonly coherent: CoherentPages;
  /** Where buffers bounce, if they can. */
  readonly pool?: BouncePool;
  /** All of them do: the guest is protected, or was told so. */
  readonly bounceForced: boolean;
}

/** The operations of all devices without an IOMMU, or behind one that leaves their addresses alone. */
export class DirectDma implements DmaOps {
  readonly kind = 'direct';
  readonly #ram: GuestRam;
  readonly #coherent: CoherentPages;
  readonly #pool: BouncePool | undefined;
  readonly #bounceForced: boolean;
  readonly #address: DmaAddress = new DmaAddress();

  constructor({ ram, coherent, pool, bounceForced }: DirectDmaOptions) {
    this.#ram = ram;
    this.#coherent = coherent;
    this.#pool = pool;
    this.#bounceForced = bounceForced;
  }

  map(
    context: Context,
    device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
    into: DmaAddress,
  ): boolean {
    if (!(sizeBytes > 0) || direction === Direction.NONE || device.dmaLastPage < 0) return false;
    const first = page + (offset >>> 12);
    const within = offset & 0xfff;
    const lastPage = Math.min(device.dmaLastPage, device.busLastPage);
    if (!this.#bounceForced && first + pagesTouched(within, sizeBytes) - 1 <= lastPage) {
      into.page = first;
      into.offset = within;
      return true;
    }
    const pool = this.#pool;
    if (pool === undefined || (attributes & DmaAttribute.MMIO) !== 0) return false;
    const position = pool.map(context, device, first, within, sizeBytes, 0);
    if (position < 0) return false;
    const poolPage = pool.pageOf(position);
    const poolOffset = position & 0xfff;
    if (poolPage + pagesTouched(poolOffset, sizeBytes) - 1 > lastPage) {
      pool.unmap(poolPage, poolOffset, sizeBytes, direction, true, false);
      return false;
    }
    into.page = poolPage;
    into.offset = poolOffset;
    return true;
  }

  unmap(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
  ): void {
    const pool = this.#pool;
    const page = dmaPage + (dmaOffset >>> 12);
    if (pool === undefined || !pool.contains(page)) return;
    const skipCopy = (attributes & DmaAttribute.SKIP_CPU_SYNC) !== 0;
    pool.unmap(page, dmaOffset & 0xfff, sizeBytes, direction, skipCopy, false);
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
    device: Device,
    sizeBytes: number,
  ): CoherentMemory | undefined {
    const count = CoherentPages.countOf(sizeBytes);
    const page = this.#coherent.take(count);
    if (page < 0) return undefined;
    if (page + count - 1 <= Math.min(device.coherentLastPage, device.busLastPage))
      return { page, sizeBytes: count * PAGE_SIZE, dmaPage: page };
    this.#coherent.giveBack(page, count);
    return undefined;
  }

  freeCoherent(_context: Context, _device: Device, { page, sizeBytes }: CoherentMemory): void {
    this.#coherent.giveBack(page, CoherentPages.countOf(sizeBytes));
  }

  syncForCpu(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
  ): void {
    const pool = this.#pool;
    const page = dmaPage + (dmaOffset >>> 12);
    if (pool === undefined || !pool.contains(page)) return;
    pool.syncForCpu(page, dmaOffset & 0xfff, sizeBytes, direction);
  }

  syncForDevice(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
  ): void {
    const pool = this.#pool;
    const page = dmaPage + (dmaOffset >>> 12);
    if (pool === undefined || !pool.contains(page)) return;
    pool.syncForDevice(page, dmaOffset & 0xfff, sizeBytes, direction);
  }

  /** A device that cannot reach all of memory needs a pool that it can reach. */
  checkMask(_device: Device, mask: bigint): void {
    const lastPage = lastPageOfMask(mask);
    const pool = this.#pool;
    const needed = pool === undefined ? this.#ram.lastPage : pool.lastPage;
    if (lastPage < needed)
      throw new IommuError('EIO', `A mask of 0x${mask.toString(16)} does not reach the memory.`);
  }

  mappingBytesMax(device: Device): number {
    const pool = this.#pool;
    if (pool === undefined) return Infinity;
    const lastPage = Math.min(device.dmaLastPage, device.busLastPage);
    const mayBounce = this.#bounceForced || lastPage < this.#ram.lastPage;
    return mayBounce ? pool.bytesMax(device) : Infinity;
  }
}
