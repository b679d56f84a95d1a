/** The guest's IOMMU core: the one object that a guest makes, and where its parts find each other. */

import {
  Concurrency,
  IommuError,
  type IommuInstance,
  type Lock,
  LockRank,
  type Logger,
  type TimerClock,
} from '@viommu/common';
import { type BootOptions, DEFAULT_BOOT_OPTIONS } from './boot-option.ts';
import { Bus } from './bus.ts';
import { DeferredProbe } from './deferred-probe.ts';
import { DeviceGroups } from './device-group.ts';
import type { Device, DeviceDriver, FirmwareNode } from './device.ts';
import type { Domain } from './domain.ts';
import { Directory } from './group-directory.ts';
import { GroupRegistry } from './group-registry.ts';
import type { Group } from './group.ts';
import { CoreLog } from './log.ts';
import type { Firmware } from './probe.ts';
import { type Registration, registerInstance, unregisterInstance } from './registration.ts';
import { formatRegions, mergeRegions, reservedRegions } from './reserved-region.ts';
import { readType, writeType } from './type-switch.ts';

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
  /** The log, if it was made before the core; {@link logger} is not used then. */
  readonly log?: CoreLog;
  readonly boot?: BootOptions;
  readonly firmware?: Firmware;
  /** Makes the DMA layer for the core that is being made. */
  readonly dma: (core: IommuCore) => DmaLayer;
  /** Processors, 1 or more. */
  readonly cpus?: number;
}

/** The core of one guest. */
export class IommuCore {
  readonly clock: TimerClock;
  readonly concurrency: Concurrency;
  readonly log: CoreLog;
  readonly boot: BootOptions;
  readonly firmware: Firmware | undefined;
  readonly dma: DmaLayer;
  /** Processors, 1 or more. */
  readonly cpus: number;
  /** What the guest shows under `/sys`. */
  readonly directory: Directory = new Directory();
  readonly groups: GroupRegistry;
  readonly deviceGroups: DeviceGroups;
  readonly deferred: DeferredProbe;
  /** Held while devices and IOMMUs find each other. */
  readonly probeLock: Lock;
  readonly buses: Map<string, Bus> = new Map();
  readonly registrations: Set<Registration> = new Set();
  /** Devices whose drivers use the default domain. */
  readonly defaultUsers: Set<Device> = new Set();
  /** The platform wants no lazy domains. */
  strictForced = false;
  /** There has been a default domain. */
  domainMade = false;

  constructor(options: CoreOptions) {
    this.clock = options.clock;
    this.concurrency = options.concurrency ?? new Concurrency();
    this.log = options.log ?? new CoreLog(options.logger);
    this.boot = options.boot ?? DEFAULT_BOOT_OPTIONS;
    this.firmware = options.firmware;
    this.cpus = options.cpus ?? 1;
    this.probeLock = this.concurrency.lock('probeLock', LockRank.probe);
    this.groups = new GroupRegistry(this);
    this.groups.define('type', {
      read: readType,
      write: (group, text) => writeType(this, group, text),
    });
    this.groups.define('reserved_regions', { read: (group) => this.#regionText(group) });
    this.deviceGroups = new DeviceGroups(this.groups);
    this.deferred = new DeferredProbe(this);
    this.dma = options.dma(this);
  }

  /** The bus of a name; made when it is first asked for. */
  bus(name: string): Bus {
    let bus = this.buses.get(name);
    if (bus === undefined) this.buses.set(name, (bus = new Bus(this, name)));
    return bus;
  }

  /** A device has come: {@link Bus.add}. */
  addDevice(device: Device): void {
    this.bus(device.bus).add(device);
  }

  /** A device has gone: {@link Bus.remove}. */
  removeDevice(device: Device): void {
    this.bus(device.bus).remove(device);
  }

  /** Binds a driver: {@link Bus.bind}. */
  bind(device: Device, driver: DeviceDriver): boolean {
    return this.bus(device.bus).bind(device, driver);
  }

  /** Takes the driver off a device: {@link Bus.unbind}. */
  unbind(device: Device): void {
    this.bus(device.bus).unbind(device);
  }

  /** An IOMMU has come: {@link registerInstance}. */
  registerInstance(instance: IommuInstance, node: FirmwareNode): void {
    registerInstance(this, instance, node);
  }

  /** An IOMMU goes: {@link unregisterInstance}. */
  unregisterInstance(instance: IommuInstance): void {
    unregisterInstance(this, instance);
  }

  /** All drivers that the guest starts with have been tried: the time limit for IOMMUs that are missing begins. */
  finishBoot(): void {
    this.deferred.finishBoot();
  }

  /** Lazy domains are out of the question. @throws {IommuError} `EBUSY` once there has been a domain. */
  setStrict(): void {
    if (this.domainMade) throw new IommuError('EBUSY', 'There are domains already.');
    this.strictForced = true;
  }

  /** The IOMMU of a node, if it is there. */
  registrationOf(node: FirmwareNode | undefined): Registration | undefined {
    for (const registration of this.registrations)
      if (registration.node === node) return registration;
    return undefined;
  }

  /** All devices that are there now. */
  devices(): Device[] {
    return [...this.buses.values()].flatMap(({ devices }) => [...devices]);
  }

  /** Those that are PCI functions. */
  pciFunctions(): Device[] {
    return this.devices().filter(({ pci }) => pci !== undefined);
  }

  #regionText(group: Group): string {
    const devices = group.mutex.hold(() => [...group.devices.keys()]);
    const regions = devices.flatMap((device) => reservedRegions(device, this.firmware));
    return formatRegions(mergeRegions(regions));
  }
}
