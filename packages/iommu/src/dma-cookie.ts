/** What the DMA layer keeps about a domain: its addresses, its flush queue if it is lazy, its doorbells. */

import {
  Concurrency,
  type Context,
  type DeviceRegion,
  IommuError,
  PAGE_MAX,
  type Range,
  RegionKind,
  type TimerClock,
  overlaps,
  pageOf,
} from '@viommu/common';
import type { BootOptions } from './boot-option.ts';
import type { Device } from './device.ts';
import type { DmaOps } from './dma-ops.ts';
import type { Domain } from './domain.ts';
import { FlushQueue } from './flush-queue.ts';
import { IovaSpace } from './iova-space.ts';
import type { CoreLog } from './log.ts';

/** Where the cookies of one guest live. */
export interface DmaEnvironment {
  readonly concurrency: Concurrency;
  readonly clock: TimerClock;
  readonly log: CoreLog;
  /** Processors, 1 or more. */
  readonly cpus: number;
  readonly boot: BootOptions;
}

const LAST_PAGE_BELOW_4G = 0xf_ffff;

/** One domain of type `DMA` or `DMA-FQ`. */
export class DmaCookie {
  readonly domain: Domain;
  readonly space: IovaSpace;
  /** The last page of the aperture. */
  readonly lastPage: number;
  /** Where unmapped addresses wait; `undefined` while the domain is strict. Set last, when all else is ready. */
  flushQueue: FlushQueue | undefined = undefined;
  /** Windows of the hardware's own doorbells, in pages, which devices reach untranslated. */
  readonly doorbellWindows: { readonly first: number; readonly last: number }[] = [];
  /** Doorbells that were mapped, for good: by their page, the page that devices write to. */
  readonly doorbells: Map<number, number> = new Map();
  /** The operations of all devices of the domain. */
  ops: DmaOps | undefined = undefined;
  /** Devices that have joined. */
  readonly devices: WeakSet<Device> = new WeakSet();
  readonly #environment: DmaEnvironment;
  #built: FlushQueue | undefined = undefined;

  constructor(environment: DmaEnvironment, domain: Domain, aperture: Range) {
    const { concurrency, clock, cpus } = environment;
    this.#environment = environment;
    this.domain = domain;
    this.lastPage = pageOf(aperture.last + 1n) - 1;
    this.space = new IovaSpace({ concurrency, clock, cpus, firstPage: firstPageOf(aperture) });
  }

  /**
   * Takes addresses that the device can use, not above `limitPage`. Returns the first page, or 0 if there are none.
   *
   * PCI devices get addresses below 4 GiB as long as there are any: some of them only say that they can do without.
   */
  allocate(context: Context, device: Device, pages: number, limitPage: number): number {
    const limit = Math.min(limitPage, device.busLastPage, this.lastPage);
    if (device.prefer32Bit && limit > LAST_PAGE_BELOW_4G) {
      const page = this.space.allocate(pages, LAST_PAGE_BELOW_4G, false, context);
      if (page !== 0) return page;
      if (device.prefer32Bit) {
        device.prefer32Bit = false;
        this.#environment.log.warn('highAddresses', `${device.name} gets addresses above 4 GiB`);
      }
    }
    return this.space.allocate(pages, limit, true, context);
  }

  /** Takes addresses back that no device reaches any more. */
  free(context: Context, page: number, pages: number): void {
    try {
      this.space.free(page, pages, context);
    } catch (error) {
      if (!Concurrency.unwinds(error)) throw error;
      this.#freeLater(context, page, pages);
    }
  }

  /** Takes addresses back that were unmapped without waiting, once a flush has passed. */
  park(queue: FlushQueue, context: Context, page: number, pages: number): void {
    try {
      queue.queue(page, pages, context);
    } catch (error) {
      if (!Concurrency.unwinds(error)) throw error;
      this.#parkLater(queue, context, page, pages);
    }
  }

