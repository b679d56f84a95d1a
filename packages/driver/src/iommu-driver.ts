/** One driver instance: section "Device Initialization", and what follows until the device is given up. */

import {
  Concurrency,
  DeviceStatus,
  type Grouping,
  IOMMU_DEVICE_ID,
  type IommuCapabilities,
  IommuConfig,
  type IommuEndpoint,
  IommuError,
  IommuFeature,
  type IommuInstance,
  InterruptBit,
  type Range,
  VirtioFeature,
  alignInward,
  hasFeature,
  isUint32,
  pageOf,
} from '@viommu/common';
import type { DriverTransport } from '@viommu/transport';
import { lockDomains, reattach } from './attach.ts';
import { type DeviceConfig, readDeviceConfig, sameConfig } from './device-config.ts';
import { DmaMemory } from './dma-memory.ts';
import { DomainIds } from './domain-id.ts';
import { allocIdentity, allocPaging } from './domain-kind.ts';
import { Domain } from './domain.ts';
import { DriverLog } from './driver-log.ts';
import { DRIVER_FEATURES, type IommuDriverOptions, REQUIRED_FEATURES } from './driver-option.ts';
import { Endpoint, probeDevice, releaseDevice } from './endpoint.ts';
import type { Instance } from './instance.ts';
import { QueuePair } from './queue-pair.ts';
import type { RequestQueue } from './request-queue.ts';

const CAPABILITIES: IommuCapabilities = {
  deferredFlush: true,
  shadowOnFlush: false,
  cacheCoherency: true,
};

/** Drives one virtio-iommu. */
export class IommuDriver implements Instance, IommuInstance {
  readonly name: string;
  readonly capabilities: IommuCapabilities = CAPABILITIES;
  readonly grouping: Grouping = 'each';
  readonly concurrency: Concurrency;
  readonly requests: RequestQueue;
  /** The negotiated bits. */
  readonly features: bigint;
  readonly aperture: Range;
  readonly firstPage: number;
  readonly lastPage: number;
  readonly pageSizeBitmap: bigint;
  readonly mapFlags: number;
  readonly probeSize: number;
  readonly domainIds: DomainIds;
  readonly domains: Set<Domain> = new Set();
  readonly identityDomain: Domain | undefined;
  readonly endpoints: Map<number, Endpoint> = new Map();
  readonly log: DriverLog;
  readonly #transport: DriverTransport;
  readonly #dma: DmaMemory;
  readonly #options: IommuDriverOptions;
  readonly #config: DeviceConfig;
  readonly #queues: QueuePair;
  #frozen = false;
  #removed = false;

  /**
   * Takes over a device: negotiates, sets the queues up and lets it go.
   *
   * @throws {IommuError} `ENODEV` if it is no IOMMU or lacks what the driver needs, `EINVAL` if its configuration makes
   * no sense, `ENOSYS` if `bypass` is asked for and cannot be set; the device is reset and marked as failed then.
   */
  static probe(options: IommuDriverOptions): IommuDriver {
    const { transport } = options;
    if (transport.deviceId !== IOMMU_DEVICE_ID)
      throw new IommuError('ENODEV', `Device type ${transport.deviceId} is no IOMMU.`);
    const dma = new DmaMemory(options.memory, options.pages);
    try {
      return new IommuDriver(options, dma);
    } catch (error) {
      abandon(transport, dma);
      throw error;
    }
  }

