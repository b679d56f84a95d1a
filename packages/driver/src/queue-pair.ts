/** The two queues of one device, from the first to the last of their rings. */

import { IommuError, IommuQueue, VirtioFeature, hasFeature } from '@viommu/common';
import { queueFeatures } from '@viommu/ring';
import type { DmaMemory } from './dma-memory.ts';
import type { DriverLog } from './driver-log.ts';
import type { IommuDriverOptions } from './driver-option.ts';
import type { Endpoint } from './endpoint.ts';
import { EventQueue } from './event-queue.ts';
import { type PreparedQueue, prepareQueue } from './queue-setup.ts';
import type { RequestPort } from './request-port.ts';
import { RequestQueue } from './request-queue.ts';
import { RequestSlots } from './request-slot.ts';
import { BellWaiter, IdleWaiter } from './wait.ts';

const REQUEST_QUEUE_SIZE = 256;
const EVENT_QUEUE_SIZE = 64;
const REQUEST_BUFFERS = 2;

export interface QueuePairOptions {
  readonly driver: IommuDriverOptions;
  /** The negotiated bits. */
  readonly features: bigint;
  readonly dma: DmaMemory;
  readonly log: DriverLog;
  readonly endpoints: ReadonlyMap<number, Endpoint>;
  readonly probeSize: number;
  readonly port: Pick<RequestPort, 'acknowledge' | 'lost'>;
}

/** Request queue and event queue. They are enabled when this is made, and hold no buffers yet. */
export class QueuePair {
  readonly requests: RequestQueue;
  readonly #options: QueuePairOptions;
  #requestRing: PreparedQueue;
  #eventRing: PreparedQueue;
  #events: EventQueue;
  /** The event ring before this one, while there may be records in it. */
  #before: { readonly ring: PreparedQueue; readonly events: EventQueue } | undefined = undefined;

