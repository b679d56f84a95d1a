/**
 * A guest's kernel, as far as DMA goes: the IOMMU core with its driver, firmware that describes the machine, and for
 * each device the way its memory reaches it.
 */

import { BlkDriver, type BlkDriverOptions } from '@viommu/blk';
import { Concurrency, type Context, IommuError, PAGE_SIZE, assert, pageOf } from '@viommu/common';
import type { DmaPages, IommuDriver, IommuDriverOptions } from '@viommu/driver';
import {
  BouncePool,
  CoreLog,
  Device,
  type DeviceOptions,
  DeviceTreeFirmware,
  DmaSetup,
  GRANT_COMPATIBLE,
  GrantDma,
  GrantTable,
  IommuCore,
  VirtioDma,
  type VirtioPlatform,
  bootOptions,
  bounceSlots,
  grantBackend,
  parseDeviceTreeSource,
  registerStubs,
} from '@viommu/iommu';
import { Patience } from '@viommu/ring';
import type { GuestContext } from './guest.ts';
import { GuestPages } from './guest-pages.ts';
import { type TreeOptions, machineTree, nodePath } from './machine-tree.ts';
import { REGISTERS_BASE } from './memory-map.ts';
import { PolledClock } from './polled-clock.ts';

/** What a guest's kernel is told. */
export interface SystemOptions {
  /** The kernel's command line: see `BootOptions`. */
  readonly commandLine?: string;
  /** The guest keeps its pages to itself, all but those that it shares. */
  readonly protected?: boolean;
  /** The guest runs on Xen: disks in domains of their own get grants. */
  readonly xen?: boolean;
  /** A stub drives the IOMMU that stands for grants. Default true. */
  readonly stub?: boolean;
  /** The IOMMU's driver starts with the system. Default true. */
  readonly iommu?: boolean;
  /** Uses the DMA API even for devices without ACCESS_PLATFORM. */
  readonly forcesDmaApi?: VirtioPlatform['forcesDmaApi'];
  /** Processors of the guest. Default 1. */
  readonly cpus?: number;
  /** What the firmware says that it usually does not. */
  readonly tree?: TreeOptions;
  readonly driver?: Partial<IommuDriverOptions>;
}

/** How a disk is driven. */
export type DiskOptions = Partial<Omit<BlkDriverOptions, 'transport' | 'memory' | 'device'>>;

/** A disk as the guest's kernel has it. */
export interface SystemDisk {
  readonly device: Device;
  /** Its driver; `undefined` while that waits for an IOMMU, and after the disk was unplugged. */
  driver: BlkDriver | undefined;
}

/** Looks that take some milliseconds: a host with disks is busy, and best on a processor of its own. */
const RETRY_POLLS = 400_000;
/** Slots for bounce buffers take no more than this part of RAM, whatever the usual size of a pool is. */
const POOL_SHARE = 4;
const SMALL_POOL_SHARE = 32;
const SLOT_BYTES = 2048;
const SLOTS_PER_PAGE = PAGE_SIZE / SLOT_BYTES;

/** The kernel of one guest. */
export class GuestSystem {
  readonly core: IommuCore;
  readonly clock: PolledClock;
  readonly dma: DmaSetup;
  readonly virtio: VirtioDma;
  readonly ram: GuestPages;
  readonly firmware: DeviceTreeFirmware;
  /** Where buffers bounce; absent with `swiotlb=noforce`. */
  readonly pool: BouncePool | undefined;
  /** Present on Xen. */
  readonly grants: GrantTable | undefined;
  /** What the kernel's own calls are made as. */
  readonly context: Context = { cpu: 0 };
  readonly #guest: GuestContext;
  readonly #options: SystemOptions;
  readonly #concurrency: Concurrency = new Concurrency();
  /** All drivers wait for the one host. */
  readonly #patience: Patience = new Patience({ retryPolls: RETRY_POLLS });
  readonly #removeStubs: (() => void) | undefined;
  #driver: IommuDriver | undefined = undefined;

