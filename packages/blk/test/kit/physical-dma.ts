/** DMA operations whose addresses are those of guest memory. */

import type { Context } from '@viommu/common';
import type { CoherentMemory, Device, DmaAddress, DmaOps, ScatterEntry } from '@viommu/iommu';
import type { GuestPages } from './guest-pages.ts';

const PAGE = 4096;

export class PhysicalDma implements DmaOps {
  readonly kind = 'physical';
  readonly #guest: GuestPages;

  constructor(guest: GuestPages) {
    this.#guest = guest;
  }

  map(
    _context: Context,
    _device: Device,
    page: number,
    offset: number,
    _sizeBytes: number,
    _direction: number,
    _attributes: number,
    into: DmaAddress,
  ): boolean {
    into.page = page + Math.floor(offset / PAGE);
    into.offset = offset % PAGE;
    return true;
  }

  mapList(
    _context: Context,
    _device: Device,
    list: readonly ScatterEntry[],
    count: number,
  ): number {
    for (const entry of list.slice(0, count)) {
      entry.dmaPage = entry.page + Math.floor(entry.offset / PAGE);
      entry.dmaOffset = entry.offset % PAGE;
      entry.dmaSizeBytes = entry.sizeBytes;
    }
    return count;
  }

  allocateCoherent(
    _context: Context,
    _device: Device,
    sizeBytes: number,
  ): CoherentMemory | undefined {
    const pages = Math.ceil(sizeBytes / PAGE);
    const page = this.#guest.take(pages);
    return page < 0 ? undefined : { page, sizeBytes: pages * PAGE, dmaPage: page };
  }

  freeCoherent(_context: Context, _device: Device, memory: CoherentMemory): void {
    this.#guest.give(memory.page);
  }

  unmap(): void {}
  unmapList(): void {}
  finishMap(): boolean {
    return true;
  }

  finishUnmaps(): void {}
  syncForCpu(): void {}
  syncForDevice(): void {}
  checkMask(): void {}

  mappingBytesMax(): number {
    return Infinity;
  }
}