  /** @throws {IommuError} `ENODEV`, `ENOMEM`, `EFAULT`, or what the transport fails with. */
  constructor(options: QueuePairOptions) {
    this.#options = options;
    const { driver, dma, probeSize, port } = options;
    const { transport, clock, timeoutMs, pollsMax, idle } = driver;
    const { requestQueueSize = REQUEST_QUEUE_SIZE, eventQueueSize = EVENT_QUEUE_SIZE } = driver;
    this.#requestRing = this.#prepare(IommuQueue.REQUEST, requestQueueSize);
    transport.enableQueue(IommuQueue.REQUEST, this.#requestRing.layout);
    this.#eventRing = this.#prepare(IommuQueue.EVENT, eventQueueSize);
    transport.enableQueue(IommuQueue.EVENT, this.#eventRing.layout);
    this.requests = new RequestQueue({
      queue: this.#requestRing.queue,
      dma,
      slots: this.#slotsOf(this.#requestRing),
      probeSize,
      port: {
        notify: (position) => transport.notify(IommuQueue.REQUEST, position),
        acknowledge: () => port.acknowledge(),
        lost: (reason) => port.lost(reason),
      },
      waiter:
        idle === undefined
          ? new BellWaiter(transport.interruptBell, pollsMax)
          : new IdleWaiter(idle),
      clock,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    this.#events = this.#receive(this.#eventRing);
  }

  /** Gives the device buffers for events. After DRIVER_OK: it is notified of them. */
  fill(): void {
    this.#events.fill();
  }

  /** Reads the events that are there; returns how many. */
  serveEvents(): number {
    return this.#events.serve();
  }

  /** See `IommuDriver.resetRequestQueue`. */
  resetRequests(sizeMax: number = this.#requestRing.layout.size): void {
    const { dma, driver, probeSize } = this.#options;
    const { requests } = this;
    const old = this.#requestRing;
    const next = this.#prepare(IommuQueue.REQUEST, sizeMax);
    let slots: RequestSlots | undefined = undefined;
    try {
      if (next.layout.size !== old.layout.size) {
        if (requests.unsent > 0)
          throw new IommuError('EBUSY', 'Requests wait for a request queue of the size it has.');
        slots = new RequestSlots(dma, this.#slotsOf(next), probeSize);
      }
    } catch (error) {
      dma.giveBack(next.piece);
      throw error;
    }
    try {
      driver.transport.resetQueue(IommuQueue.REQUEST);
      requests.retire();
      driver.transport.enableQueue(IommuQueue.REQUEST, next.layout);
    } catch (error) {
      requests.giveUp('its request queue could not be reset');
      throw error;
    }
    this.#requestRing = next;
    const unused = requests.resume(next.queue, slots);
    if (unused !== undefined) dma.giveBack(unused);
    dma.giveBack(old.piece);
  }

  /** See `IommuDriver.resetEventQueue`. */
  resetEvents(sizeMax: number = this.#eventRing.layout.size): void {
    const { transport } = this.#options.driver;
    this.#replaceEvents(sizeMax, (next) => {
      transport.resetQueue(IommuQueue.EVENT);
      transport.enableQueue(IommuQueue.EVENT, next.layout);
    });
    this.fill();
    this.tellRest();
  }

  /**
   * Goes on after a reset of the whole device, with rings of the same sizes. Buffers for events and those of the ring
   * before are the caller's business: {@link fill}, {@link tellRest}.
   *
   * @throws {IommuError} `EINVAL` if the device no longer has queues of these sizes; `ENOMEM`, or what the transport
   * fails with.
   */
  renew(): void {
    const { dma, driver } = this.#options;
    const { transport } = driver;
    const old = this.#requestRing;
    const next = this.#prepare(IommuQueue.REQUEST, old.layout.size);
    if (next.layout.size !== old.layout.size)
      throw new IommuError('EINVAL', 'The request queue of the IOMMU has become smaller.');
    transport.enableQueue(IommuQueue.REQUEST, next.layout);
    this.requests.retire();
    this.#requestRing = next;
    this.requests.resume(next.queue);
    dma.giveBack(old.piece);
    this.#replaceEvents(this.#eventRing.layout.size, ({ layout }) =>
      transport.enableQueue(IommuQueue.EVENT, layout),
    );
  }

  /** Tells the events that were left in the ring before. @throws what a fault handler throws; none is lost. */
  tellRest(): void {
    const before = this.#before;
    this.#before = undefined;
    if (before === undefined) return;
    const { dma } = this.#options;
    try {
      before.events.retire();
    } finally {
      dma.giveBack(before.ring.piece);
      dma.giveBack(before.events.piece);
    }
  }

  #replaceEvents(sizeMax: number, enable: (next: PreparedQueue) => void): void {
    const next = this.#prepare(IommuQueue.EVENT, sizeMax);
    let events: EventQueue;
    try {
      events = this.#receive(next);
    } catch (error) {
      this.#options.dma.giveBack(next.piece);
      throw error;
    }
    enable(next);
    this.#before = { ring: this.#eventRing, events: this.#events };
    this.#eventRing = next;
    this.#events = events;
  }

  #prepare(index: number, sizeMax: number): PreparedQueue {
    const { driver, dma } = this.#options;
    const features = queueFeatures(this.#options.features);
    const buffersPerChain = index === IommuQueue.REQUEST ? REQUEST_BUFFERS : 1;
    const { transport } = driver;
    return prepareQueue({ transport, dma, index, features, sizeMax, buffersPerChain });
  }

  /** Requests that a ring holds: one for each descriptor with tables, though no table is longer than its ring. */
  #slotsOf({ layout: { size } }: PreparedQueue): number {
    const { features } = this.#options;
    const indirect = hasFeature(features, VirtioFeature.INDIRECT_DESC) && size >= REQUEST_BUFFERS;
    return indirect ? size : Math.floor(size / REQUEST_BUFFERS);
  }

  #receive({ queue }: PreparedQueue): EventQueue {
    const { driver, dma, endpoints, log } = this.#options;
    const { transport, clock, onFault } = driver;
    const notify = (position: number): void => transport.notify(IommuQueue.EVENT, position);
    return new EventQueue({ queue, dma, notify, endpoints, clock, log, onFault });
  }
}
