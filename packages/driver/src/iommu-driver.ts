/** One driver instance: section "Device Initialization", and what follows until the device is given up. */

import {
  DeviceStatus,
  IOMMU_DEVICE_ID,
  IommuConfig,
  IommuError,
  IommuFeature,
  IommuQueue,
  InterruptBit,
  type Range,
  VirtioFeature,
  alignInward,
  featureMask,
  hasFeature,
  pageOf,
} from '@viommu/common';
import { type DriverQueue, type GuestMemory, queueFeatures } from '@viommu/ring';
import type { DriverTransport } from '@viommu/transport';
import { readDeviceConfig } from './device-config.ts';
import { DmaMemory } from './dma-memory.ts';
import { DomainIds } from './domain-id.ts';
import { Domain } from './domain.ts';
import { DriverLog } from './driver-log.ts';
import { type DeviceDescription, type Endpoint, probeDevice, releaseDevice } from './endpoint.ts';
import { EventQueue, type FaultReport } from './event-queue.ts';
import type { Instance } from './instance.ts';
import type { Clock, DmaPages, Logger } from './platform.ts';
import { RequestQueue } from './request-queue.ts';
import { setUpQueue } from './queue-setup.ts';
import { BellWaiter, IdleWaiter } from './wait.ts';

const mask = (bits: readonly number[]): bigint =>
  bits.reduce((set, bit) => set | featureMask(bit), 0n);

/** The features that the driver accepts wherever they are offered: all of the device's except the superseded BYPASS. */
export const DRIVER_FEATURES: bigint = mask([
  IommuFeature.INPUT_RANGE,
  IommuFeature.DOMAIN_RANGE,
  IommuFeature.MAP_UNMAP,
  IommuFeature.PROBE,
  IommuFeature.MMIO,
  IommuFeature.BYPASS_CONFIG,
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.VERSION_1,
  VirtioFeature.RING_RESET,
]);
const REQUIRED_FEATURES = mask([IommuFeature.MAP_UNMAP, VirtioFeature.VERSION_1]);

const REQUEST_QUEUE_SIZE = 256;
const EVENT_QUEUE_SIZE = 64;
const REQUEST_BUFFERS = 2;

export interface IommuDriverOptions {
  readonly transport: DriverTransport;
  readonly memory: GuestMemory;
  readonly pages: DmaPages;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Accepts no other features than these. */
  readonly features?: bigint;
  /** The most descriptors of the request queue. */
  readonly requestQueueSize?: number;
  /** The most descriptors of the event queue. */
  readonly eventQueueSize?: number;
  /** How long the device may make no progress before it is given up. */
  readonly timeoutMs?: number;
  /** Looks at the ring before a wait sleeps. */
  readonly pollsMax?: number;
  /** Called in place of polling and sleeping, for a device in the same thread. It must let the device work. */
  readonly idle?: () => void;
  /** What endpoints without a domain may reach: everything or nothing. The device's own choice if absent. */
  readonly bypass?: boolean;
  /** Is told about every fault. */
  readonly onFault?: (report: FaultReport) => void;
}

/** Drives one virtio-iommu. */
export class IommuDriver implements Instance {
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
  readonly identityDomain: Domain | undefined;
  readonly endpoints: Map<number, Endpoint> = new Map();
  readonly log: DriverLog;
  readonly #transport: DriverTransport;
  readonly #dma: DmaMemory;
  readonly #events: EventQueue;
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
    const { transport, clock, logger, bypass, timeoutMs, pollsMax, idle, onFault } = options;
    this.#transport = transport;
    this.#dma = dma;
    this.log = new DriverLog(logger);
    const wanted = DRIVER_FEATURES & (options.features ?? DRIVER_FEATURES);
    this.features = transport.negotiate({ wanted, required: REQUIRED_FEATURES });
    if (bypass !== undefined) this.#setBypass(bypass);