  /** Use {@link IommuDriver.probe}. */
  private constructor(options: IommuDriverOptions, dma: DmaMemory) {
    const { transport, logger, name = 'virtio-iommu', concurrency = new Concurrency() } = options;
    this.name = name;
    this.concurrency = concurrency;
    this.#options = options;
    this.#transport = transport;
    this.#dma = dma;
    this.log = new DriverLog(logger);
    const wanted = DRIVER_FEATURES & (options.features ?? DRIVER_FEATURES);
    this.features = transport.negotiate({ wanted, required: REQUIRED_FEATURES });
    this.#setBypass();

    const config = readDeviceConfig(transport, this.features);
    this.#config = config;
    this.pageSizeBitmap = config.pageSizeBitmap;
    this.aperture = config.aperture;
    this.mapFlags = config.mapFlags;
    this.probeSize = config.probeSize;
    const granule = config.pageSizeBitmap & -config.pageSizeBitmap;
    const whole = alignInward(config.aperture, granule);
    this.firstPage = whole === undefined ? 0 : pageOf(whole.start);
    this.lastPage = whole === undefined ? -1 : pageOf(whole.last);
    this.domainIds = new DomainIds(config.firstDomain, config.lastDomain);
    this.identityDomain = this.has(IommuFeature.BYPASS_CONFIG) ? this.#bypassDomain() : undefined;

    const { features, log, endpoints, probeSize } = this;
    this.#queues = new QueuePair({
      driver: options,
      features,
      dma,
      log,
      endpoints,
      probeSize,
      port: {
        acknowledge: () => this.#acknowledge(),
        lost: (reason) => {
          if (!this.#removed) log.warn('queueBroken', `the device is given up: ${reason}`);
        },
      },
    });
    this.requests = this.#queues.requests;
    transport.driverOk();
    // Not before: the device is notified of these buffers.
    this.#queues.fill();
  }

  /** Where the instance is in its life. */
  get state(): 'live' | 'frozen' | 'broken' | 'removed' {
    if (this.#removed) return 'removed';
    if (this.requests.broken !== undefined) return 'broken';
    return this.#frozen ? 'frozen' : 'live';
  }

  /** True between {@link freeze} and {@link restore}. */
  get frozen(): boolean {
    return this.#frozen;
  }

  /** True if the feature with this bit number was negotiated. */
  has(feature: number): boolean {
    return hasFeature(this.features, feature);
  }

  /** Whether endpoints without a domain reach everything, as the device has it now; `undefined` if it has no say. */
  get bypass(): boolean | undefined {
    if (!this.has(IommuFeature.BYPASS_CONFIG)) return undefined;
    // Only the lowest bit has a meaning.
    return (this.#transport.readConfig(IommuConfig.offset.bypass, 1) & 1) === 1;
  }

  /** The endpoint number in a firmware specifier. @throws {IommuError} `EINVAL` unless it is one cell of 32 bits. */
  endpointIdOf(cells: readonly number[]): number {
    const [id] = cells;
    if (id === undefined || cells.length > 1 || !isUint32(id))
      throw new IommuError('EINVAL', 'A specifier of this IOMMU is one endpoint number.');
    return id;
  }

  /**
   * Makes an endpoint of a device behind this IOMMU. The first of its numbers is probed; the others are taken to be
   * like it.
   *
   * @param name - for people; made of the first number if absent.
   * @throws {IommuError} `EINVAL` for a device without numbers or a malformed answer, `EOVERFLOW` for a reserved region
   * that is none, `EBUSY` while frozen; else what the PROBE failed with.
   */
  probeDevice(ids: readonly number[], name?: string): Endpoint {
    return probeDevice(this, ids, name);
  }

  /**
   * A domain to map into: for an endpoint of this IOMMU, or with `null` for whichever IOMMU its first endpoint is on.
   *
   * @throws {IommuError} `EINVAL` for an endpoint of another IOMMU, `ENODEV` if this one cannot map single pages,
   * `ENOSPC` if it has no domain number left.
   */
  allocPaging(endpoint: IommuEndpoint | null): Domain {
    if (endpoint === null) return new Domain(this.concurrency, 'paging');
    return allocPaging(this.#own(endpoint));
  }

  /** See the function of this name. @throws {IommuError} as there; `EINVAL` for an endpoint of another IOMMU. */
  allocIdentity(endpoints: readonly IommuEndpoint[]): Domain {
    return allocIdentity(endpoints.map((endpoint) => this.#own(endpoint)));
  }

  /**
   * Handles what the device reported: faults, and changes of its configuration. To be called when its interrupt bell
   * rings, or now and then. Returns how many fault records there were: call again until it is 0 before going to sleep.
   */
  serveEvents(): number {
    if (this.#removed) return 0;
    this.#acknowledge();
    return this.#queues.serveEvents();
  }

  /**
   * Resets the request queue alone, and goes on with a new one of at most `sizeMax` descriptors; as many as before if
   * absent. Domains and mappings stay.
   *
   * Requests that the device was not shown yet are kept for the next sync. Those it answered before are told to their
   * owners as ever. Those it was shown and did not answer end with `NO_STATUS`, `EIO` that is: nobody knows whether they
   * were done. The ranges of such MAPs are in their domain's `failedMaps`, those of UNMAPs in its `stuckRanges`.
   *
   * @throws {IommuError} `EIO` if the device is lost, `ENOSYS` without RING_RESET, `EBUSY` for another size while there
   * are requests that the device was not shown: sync before; `ENOMEM` if there is no memory. Nothing changes then. What
   * the transport fails with, if the device does not go along; the device is given up then.
   */
  resetRequestQueue(sizeMax?: number): void {
    this.#checkResettable();
    this.#queues.resetRequests(sizeMax);
  }

  /**
   * Resets the event queue alone, and goes on with a new one of at most `sizeMax` descriptors; as many as before if
   * absent. Faults that the device reported before are told; those of meanwhile it may have dropped.
   *
   * @throws {IommuError} as {@link resetRequestQueue}, but for `EBUSY`; if the device does not go along there are no
   * fault reports any more. Whatever a fault handler throws; the queue works then.
   */
  resetEventQueue(sizeMax?: number): void {
    this.#checkResettable();
    this.#queues.resetEvents(sizeMax);
  }

  /**
   * Waits for what is in flight and sends nothing more until {@link restore}: attaching, probing and mapping for
   * endpoints fail with `EBUSY`, unmapping for endpoints does nothing. Everything the guest knows stays. Whoever uses
   * domains lazily flushes before, and whoever adds requests to `requests` directly waits until after the restore.
   *
   * @throws {IommuError} `EIO` if the device is lost, `EBUSY` if it is frozen already.
   */
  freeze(): void {
    this.#checkLive();
    // With all locks: nobody is in the middle of something.
    lockDomains(this.domains, () => {
      if (this.requests.syncReq() !== undefined) throw new IommuError('EIO', 'The IOMMU is lost.');
      this.#frozen = true;
    });
  }

  /**
   * Goes on after {@link freeze}, whatever happened to the device meanwhile: resets it, negotiates the same features,
   * and gives it all domains with endpoints and their mappings again. Until an endpoint is attached it reaches what
   * `bypass` lets it; the option of that name closes this gap.
   *
   * @throws {IommuError} `EINVAL` if the driver is not frozen, or, and the device is given up then like after all other
   * failures, if it is no longer the device it was; `ENODEV` if it lacks a feature; what it refused a request with, or
   * what the transport fails with. Whatever a fault handler throws; the driver works then.
   */
  restore(): void {
    if (this.state !== 'frozen') throw new IommuError('EINVAL', 'The IOMMU is not frozen.');
    lockDomains(this.domains, (domains) => this.#renew(domains));
    this.#queues.tellRest();
  }

  /** Lets every endpoint go, resets the device and gives its memory back. Nothing works afterwards. */
  remove(): void {
    if (this.#removed) return;
    for (const { attached } of this.domains)
      for (const endpoint of attached) releaseDevice(endpoint);
    this.endpoints.clear();
    this.#removed = true;
    this.#transport.reset();
    this.requests.giveUp('the driver was removed');
    // Only now: a device that was not reset may still write there.
    this.#dma.release();
  }

  #renew(domains: readonly Domain[]): void {
    const { features } = this;
    const transport = this.#transport;
    try {
      transport.negotiate({ wanted: features, required: features });
      this.#setBypass();
      if (!sameConfig(this.#config, readDeviceConfig(transport, features)))
        throw new IommuError('EINVAL', 'The IOMMU has another configuration than before.');
      this.#queues.renew();
      transport.driverOk();
      this.#queues.fill();
      for (const domain of domains) reattach(this, domain);
    } catch (error) {
      this.requests.giveUp('it could not be restored');
      throw error;
    } finally {
      this.#frozen = false;
    }
  }

  #checkLive(): void {
    if (this.state === 'frozen') throw new IommuError('EBUSY', 'The IOMMU is frozen.');
    if (this.state !== 'live') throw new IommuError('EIO', 'The IOMMU is lost.');
  }

  #checkResettable(): void {
    this.#checkLive();
    if (!this.has(VirtioFeature.RING_RESET))
      throw new IommuError('ENOSYS', 'The IOMMU cannot reset a single queue.');
  }

  #own(endpoint: IommuEndpoint): Endpoint {
    if (endpoint instanceof Endpoint && endpoint.instance === this) return endpoint;
    throw new IommuError('EINVAL', `${endpoint.name} is not behind this IOMMU.`);
  }

  #acknowledge(): void {
    try {
      const events = this.#transport.acknowledgeInterrupts();
      if ((events & InterruptBit.CONFIG_CHANGE) === 0) return;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.requests.giveUp(`its registers do not answer (${error.code})`);
      return;
    }
    this.log.warn('configChanged', 'the device changed its configuration');
    if ((this.#transport.status() & DeviceStatus.DEVICE_NEEDS_RESET) !== 0)
      this.requests.giveUp('the device needs a reset');
  }

  #bypassDomain(): Domain {
    const domain = new Domain(this.concurrency, 'identity', true);
    domain.settle(this);
    return domain;
  }

  #setBypass(): void {
    const { bypass } = this.#options;
    if (bypass === undefined) return;
    if (!this.has(IommuFeature.BYPASS_CONFIG))
      throw new IommuError('ENOSYS', 'The IOMMU has no bypass setting.');
    this.#transport.writeConfig(IommuConfig.offset.bypass, 1, bypass ? 1 : 0);
  }
}

/** Undoes a probe that failed, as far as the device lets. */
function abandon(transport: DriverTransport, dma: DmaMemory): void {
  try {
    transport.reset();
    dma.release();
    transport.fail();
  } catch {
    // The first failure is the one to tell. Memory that the device may still write to is not given back.
  }
}
