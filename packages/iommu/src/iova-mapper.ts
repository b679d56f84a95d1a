/** Pages of memory at addresses of a domain, from the moment a range is taken until it can be taken again. */

import { type Concurrency, type Context, type ErrorCode, IommuError } from '@viommu/common';
import type { Device } from './device.ts';
import type { DmaCookie } from './dma-cookie.ts';
import type { CoreLog } from './log.ts';
import { type PageRuns, mapNoSync, mapRunsNoSync, syncMap, syncUnmap, unmapFast } from './map.ts';

/** What an unmap has left to do. */
export const Unmapped = {
  /** Nothing: the addresses wait for a flush by themselves. */
  PARKED: 0,
  /** To wait, and to give the addresses back. */
  QUEUED: 1,
  /** The same, but some of the pages stayed mapped. */
  SHORT: 2,
} as const;

export type Unmapped = (typeof Unmapped)[keyof typeof Unmapped];

/** Maps into one domain and unmaps. */
export class IovaMapper {
  readonly #cookie: DmaCookie;
  readonly #concurrency: Concurrency;
  readonly #log: CoreLog;

  constructor(cookie: DmaCookie, concurrency: Concurrency, log: CoreLog) {
    this.#cookie = cookie;
    this.#concurrency = concurrency;
    this.#log = log;
  }

  /**
   * Maps pages at new addresses. Returns the first page, or 0 with nothing changed. If `later`, without waiting:
   * {@link finishMap} has to follow.
   */
  map(
    context: Context,
    device: Device,
    limitPage: number,
    physPage: number,
    pages: number,
    protection: number,
    later: boolean,
  ): number {
    const { domain } = this.#cookie;
    const start = this.#cookie.allocate(context, device, pages, limitPage);
    if (start === 0) return 0;
    try {
      this.#concurrency.at('dma:afterIova');
      mapNoSync(domain, start, physPage, pages, protection);
      if (!later) syncMap(domain, start, pages);
    } catch (error) {
      this.release(context, start, pages, true);
      if (!(error instanceof IommuError)) throw error;
      return 0;
    }
    return start;
  }

  /** {@link map} for the pages of a list, with at most one wait for all of them. */
  mapList(
    context: Context,
    device: Device,
    runs: PageRuns,
    protection: number,
    later: boolean,
  ): number | ErrorCode {
    const { domain } = this.#cookie;
    const pages = runs.pageCount;
    const start = this.#cookie.allocate(context, device, pages, device.dmaLastPage);
    if (start === 0) return 'ENOMEM';
    try {
      this.#concurrency.at('dma:afterIova');
      mapRunsNoSync(domain, start, runs, protection);
      if (!later) syncMap(domain, start, pages);
    } catch (error) {
      this.release(context, start, pages, true);
      if (!(error instanceof IommuError)) throw error;
      return error.code === 'ENOMEM' ? 'ENOMEM' : 'EINVAL';
    }
    return start;
  }

  /**
   * Waits for what was mapped so far. False if some of these pages were refused; they stay in the guest's books.
   *
   * This takes no lock but the first that mapping took, and changes nothing before it.
   */
  finishMap(start: number, pages: number): boolean {
    try {
      this.#cookie.domain.ops.syncMap(start, pages);
      return true;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      return false;
    }
  }

  /** {@link unmapLater}, {@link wait} and {@link release}. Returns what the last one does. */
  unmap(context: Context, device: Device, start: number, pages: number): boolean {
    const left = this.unmapLater(context, device, start, pages);
    if (left === Unmapped.PARKED) return true;
    const waited = this.wait();
    return this.release(context, start, pages, waited && left === Unmapped.QUEUED);
  }

  /**
   * Unmaps pages without waiting. Unless they are parked, {@link wait} has to follow, and then {@link release}.
   *
   * Waiting needs no lock that unmapping did not, so that a context is parked before anything has changed.
   */
  unmapLater(context: Context, device: Device, start: number, pages: number): Unmapped {
    // Read once: what begins strictly ends strictly, also if the domain becomes lazy meanwhile.
    const queue = device.untrusted ? undefined : this.#cookie.flushQueue;
    const unmapped = unmapFast(this.#cookie.domain, start, pages);
    if (unmapped !== pages)
      this.#log.warn('unmapShort', `${unmapped} of ${pages} pages were unmapped at page ${start}`);
    this.#concurrency.at('dma:beforeSync');
    if (unmapped !== pages) return Unmapped.SHORT;
    if (queue === undefined) return Unmapped.QUEUED;
    this.#cookie.park(queue, context, start, pages);
    return Unmapped.PARKED;
  }

  /** Waits until no device reaches what was unmapped so far. False if that is not known. */
  wait(): boolean {
    try {
      syncUnmap(this.#cookie.domain);
      return true;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#log.warn('flushFailed', `the IOMMU did not finish an unmap: ${error.message}`);
      return false;
    }
  }

  /**
   * Gives addresses back, if they are `gone` from the device. False if it may go on reaching them for ever: then neither
   * they nor what they lead to may be used again.
   */
  release(context: Context, start: number, pages: number, gone: boolean): boolean {
    if (!gone || this.#cookie.domain.ops.isStuck(start, pages)) {
      this.#log.count('iovaLeaked');
      return false;
    }
    this.#cookie.free(context, start, pages);
    return true;
  }
}