  /** A device joins: keeps addresses that mean something else to it from being given out. @throws `EBUSY` */
  join(device: Device, regions: readonly DeviceRegion[]): void {
    const windows = device.pci?.hostWindows ?? [];
    const taken = regions.filter(({ kind }) => kind !== RegionKind.SW_MSI);
    if (this.domain.cookie === this) this.#checkUnused(device, [...taken, ...windows]);
    for (const { start, last } of [...taken, ...windows])
      this.space.reserve(pageOf(start), pageOf(last));
    for (const { kind, start, last } of taken)
      if (kind === RegionKind.MSI && !this.isDoorbell(pageOf(start)))
        this.doorbellWindows.push({ first: pageOf(start), last: pageOf(last) });
    if (this.#environment.boot.forceDac) device.prefer32Bit = false;
    this.devices.add(device);
  }

  /** True if devices reach the page untranslated, as a doorbell of the hardware. */
  isDoorbell(page: number): boolean {
    return this.doorbellWindows.some(({ first, last }) => page >= first && page <= last);
  }

  /** Builds the flush queue without using it. @throws {IommuError} `EINVAL`, `ENOMEM` */
  buildQueue(): void {
    const { space, domain } = this;
    const { concurrency, clock, log, cpus, boot } = this.#environment;
    const { shadowOnFlush } = domain.instance.capabilities;
    this.#built ??= new FlushQueue({
      space,
      flush: () => domain.ops.flushAll(),
      isStuck: (page, pages) => domain.ops.isStuck(page, pages),
      clock,
      concurrency,
      cpus,
      mode: boot.flushQueue ?? (shadowOnFlush ? 'single' : 'percpu'),
      ...(boot.flushQueueSize !== undefined && { size: boot.flushQueueSize }),
      ...(boot.flushQueueTimeoutMs !== undefined && { timeoutMs: boot.flushQueueTimeoutMs }),
      log,
    });
  }

  /** From now on unmaps go through the queue; those that have begun end as they began. */
  publishQueue(): void {
    this.flushQueue = this.#built;
  }

  /** Flushes what waits. False if the flush failed. */
  drain(): boolean {
    return this.flushQueue?.drain() ?? true;
  }

  /** The domain ends, with all its addresses. */
  stop(): void {
    this.flushQueue?.stop();
    this.space.stop();
  }

  /** Fails if some of the ranges are in use, and not just kept for use. */
  #checkUnused(device: Device, ranges: readonly Range[]): void {
    if (ranges.length === 0) return;
    this.drain();
    this.space.flushCaches();
    for (const { start, last } of ranges)
      if (this.space.usedWithin(pageOf(start), pageOf(last)))
        throw new IommuError('EBUSY', `${device.name} has a region whose addresses are in use.`);
  }

  // The last step of something that cannot be undone. If it has to wait, it does so as a context of its own, since
  // starting the whole again would find nothing left to do.

  #freeLater(context: Context, page: number, pages: number): void {
    this.#environment.concurrency.run(() => this.space.free(page, pages, context));
  }

  #parkLater(queue: FlushQueue, context: Context, page: number, pages: number): void {
    this.#environment.concurrency.run(() => queue.queue(page, pages, context));
  }
}

/**
 * Makes a domain ready to hand out addresses to one more device. A `DMA-FQ` domain whose IOMMU cannot defer flushes, or
 * whose queue cannot be built, becomes a `DMA` one.
 *
 * @throws {IommuError} `ENODEV` while the domain is unfinalised; `EFAULT` if the device cannot use its addresses or they
 * changed; `EBUSY` if a region that the device brings is in use. The device has not joined then.
 */
export function initDmaDomain(
  environment: DmaEnvironment,
  domain: Domain,
  device: Device,
  regions: readonly DeviceRegion[],
): void {
  const { aperture } = domain.ops;
  if (aperture === undefined || domain.blocks().length === 0)
    throw new IommuError('ENODEV', 'The domain waits for its first device.');
  if (domain.blocks()[0] !== 1)
    throw new IommuError('EFAULT', 'The smallest block of the domain is larger than a page.');
  if (device.dmaWindow !== undefined && !overlaps(device.dmaWindow, aperture))
    throw new IommuError('EFAULT', `${device.name} reaches none of the domain's addresses.`);
  const { cookie } = domain;
  if (cookie !== undefined) {
    if (cookie.space.firstPage !== firstPageOf(aperture))
      throw new IommuError('EFAULT', 'The addresses of the domain have changed.');
    cookie.join(device, regions);
    return;
  }
  const made = new DmaCookie(environment, domain, aperture);
  made.join(device, regions);
  if (domain.type === 'DMA-FQ' && !makeLazy(made)) domain.type = 'DMA';
  domain.cookie = made;
}

/** The domain ends: nothing waits for a flush any more, and its addresses are gone. */
export function endDmaDomain(domain: Domain): void {
  domain.cookie?.stop();
  domain.cookie = undefined;
}

/** False if the domain has to stay strict. */
function makeLazy(cookie: DmaCookie): boolean {
  if (!cookie.domain.instance.capabilities.deferredFlush) return false;
  try {
    cookie.buildQueue();
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    return false;
  }
  cookie.publishQueue();
  return true;
}

/** Page 0 is never used, so that address 0 is no address. */
function firstPageOf({ start }: Range): number {
  return Math.min(Math.max(1, pageOf(start + 0xfffn)), PAGE_MAX);
}
