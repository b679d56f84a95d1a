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
import { type GuestMemory, queueFeatures } from '@viommu/ring';
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
import { RequestSlots } from './request-slot.ts';
import { type PreparedQueue, prepareQueue } from './queue-setup.ts';
import { BellWaiter, IdleWaiter } from './wait.ts';

const mask = (bits: readonly number[]): bigint =>
  bits.reduce((set, bit) => set | featureMask(bit), 0n);

/**
 * The features that the driver accepts wherever they are offered: all of the device's except the superseded BYPASS, and
 * those of rings.
 */
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
  VirtioFeature.RING_PACKED,
  VirtioFeature.IN_ORDER,
  VirtioFeature.NOTIFICATION_DATA,
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
  /** Accepts no other features than these; to refuse one, it takes `DRIVER_FEATURES` without it. */
  readonly features?: bigint;
  /** The most descriptors of the request queue; 256 if absent. A split queue has a power of two. */
  readonly requestQueueSize?: number;
  /** The most descriptors of the event queue; 64 if absent. */
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
  readonly #options: IommuDriverOptions;
  #requestRing: PreparedQueue;
  #eventRing: PreparedQueue;
  #events: EventQueue;
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
    const { transport, clock, logger, bypass, timeoutMs, pollsMax, idle } = options;
    this.#options = options;
    this.#transport = transport;
    this.#dma = dma;
    this.log = new DriverLog(logger);
    const wanted = DRIVER_FEATURES & (options.features ?? DRIVER_FEATURES);
    this.features = transport.negotiate({ wanted, required: REQUIRED_FEATURES });
    if (bypass !== undefined) this.#setBypass(bypass);

    const { requestQueueSize = REQUEST_QUEUE_SIZE, eventQueueSize = EVENT_QUEUE_SIZE } = options;
    this.#requestRing = this.#prepare(IommuQueue.REQUEST, requestQueueSize);
    transport.enableQueue(IommuQueue.REQUEST, this.#requestRing.layout);
    this.#eventRing = this.#prepare(IommuQueue.EVENT, eventQueueSize);
    transport.enableQueue(IommuQueue.EVENT, this.#eventRing.layout);

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
      queue: this.#requestRing.queue,
      dma,
      slots: this.#slotsOf(this.#requestRing),
      probeSize: config.probeSize,
      port: {
        notify: (position) => transport.notify(IommuQueue.REQUEST, position),
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
    this.#events = this.#receive(this.#eventRing);
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
  resetRequestQueue(sizeMax: number = this.#requestRing.layout.size): void {
    this.#checkResettable();
    const transport = this.#transport;
    const { requests } = this;
    const old = this.#requestRing;
    const next = this.#prepare(IommuQueue.REQUEST, sizeMax);
    let slots: RequestSlots | undefined = undefined;
    try {
      if (next.layout.size !== old.layout.size) {
        if (requests.unsent > 0)
          throw new IommuError('EBUSY', 'Requests wait for a request queue of the size it has.');
        slots = new RequestSlots(this.#dma, this.#slotsOf(next), this.probeSize);
      }
    } catch (error) {
      this.#dma.giveBack(next.piece);
      throw error;
    }
    try {
      transport.resetQueue(IommuQueue.REQUEST);
      requests.retire();
      transport.enableQueue(IommuQueue.REQUEST, next.layout);
    } catch (error) {
      requests.giveUp('its request queue could not be reset');
      throw error;
    }
    this.#requestRing = next;
    const unused = requests.resume(next.queue, slots);
    if (unused !== undefined) this.#dma.giveBack(unused);
    this.#dma.giveBack(old.piece);
  }

  /**
   * Resets the event queue alone, and goes on with a new one of at most `sizeMax` descriptors; as many as before if
   * absent. Faults that the device reported before are told; those of meanwhile it may have dropped.
   *
   * @throws {IommuError} as {@link resetRequestQueue}, but for `EBUSY`; if the device does not go along there are no
   * fault reports any more. Whatever a fault handler throws; the queue works then.
   */
  resetEventQueue(sizeMax: number = this.#eventRing.layout.size): void {
    this.#checkResettable();
    const transport = this.#transport;
    const old = { ring: this.#eventRing, events: this.#events };
    const next = this.#prepare(IommuQueue.EVENT, sizeMax);
    let events: EventQueue;
    try {
      events = this.#receive(next);
    } catch (error) {
      this.#dma.giveBack(next.piece);
      throw error;
    }
    transport.resetQueue(IommuQueue.EVENT);
    transport.enableQueue(IommuQueue.EVENT, next.layout);
    this.#eventRing = next;
    this.#events = events;
    events.fill();
    try {
      old.events.retire();
    } finally {
      this.#dma.giveBack(old.ring.piece);
      this.#dma.giveBack(old.events.piece);
    }
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

  #prepare(index: number, sizeMax: number): PreparedQueue {
    const features = queueFeatures(this.features);
    const buffersPerChain = index === IommuQueue.REQUEST ? REQUEST_BUFFERS : 1;
    const { transport } = this.#options;
    return prepareQueue({ transport, dma: this.#dma, index, features, sizeMax, buffersPerChain });
  }

  /** Requests that a ring holds: one for each descriptor with tables, though no table is longer than its ring. */
  #slotsOf({ layout: { size } }: PreparedQueue): number {
    const indirect = this.has(VirtioFeature.INDIRECT_DESC) && size >= REQUEST_BUFFERS;
    return indirect ? size : Math.floor(size / REQUEST_BUFFERS);
  }

  #receive({ queue }: PreparedQueue): EventQueue {
    const { transport, clock, onFault } = this.#options;
    return new EventQueue({
      queue,
      dma: this.#dma,
      notify: (position) => transport.notify(IommuQueue.EVENT, position),
      endpoints: this.endpoints,
      clock,
      log: this.log,
      onFault,
    });
  }

  #checkResettable(): void {
    if (this.state !== 'live') throw new IommuError('EIO', 'The IOMMU is lost.');
    if (!this.has(VirtioFeature.RING_RESET))
      throw new IommuError('ENOSYS', 'The IOMMU cannot reset a single queue.');
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
