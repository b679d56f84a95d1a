/** The DMA layer of one guest, as the core uses it: domains get their addresses here, and devices their operations. */

import { type Concurrency, type Context, IommuError, type TimerClock } from '@viommu/common';
import type { BootOptions } from './boot-option.ts';
import type { BouncePool } from './bounce-pool.ts';
import { CoherentPages, type PageSharing } from './coherent-pages.ts';
import type { DmaLayer } from './core.ts';
import type { Device } from './device.ts';
import { DirectDma, type DirectDmaOptions } from './direct-dma.ts';
import { endDmaDomain, initDmaDomain } from './dma-cookie.ts';
import type { Domain } from './domain.ts';
import type { GuestRam } from './guest-ram.ts';
import { IommuDma, type IommuDmaOptions } from './iommu-dma.ts';
import type { CoreLog } from './log.ts';
import { prepareMsi } from './msi.ts';
import { PhysicalDma } from './physical-dma.ts';
import type { Firmware } from './probe.ts';
import { reservedRegions } from './reserved-region.ts';

/** What a DMA layer is made of. */
export interface DmaSetupOptions {
  readonly concurrency: Concurrency;
  readonly clock: TimerClock;
  readonly log: CoreLog;
  /** Processors, 1 or more. */
  readonly cpus: number;
  readonly boot: BootOptions;
  readonly ram: GuestRam;
  /** It may reserve addresses for devices, as their IOMMU may. */
  readonly firmware?: Firmware;
  /** Where buffers bounce. */
  readonly pool?: BouncePool;
  /** Present in a protected guest: buffers always bounce, and coherent memory is shared through this. */
  readonly sharing?: PageSharing;
}

/** The DMA layer of one guest. */
export class DmaSetup implements DmaLayer {
  /** Addresses as they are. */
  readonly physical: PhysicalDma;
  /** Addresses as they are, checked, and bounced where needed. */
  readonly direct: DirectDma;
  readonly #options: DmaSetupOptions;
  readonly #coherent: CoherentPages;
  readonly #pool: BouncePool | undefined;
  readonly #bounceForced: boolean;

  constructor(options: DmaSetupOptions) {
    const { ram, log, sharing, boot } = options;
    this.#options = options;
    this.#coherent = new CoherentPages(ram, log, sharing);
    // A protected guest cannot do without, whatever the command line says.
    const { force } = boot.bounce;
    const noPool = force === 'noforce' && sharing === undefined;
    this.#pool = noPool ? undefined : options.pool;
    this.#bounceForced = sharing !== undefined || force === 'force';
    this.physical = new PhysicalDma(this.#coherent);
    this.direct = new DirectDma(this.#dmaOptions());
  }

  initDomain(domain: Domain, device: Device): void {
    const regions = reservedRegions(device, this.#options.firmware);
    initDmaDomain(this.#options, domain, device, regions);
  }

  /**
   * Decides how the device's memory reaches it. If its domain cannot serve it, its operations stay what they were.
   *
   * Operations that somebody installed on a device without translation stay as well.
   */
  setupOps(device: Device, domain: Domain | undefined): void {
    if (domain === undefined || !domain.dmaApi) {
      if (device.dmaOps?.kind !== 'grant') device.dmaOps = this.direct;
      return;
    }
    try {
      if (domain.cookie?.devices.has(device) !== true) this.initDomain(domain, device);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#options.log.warn('dmaSetupFailed', `${device.name}: ${error.message}`);
      return;
    }
    const { cookie } = domain;
    if (cookie !== undefined)
      device.dmaOps = cookie.ops ??= new IommuDma(cookie, this.#dmaOptions());
  }

  buildQueue(domain: Domain): void {
    domain.cookie?.buildQueue();
  }

  publishQueue(domain: Domain): void {
    domain.cookie?.publishQueue();
  }

  endDomain(domain: Domain): void {
    endDmaDomain(domain);
  }

  /** What the device writes to in order to reach a doorbell. @throws {IommuError} as {@link prepareMsi} */
  prepareMsi(
    context: Context,
    device: Device,
    domain: Domain | undefined,
    doorbell: bigint,
  ): bigint {
    return prepareMsi(this.#options.concurrency, context, domain, device, doorbell);
  }

  #dmaOptions(): DirectDmaOptions & IommuDmaOptions {
    const { concurrency, log, ram } = this.#options;
    return {
      concurrency,
      log,
      ram,
      coherent: this.#coherent,
      bounceForced: this.#bounceForced,
      ...(this.#pool !== undefined && { pool: this.#pool }),
    };
  }
}
