/**
 * DMA through an IOMMU domain: each buffer gets addresses of the domain for as long as it is mapped.
 *
 * A buffer of an untrusted device that shares its pages with other data bounces, since a mapping exposes whole pages.
 */

import {
  type Concurrency,
  type Context,
  type ErrorCode,
  IommuError,
  PAGE_SIZE,
  Protection,
} from '@viommu/common';
import type { BouncePool } from './bounce-pool.ts';
import { CoherentPages } from './coherent-pages.ts';
import { type Device, lastPageOfMask } from './device.ts';
import type { DmaCookie } from './dma-cookie.ts';
import { clearSegments, mapEach, pagesTouched, unmapEach } from './dma-list.ts';
import {
  type CoherentMemory,
  Direction,
  DmaAddress,
  DmaAttribute,
  type DmaOps,
  type ScatterEntry,
} from './dma-ops.ts';
import type { Domain } from './domain.ts';
import type { GuestRam } from './guest-ram.ts';
import { layOut, pagesOfSegments, writeSegments } from './iommu-dma-list.ts';
import { IovaMapper, Unmapped } from './iova-mapper.ts';
import { LateUnmaps, NOT_BOUNCED } from './late-unmap.ts';
import type { CoreLog } from './log.ts';
import { PageRuns } from './map.ts';

/** What the operations are made of. */
export interface IommuDmaOptions {
  readonly concurrency: Concurrency;
  readonly log: CoreLog;
  readonly ram: GuestRam;
  readonly coherent: CoherentPages;
  /** Where buffers bounce, if they can. */
  readonly pool?: BouncePool;
  /** All of them do, also whole pages of trusted devices: the guest is protected. */
  readonly bounceForced: boolean;
}

/** The operations of all devices of one domain. */
export class IommuDma implements DmaOps {
  readonly kind = 'iommu';
  readonly #options: IommuDmaOptions;
  readonly #mapper: IovaMapper;
  readonly #pool: BouncePool | undefined;
  readonly #bounceForced: boolean;
  readonly #domain: Domain;
  readonly #cookie: DmaCookie;
  readonly #address: DmaAddress = new DmaAddress();
  /** One for each context that maps a list just now; they come back. */
  readonly #runs: PageRuns[] = [];
  /** Of all devices: one wait is for all of them. */
  readonly #late: LateUnmaps = new LateUnmaps();

  constructor(cookie: DmaCookie, options: IommuDmaOptions) {
    this.#options = options;
    this.#mapper = new IovaMapper(cookie, options.concurrency, options.log);
    this.#pool = options.pool;
    this.#bounceForced = options.bounceForced;
    this.#domain = cookie.domain;
    this.#cookie = cookie;
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
    if (this.#bounces(device) && (this.#bounceForced || !isWholePages(within, sizeBytes)))
      return this.#mapBounced(
        context,
        device,
        first,
        within,
        sizeBytes,
        direction,
        attributes,
        into,
      );
    const pages = pagesTouched(within, sizeBytes);
    const protection = protectionOf(direction, attributes);
    const limit = device.dmaLastPage;
    const later = isLater(attributes);
    const start = this.#mapper.map(context, device, limit, first, pages, protection, later);
    if (start === 0) return false;
    into.page = start;
    into.offset = within;
    return true;
  }

  unmap(
    context: Context,
    device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
  ): void {
    const start = dmaPage + (dmaOffset >>> 12);
    const within = dmaOffset & 0xfff;
    const physPage = this.#domain.ops.translate(start);
    if (physPage < 0) {
      this.#options.log.warn('unmapUnknown', `${device.name} has nothing at page ${start}`);
      return;
    }
    const bounced = this.#pool?.contains(physPage) === true;
    const poolPage = bounced ? physPage : NOT_BOUNCED;
    const pages = pagesTouched(within, sizeBytes);
    this.#unmap(context, device, start, pages, poolPage, within, sizeBytes, direction, attributes);
  }

