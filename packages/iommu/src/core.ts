/** The guest's IOMMU core: the one object that a guest makes, and where its parts find each other. */

import {
  Concurrency,
  type IommuInstance,
  type Lock,
  LockRank,
  type Logger,
  type TimerClock,
} from '@viommu/common';
import { type BootOptions, DEFAULT_BOOT_OPTIONS } from './boot-option.ts';
import { Bus } from './bus.ts';
import type { Device, FirmwareNode } from './device.ts';
import type { Domain } from './domain.ts';
import { CoreLog } from './log.ts';
import type { Firmware } from './probe.ts';

/** What the core asks of the DMA layer. */
export interface DmaLayer {
  /**
   * Makes a domain of type `DMA` or `DMA-FQ` ready to hand out addresses to one more device of its group. Called for
   * each device. May turn a new `DMA-FQ` domain into a `DMA` one, if there is no memory for its queue.
   *
   * @throws {IommuError} `EFAULT` if the device cannot use the domain's addresses, `EBUSY` if a region it brings is in use.
   */
  initDomain(domain: Domain, device: Device): void;
  /** Decides how the device's memory reaches it; without a domain it has no IOMMU. */
  setupOps(device: Device, domain: Domain | undefined): void;
  /** Builds the queue that turns a live `DMA` domain into a lazy one, without using it. @throws {IommuError} `ENOMEM` */
  buildQueue(domain: Domain): void;
  /** From now on unmaps go through the queue. */
  publishQueue(domain: Domain): void;
  /** The domain ends, with all its addresses. */
  endDomain(domain: Domain): void;
}

/** What a core is made of. */
export interface CoreOptions {
  readonly clock: TimerClock;
  readonly concurrency?: Concurrency;
  readonly logger?: Logger;
  readonly boot?: BootOptions;
  readonly firmware?: Firmware;
  readonly dma: DmaLayer;
  /** Processors, 1 or more. */
  readonly cpus?: number;
}

/** An IOMMU that the core knows, and what it serves. */
export class Registration {
  readonly instance: IommuInstance;
  /** What firmware calls it. */
  readonly node: FirmwareNode;
  readonly devices: Set<Device> = new Set();
  /** The first scan is over. */
  ready = false;

  constructor(instance: IommuInstance, node: FirmwareNode) {
    this.instance = instance;
    this.node = node;
  }
}

/** The core of one guest. */
export class IommuCore {
  readonly clock: TimerClock;
  readonly concurrency: Concurrency;
  readonly log: CoreLog;
  readonly boot: BootOptions;
  readonly firmware: Firmware | undefined;
  readonly dma: DmaLayer;
  readonly cpus: number;
  readonly probeLock: Lock;
  readonly buses: Map<string, Bus> = new Map();
  readonly registrations: Registration[] = [];

  constructor(options: CoreOptions) {
    this.clock = options.clock;
    this.concurrency = options.concurrency ?? new Concurrency();
    this.log = new CoreLog(options.logger);
    this.boot = options.boot ?? DEFAULT_BOOT_OPTIONS;
    this.firmware = options.firmware;
    this.dma = options.dma;
    this.cpus = options.cpus ?? 1;
    this.probeLock = this.concurrency.lock('probeLock', LockRank.probe);
  }

  /** The bus of a name; made when it is first asked for. */
  bus(name: string): Bus {
    let bus = this.buses.get(name);
    if (bus === undefined) this.buses.set(name, (bus = new Bus(name)));
    return bus;
  }
}