  /**
   * Boots: reads the firmware and, unless it is told not to, starts the IOMMU. Disks come later.
   *
   * @throws {IommuError} `EINVAL` for a command line with mistakes, `ENOMEM` if there is no room for the bounce pool; as
   * `IommuDriver.probe`.
   */
  constructor(guest: GuestContext, options: SystemOptions = {}) {
    const { commandLine = '', xen = false, cpus = 1, stub = true, iommu = true } = options;
    const isProtected = options.protected === true;
    this.#guest = guest;
    this.#options = options;
    const boot = bootOptions(commandLine);
    const log = new CoreLog({ warn: (text) => guest.log(text) });
    const concurrency = this.#concurrency;
    const clock = (this.clock = new PolledClock(guest.clock));
    const ram = (this.ram = new GuestPages(guest.memory));
    const tree = parseDeviceTreeSource(machineTree(guest.endpoints.values(), options.tree));
    const firmware = (this.firmware = new DeviceTreeFirmware(tree, log));

    const states = guest.pageStates;
    if (isProtected) states.protect();
    const { force, slots, areas = cpus } = boot.bounce;
    const noPool = force === 'noforce' && !isProtected;
    const all = isProtected || force === 'force';
    this.pool = noPool ? undefined : this.#makePool(log, all, slots, areas);
    this.dma = new DmaSetup({
      concurrency,
      clock,
      log,
      cpus,
      boot,
      ram,
      firmware,
      ...(this.pool !== undefined && { pool: this.pool }),
      ...(isProtected && { sharing: states }),
    });
    this.core = new IommuCore({
      clock,
      concurrency,
      log,
      boot,
      cpus,
      firmware,
      dma: () => this.dma,
    });
    this.grants = xen ? new GrantTable({ words: guest.grantTable }) : undefined;
    const { forcesDmaApi } = options;
    this.virtio = new VirtioDma({
      physical: this.dma.physical,
      direct: this.dma.direct,
      platform: {
        xen,
        requiresRestricted: (device) => isProtected || this.#installGrants(device),
        ...(forcesDmaApi !== undefined && { forcesDmaApi }),
      },
    });
    if (stub) {
      const nodes = [...tree.nodes()];
      this.#removeStubs = registerStubs(
        this.core,
        nodes.filter((node) => node.texts('compatible').includes(GRANT_COMPATIBLE)),
      );
    }
    if (iommu) this.startIommu();
  }

  /** The driver of the IOMMU. @throws {IommuError} `ENODEV` before it is started. */
  get driver(): IommuDriver {
    if (this.#driver !== undefined) return this.#driver;
    throw new IommuError('ENODEV', 'The IOMMU of this system is not started.');
  }

  /** Starts the driver of the IOMMU and hands it to the core. @throws {IommuError} as `IommuDriver.probe`. */
  startIommu(): IommuDriver {
    const { bypass } = this.core.boot;
    const node = this.firmware.tree.find(nodePath('iommu', REGISTERS_BASE));
    assert(node !== undefined, 'the tree has the IOMMU of the machine');
    this.#driver = this.#guest.startDriver({
      pages: this.#pages(),
      concurrency: this.#concurrency,
      pollsMax: this.#patience,
      ...(bypass !== undefined && { bypass: bypass === 1 }),
      ...this.#options.driver,
    });
    if (node.enabled) this.core.registerInstance(this.#driver, node);
    return this.#driver;
  }

  /** All is there that was there from the beginning: drivers that still wait do so no longer than the time limit. */
  finishBoot(): void {
    this.core.finishBoot();
  }

  /**
   * A disk of the machine is plugged in, and its driver bound.
   *
   * @throws {IommuError} `ENOENT` if there is none of this name, `ENODEV` and others as `BlkDriver.probe`.
   */
  plugDisk(name: string, options: DiskOptions = {}, more: Partial<DeviceOptions> = {}): SystemDisk {
    const endpoint = this.#guest.endpoint(name);
    const node = this.firmware.tree.find(nodePath('virtio', endpoint.address));
    const device = new Device({ name, bus: 'platform', ...(node && { node }), ...more });
    const disk: SystemDisk = { device, driver: undefined };
    this.core.addDevice(device);
    try {
      this.core.bind(device, {
        name: 'virtio-blk',
        probe: () => {
          disk.driver = BlkDriver.probe({
            transport: endpoint.transport(),
            memory: this.#guest.memory,
            device,
            dma: this.virtio,
            context: this.context,
            clock: this.clock,
            pollsMax: this.#patience,
            ...options,
          });
        },
        remove: () => {
          disk.driver?.remove(this.context);
          disk.driver = undefined;
        },
      });
    } catch (error) {
      this.core.removeDevice(device);
      throw error;
    }
    return disk;
  }

  /** The disk is gone, with its driver. What was outstanding fails. */
  unplugDisk({ device }: SystemDisk): void {
    this.core.removeDevice(device);
  }

  /** Runs what is due. To be called now and then by whoever waits or works for long. */
  poll(): void {
    this.clock.poll();
  }

  /** Takes the stubs of IOMMUs that translate nothing away. */
  removeStubs(): void {
    this.#removeStubs?.();
  }

  /** `all`: every buffer bounces, and not just those of devices that must not see what lies beside them. */
  #makePool(log: CoreLog, all: boolean, asked: number | undefined, areas: number): BouncePool {
    const { size } = this.#guest.memory;
    const isProtected = this.#options.protected === true;
    const usual = bounceSlots(size, isProtected, asked);
    // A small guest cannot spare what is usual.
    const share = size / (all ? POOL_SHARE : SMALL_POOL_SHARE) / SLOT_BYTES;
    const most = bounceSlots(size, isProtected, share);
    const slots = asked === undefined ? Math.min(usual, most) : usual;
    const pages = slots / SLOTS_PER_PAGE;
    const firstPage = this.ram.allocatePages(pages);
    if (firstPage < 0) throw new IommuError('ENOMEM', `There are no ${pages} pages to bounce in.`);
    if (isProtected) this.#guest.pageStates.share(firstPage, pages);
    return new BouncePool({ ram: this.ram, log, clock: this.clock, firstPage, slots, areas });
  }

  /** Memory of the IOMMU's driver, which the host has to reach. */
  #pages(): DmaPages {
    const { memory, pageStates } = this.#guest;
    if (this.#options.protected !== true) return memory;
    const taken = new Map<bigint, number>();
    return {
      allocate(sizeBytes, alignment) {
        const address = memory.allocate(sizeBytes, alignment);
        const pages = Math.ceil(sizeBytes / PAGE_SIZE);
        taken.set(address, pages);
        pageStates.share(pageOf(address), pages);
        return address;
      },
      free(address) {
        const pages = taken.get(address);
        assert(pages !== undefined, 'the driver gives back what it took');
        taken.delete(address);
        pageStates.unshare(pageOf(address), pages);
        memory.free(address);
      },
    };
  }

  /** On Xen: grants for a device whose back-end is a domain of its own. False if it has none. */
  #installGrants(device: Device): boolean {
    const { grants: table, core, ram } = this;
    if (table === undefined) return false;
    if (device.dmaOps?.kind === 'grant') return true;
    try {
      const { log, boot } = core;
      const xen = { initialDomain: false, forceGrant: boot.forceGrant };
      const backend = grantBackend(device, this.firmware, xen, log);
      device.dmaOps = new GrantDma({ table, ram, log, backend });
      return true;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      return false;
    }
  }
}