  mapList(
    context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): number | ErrorCode {
    if (this.#bounces(device))
      return mapEach(this, this.#address, context, device, list, count, direction, attributes);
    if (!(count > 0 && count <= list.length) || direction === Direction.NONE) return 'EINVAL';
    if (device.dmaLastPage < 0) return 'EINVAL';
    const runs = this.#runs.pop() ?? new PageRuns();
    runs.clear();
    let result: number | ErrorCode = 'EINVAL';
    try {
      if (layOut(list, count, device, runs))
        result = this.#mapper.mapList(
          context,
          device,
          runs,
          protectionOf(direction, attributes),
          isLater(attributes),
        );
      if (typeof result === 'number') return writeSegments(list, count, device, result);
      clearSegments(list, count);
      return result;
    } finally {
      this.#runs.push(runs);
    }
  }

  unmapList(
    context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): void {
    if (this.#bounces(device)) {
      unmapEach(this, context, device, list, count, direction, attributes);
      return;
    }
    const start = list[0]?.dmaPage ?? 0;
    if (!(count > 0 && count <= list.length) || list[0]?.dmaSizeBytes === 0) {
      this.#options.log.warn('unmapUnknown', `${device.name} has not mapped this list`);
      return;
    }
    const pages = pagesOfSegments(list, count);
    this.#unmap(context, device, start, pages, NOT_BOUNCED, 0, 0, direction, attributes);
    clearSegments(list, count);
  }

  finishMap(_device: Device, dmaPage: number, dmaOffset: number, sizeBytes: number): boolean {
    const pages = pagesTouched(dmaOffset & 0xfff, sizeBytes);
    return this.#mapper.finishMap(dmaPage + (dmaOffset >>> 12), pages);
  }

  finishUnmaps(context: Context): void {
    const late = this.#late;
    // What comes while this waits, from other contexts, is not what it waited for.
    const { end } = late;
    if (!late.isBefore(end)) return;
    const waited = this.#mapper.wait();
    while (late.isBefore(end)) this.#endOldest(context, waited);
  }

  allocateCoherent(
    context: Context,
    device: Device,
    sizeBytes: number,
  ): CoherentMemory | undefined {
    const { coherent } = this.#options;
    const count = CoherentPages.countOf(sizeBytes);
    if (device.coherentLastPage < 0) return undefined;
    const page = coherent.take(count);
    if (page < 0) return undefined;
    let dmaPage = 0;
    try {
      const limit = device.coherentLastPage;
      const protection = protectionOf(Direction.BIDIRECTIONAL, 0);
      dmaPage = this.#mapper.map(context, device, limit, page, count, protection, false);
    } finally {
      if (dmaPage === 0) coherent.giveBack(page, count);
    }
    return dmaPage === 0 ? undefined : { page, sizeBytes: count * PAGE_SIZE, dmaPage };
  }

  freeCoherent(
    context: Context,
    device: Device,
    { page, sizeBytes, dmaPage }: CoherentMemory,
  ): void {
    const { coherent } = this.#options;
    const count = CoherentPages.countOf(sizeBytes);
    if (this.#mapper.unmap(context, device, dmaPage, count)) coherent.giveBack(page, count);
    else coherent.leak(page, count);
  }

  syncForCpu(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
  ): void {
    const page = this.#bouncedPage(dmaPage + (dmaOffset >>> 12));
    if (page >= 0) this.#pool?.syncForCpu(page, dmaOffset & 0xfff, sizeBytes, direction);
  }

  syncForDevice(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    direction: Direction,
  ): void {
    const page = this.#bouncedPage(dmaPage + (dmaOffset >>> 12));
    if (page >= 0) this.#pool?.syncForDevice(page, dmaOffset & 0xfff, sizeBytes, direction);
  }

  /** Addresses can be anywhere, so that a mask only has to leave room for some. */
  checkMask(_device: Device, mask: bigint): void {
    if (lastPageOfMask(mask) < this.#cookie.space.firstPage)
      throw new IommuError('EIO', `A mask of 0x${mask.toString(16)} reaches no address.`);
  }

  mappingBytesMax(device: Device): number {
    if (!this.#bounces(device)) return Infinity;
    return this.#pool?.bytesMax(device) ?? Infinity;
  }

  /** True if buffers of the device may have to bounce. */
  #bounces(device: Device): boolean {
    return device.untrusted || this.#bounceForced;
  }

  /** The page of the pool that an address leads to, or -1. */
  #bouncedPage(dmaPage: number): number {
    const pool = this.#pool;
    if (pool === undefined) return -1;
    const page = this.#domain.ops.translate(dmaPage);
    return pool.contains(page) ? page : -1;
  }

  /** Unmaps pages, and for now or for later notes what that leaves to do. */
  #unmap(
    context: Context,
    device: Device,
    start: number,
    pages: number,
    poolPage: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
  ): void {
    const late = this.#late;
    // First: a context that has to wait in there has changed nothing.
    while (late.full) this.finishUnmaps(context);
    const left = this.#mapper.unmapLater(context, device, start, pages);
    const skipsCopy = (attributes & DmaAttribute.SKIP_CPU_SYNC) !== 0;
    if (left === Unmapped.PARKED) {
      if (poolPage !== NOT_BOUNCED)
        this.#pool?.unmap(poolPage, offset, sizeBytes, direction, skipsCopy, false);
      return;
    }
    const short = left === Unmapped.SHORT;
    late.add(start, pages, short, poolPage, offset, sizeBytes, direction, skipsCopy);
    if (!isLater(attributes)) this.finishUnmaps(context);
  }

  /** Ends the oldest unmap that was waited for, if `waited`; else the device may go on reaching what it had. */
  #endOldest(context: Context, waited: boolean): void {
    const late = this.#late;
    const { oldestStart: start, oldestPages: pages, oldestPoolPage: poolPage } = late;
    const { oldestOffset: offset, oldestSizeBytes: sizeBytes, oldestSkipsCopy: skipsCopy } = late;
    const direction = late.oldestDirection as Direction; // One was put there.
    const gone = waited && !late.oldestShort;
    // Before anything else: other contexts may come by, and each is ended once.
    late.drop();
    const free = this.#mapper.release(context, start, pages, gone);
    // Only now, when the device has lost access, is what it wrote all that it wrote.
    if (poolPage !== NOT_BOUNCED)
      this.#pool?.unmap(poolPage, offset, sizeBytes, direction, skipsCopy, !free);
  }

