/**
 * DMA of devices that take every address for a physical one: without ACCESS_PLATFORM, a virtio device bypasses IOMMU
 * and firmware. Nothing is checked, nothing bounces, and the IOMMU is not touched.
 */

import { type Context, type ErrorCode, PAGE_SIZE } from '@viommu/common';
import { CoherentPages } from './coherent-pages.ts';
import type { Device } from './device.ts';
import {
  type CoherentMemory,
  Direction,
  DmaAddress,
  type DmaOps,
  type ScatterEntry,
} from './dma-ops.ts';
import { mapEach, unmapEach } from './dma-list.ts';

/** The operations of all such devices. */
export class PhysicalDma implements DmaOps {
  readonly kind = 'physical';
  readonly #coherent: CoherentPages;
  readonly #address: DmaAddress = new DmaAddress();

  constructor(coherent: CoherentPages) {
    this.#coherent = coherent;
  }

  map(
    _context: Context,
    _device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    _attributes: number,
    into: DmaAddress,
  ): boolean {
    if (!(sizeBytes > 0) || direction === Direction.NONE) return false;
    into.page = page + (offset >>> 12);
    into.offset = offset & 0xfff;
    return true;
  }

  unmap(): void {
    // Nothing was made.
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
    const count = CoherentPages.countOf(sizeBytes);
    const page = this.#coherent.take(count);
    return page < 0 ? undefined : { page, sizeBytes: count * PAGE_SIZE, dmaPage: page };
  }

  freeCoherent(_context: Context, _device: Device, { page, sizeBytes }: CoherentMemory): void {
    this.#coherent.giveBack(page, CoherentPages.countOf(sizeBytes));
  }

  syncForCpu(): void {
    // The device works on the memory itself.
  }

  syncForDevice(): void {
    // The same.
  }

  checkMask(): void {
    // The device takes all addresses.
  }

  mappingBytesMax(): number {
    return Infinity;
  }
}