    const ring = queueFeatures(this.features);
    const queueOf = (index: number, sizeMax: number, buffersPerChain: number): DriverQueue =>
      setUpQueue({ transport, dma, index, features: ring, sizeMax, buffersPerChain });
    const { requestQueueSize = REQUEST_QUEUE_SIZE, eventQueueSize = EVENT_QUEUE_SIZE } = options;
    const requestRing = queueOf(IommuQueue.REQUEST, requestQueueSize, REQUEST_BUFFERS);
    const eventRing = queueOf(IommuQueue.EVENT, eventQueueSize, 1);

    const config = readDeviceConfig(transport, this.features);
    this.pageSizeBitmap = config.pageSizeBitmap;
    this.aperture = config.aperture;
    this.mapFlags = config.mapFlags;
    this.probeSize = config.probeSize;
    const granule = config.pageSizeBitmap & -config.pageSizeBitmap;
    const whole = alignInward(config.aperture, granule);
    this.firstPage = whole === undefined ? 0 : pageOf(whole.start);
    this.lastPage = whole === undefined ? -1 : pageOf(whole.last);

    const bypassDomains = this.has(IommuFeature.BYPASS_CONFIG);
    this.domainIds = new DomainIds(config.firstDomain, config.lastDomain);
    this.identityDomain = bypassDomains ? this.#bypassDomain() : undefined;

    this.requests = new RequestQueue({
      queue: requestRing,
      dma,
      slots: requestSlots(requestRing.size, ring.indirect),
      probeSize: config.probeSize,
      port: {
        notify: () => transport.notify(IommuQueue.REQUEST),
        acknowledge: () => this.#acknowledge(),
        lost: (reason) => {
          if (!this.#removed) this.log.warn('queueBroken', `the device is given up: ${reason}`);
        },
      },
      waiter:
        idle === undefined
          ? new BellWaiter(transport.interruptBell, pollsMax)
          : new IdleWaiter(idle),
      clock,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    this.#events = new EventQueue({
      queue: eventRing,
      dma,
      notify: () => transport.notify(IommuQueue.EVENT),
      endpoints: this.endpoints,
      clock,
      log: this.log,
      onFault,
    });
    transport.driverOk();
    // Not before: the device is notified of these buffers.
    this.#events.fill();
  }

  /** Where the instance is in its life. */
  get state(): 'live' | 'broken' | 'removed' {
    if (this.#removed) return 'removed';
    return this.requests.broken === undefined ? 'live' : 'broken';
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

  /**
   * Makes an endpoint of a device behind this IOMMU.
   *
   * @throws {IommuError} as `probeDevice`.
   */
  probeDevice(description: DeviceDescription): Endpoint {
    return probeDevice(this, description);
  }

  /**
   * Handles what the device reported: faults, and changes of its configuration. To be called when its interrupt bell
   * rings, or now and then. Returns how many fault records there were: call again until it is 0 before going to sleep.
   */
  serveEvents(): number {
    if (this.#removed) return 0;
    this.#acknowledge();
    return this.#events.serve();
  }

  /** Lets every endpoint go, resets the device and gives its memory back. Nothing works afterwards. */
  remove(): void {
    if (this.#removed) return;
    for (const endpoint of new Set(this.endpoints.values())) releaseDevice(endpoint);
    this.#removed = true;
    this.#transport.reset();
    this.requests.giveUp('the driver was removed');
    // Only now: a device that was not reset may still write there.
    this.#dma.release();
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
    const domain = new Domain('identity', true);
    domain.instance = this;
    domain.id = this.domainIds.take();
    return domain;
  }

  #setBypass(bypass: boolean): void {
    if (!this.has(IommuFeature.BYPASS_CONFIG))
      throw new IommuError('ENOSYS', 'The IOMMU has no bypass setting.');
    this.#transport.writeConfig(IommuConfig.offset.bypass, 1, bypass ? 1 : 0);
  }
}

/** Requests that a ring holds: one for each descriptor with tables, though no table is longer than its ring. */
function requestSlots(size: number, indirect: boolean): number {
  return indirect && size >= REQUEST_BUFFERS ? size : Math.floor(size / REQUEST_BUFFERS);
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