  /** Maps a copy of the buffer that has its pages to itself, with nothing in the rest of them. */
  #mapBounced(
    context: Context,
    device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
    into: DmaAddress,
  ): boolean {
    const pool = this.#pool;
    if (pool === undefined || (attributes & DmaAttribute.MMIO) !== 0) return false;
    const position = pool.map(context, device, page, offset, sizeBytes, PAGE_SIZE - 1);
    if (position < 0) return false;
    const poolPage = pool.pageOf(position);
    const within = position & 0xfff;
    const pages = pagesTouched(within, sizeBytes);
    const { ram } = this.#options;
    const end = within + sizeBytes;
    if (within > 0) ram.clear(poolPage, 0, within);
    if (end < pages * PAGE_SIZE)
      ram.clear(poolPage + (end >>> 12), end & 0xfff, pages * PAGE_SIZE - end);
    let start = 0;
    try {
      const protection = protectionOf(direction, attributes);
      const limit = device.dmaLastPage;
      const later = isLater(attributes);
      start = this.#mapper.map(context, device, limit, poolPage, pages, protection, later);
    } finally {
      if (start === 0) pool.unmap(poolPage, within, sizeBytes, direction, true, false);
    }
    if (start === 0) return false;
    into.page = start;
    into.offset = within;
    return true;
  }
}

/** All memory is coherent with the processors' caches; registers have no part in that. */
function protectionOf(direction: Direction, attributes: number): number {
  const more = (attributes & DmaAttribute.MMIO) !== 0 ? Protection.MMIO : Protection.CACHE;
  return direction | more;
}

function isLater(attributes: number): boolean {
  return (attributes & DmaAttribute.LATER) !== 0;
}

function isWholePages(offset: number, sizeBytes: number): boolean {
  return offset === 0 && sizeBytes % PAGE_SIZE === 0;
}
