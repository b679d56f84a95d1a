/** Pages of memory at addresses of a domain, from the moment a range is taken until it can be taken again. */

import { type Concurrency, type Context, type ErrorCode, IommuError } from '@viommu/common';
import type { Device } from './device.ts';
import type { DmaCookie } from './dma-cookie.ts';
import type { CoreLog } from './log.ts';
import { type PageRuns, mapRange, mapRuns, syncUnmap, unmapFast } from './map.ts';

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

  /** Maps pages at new addresses. Returns the first page, or 0 with nothing changed. */
  map(
    context: Context,
    device: Device,
    limitPage: number,
    physPage: number,
    pages: number,
    protection: number,
  ): number {
    const start = this.#cookie.allocate(context, device, pages, limitPage);
    if (start === 0) return 0;
    try {
      this.#concurrency.at('dma:afterIova');
      mapRange(this.#cookie.domain, start, physPage, pages, protection);
    } catch (error) {
      this.#release(context, start, pages);
      if (!(error instanceof IommuError)) throw error;
      return 0;
    }
    return start;
  }

  /** {@link map} for the pages of a list, with one wait for all of them. */
  mapList(
    context: Context,
    device: Device,
    runs: PageRuns,
    protection: number,
  ): number | ErrorCode {
    const pages = runs.pageCount;
    const start = this.#cookie.allocate(context, device, pages, device.dmaLastPage);
    if (start === 0) return 'ENOMEM';
    try {
      this.#concurrency.at('dma:afterIova');
      mapRuns(this.#cookie.domain, start, runs, protection);
    } catch (error) {
      this.#release(context, start, pages);
      if (!(error instanceof IommuError)) throw error;
      return error.code === 'ENOMEM' ? 'ENOMEM' : 'EINVAL';
    }
    return start;
  }

  /**
   * Unmaps pages and gives their addresses back. False if the device may go on reaching them for ever: then neither the
   * addresses nor what they lead to may be used again.
   *
   * Waiting needs no lock that unmapping did not, so that a context is parked before anything has changed.
   */
  unmap(context: Context, device: Device, start: number, pages: number): boolean {
    // Read once: what begins strictly ends strictly, also if the domain becomes lazy meanwhile.
    const queue = device.untrusted ? undefined : this.#cookie.flushQueue;
    const unmapped = unmapFast(this.#cookie.domain, start, pages);
    const log = this.#log;
    if (unmapped !== pages)
      log.warn('unmapShort', `${unmapped} of ${pages} pages were unmapped at page ${start}`);
    this.#concurrency.at('dma:beforeSync');
    if (queue !== undefined && unmapped === pages) {
      this.#cookie.park(queue, context, start, pages);
      return true;
    }
    try {
      if (unmapped > 0) syncUnmap(this.#cookie.domain);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      log.warn('flushFailed', `the IOMMU did not finish an unmap: ${error.message}`);
      log.count('iovaLeaked');
      return false;
    }
    if (unmapped === pages) return this.#release(context, start, pages);
    log.count('iovaLeaked');
    return false;
  }

  /** Gives addresses back at once, unless their unmap failed; false then. */
  #release(context: Context, start: number, pages: number): boolean {
    if (this.#cookie.domain.ops.isStuck(start, pages)) {
      this.#log.count('iovaLeaked');
      return false;
    }
    this.#cookie.free(context, start, pages);
    return true;
  }
}
