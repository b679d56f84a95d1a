/** The driver on the real device, in one thread, with several endpoints and a host that can be reset. */

import {
  Concurrency,
  type ErrorCode,
  IommuConfig,
  IommuError,
  Lock,
  LockRank,
  MapFlag,
  PAGE_SIZE,
  addressAt,
  formatStatus,
  guestPhysical,
  iova,
  pageOf,
} from '@viommu/common';
import {
  IommuDevice,
  type IommuDeviceOptions,
  type IommuObserver,
  TranslateOutcome,
} from '@viommu/device';
import { type Endpoint, IommuDriver, type IommuDriverOptions, verify } from '@viommu/driver';
import { SharedMemory } from '@viommu/ring';
import {
  CONTROL_PAGE_SIZE,
  ControlPage,
  DirectPort,
  MmioDevice,
  MmioTransport,
  type RegisterDevice,
  RegisterWindow,
} from '@viommu/transport';

const RAM_BASE = 0x4000_0000n;
const RAM_BYTES = 0x4_0000;
const ENDPOINTS = Array.from({ length: 8 }, (_, index) => ({ id: index + 1 }));
/** Of the configuration space, in the window. */
const CONFIG_AT = 0x100;

/** Locks that keep nobody out. */
export class OpenConcurrency extends Concurrency {
  override lock(name: string, rank: LockRank): Lock {
    return new OpenLock(this, name, rank);
  }
}

/** Locks that are written down when they are taken for good. */
export class RecordedConcurrency extends Concurrency {
  readonly taken: Lock[] = [];

  override take(lock: Lock): void {
    super.take(lock);
    if (lock.rank === LockRank.domain) this.taken.push(lock);
  }
}

class OpenLock extends Lock {
  override acquire(): void {}
  override release(): void {}
}

export interface RealGuestOptions {
  readonly device?: IommuDeviceOptions;
  readonly driver?: Partial<IommuDriverOptions>;
}

export class RealGuest {
  /** What the device did, as text, in order. */
  readonly done: string[] = [];
  /** Offsets in the configuration space that the driver wrote. */
  readonly configWrites: number[] = [];
  device: IommuDevice;
  readonly driver: IommuDriver;
  readonly concurrency: Concurrency;
  /** False: the device takes nothing. */
  alive = true;
  nowMs = 0;
  readonly transport: MmioTransport;
  readonly #control: ControlPage;
  readonly #window: RegisterWindow;
  readonly #memory: SharedMemory;
  readonly #options: RealGuestOptions;
  #mmio: MmioDevice;
  /** By page: 0 if it is free; how many were taken with it, at the first of them; else 1. */
  readonly #taken: Uint16Array = new Uint16Array(RAM_BYTES / PAGE_SIZE);

  constructor(options: RealGuestOptions = {}) {
    this.#options = options;
    const buffer = new SharedArrayBuffer(2 * CONTROL_PAGE_SIZE + 0x1000 + RAM_BYTES);
    this.#control = new ControlPage(buffer, 0);
    this.#window = new RegisterWindow(buffer, CONTROL_PAGE_SIZE);
    this.#memory = new SharedMemory({
      buffer,
      offset: buffer.byteLength - RAM_BYTES,
      size: RAM_BYTES,
      base: guestPhysical(RAM_BASE),
    });
    this.device = this.#makeDevice({});
    this.#mmio = this.#connect();
    this.transport = this.#reach();
    this.concurrency = options.driver?.concurrency ?? new Concurrency();
    const { timeoutMs = 200 } = options.driver ?? {};
    this.driver = IommuDriver.probe({
      transport: this.transport,
      memory: this.#memory,
      pages: {
        allocate: (bytes) => this.#allocate(bytes),
        free: (address) => this.#release(address),
      },
      clock: { now: () => this.nowMs },
      idle: () => {
        this.nowMs += 1;
        if (!this.alive) return;
        this.#mmio.serve();
        this.#mmio.arm();
      },
      ...options.driver,
      timeoutMs,
      concurrency: this.concurrency,
    });
    this.done.length = 0;
  }

  /** The host of a machine that starts again; with other `options`, a host that is another one. */
  systemReset(options?: IommuDeviceOptions): void {
    if (options === undefined) this.#mmio.systemReset();
    else {
      this.device = this.#makeDevice(options);
      this.#mmio = this.#connect();
    }
    this.done.length = 0;
  }

  /** Bytes that the driver holds. */
  get memoryInUse(): number {
    return this.#taken.filter((size) => size > 0).length * PAGE_SIZE;
  }

  /** Where the real device takes a read of an endpoint at a page: a page, or -1 for a fault. */
  reach(endpoint: number, page: number): number {
    const at = iova(addressAt(page, 0));
    const { iommu } = this.device;
    const { outcome, translation } = iommu.translateRange(endpoint, at, 1, MapFlag.READ);
    return outcome === TranslateOutcome.OK ? pageOf(translation.address(0)) : -1;
  }

  /** What the device holds, as text: for comparing two moments. */
  tables(): string[] {
    const { iommu } = this.device;
    return iommu.domains
      .toSorted((a, b) => a - b)
      .flatMap((id) => [
        `domain ${id}: ${iommu.endpoints.filter((endpoint) => iommu.domainOf(endpoint) === id).join()}`,
        ...Array.from(
          iommu.mappings(id),
          ({ virt, physStart, flags }) => `${virt.start}-${virt.last} to ${physStart} ${flags}`,
        ),
      ]);
  }

  /** Sends what is queued and checks every invariant, also against the device. */
  verify(): void {
    const { driver } = this;
    driver.requests.syncReq();
    verify(driver, this.device.iommu);
    for (const offset of this.configWrites)
      if (offset !== IommuConfig.offset.bypass)
        throw new Error(`the driver wrote to byte ${offset} of the configuration`);
  }

  /** Runs `other` as another context at the first race point of this name that comes by; without a name, at the first. */
  at(point: string | undefined, other: () => void): void {
    const { concurrency } = this;
    let over = false;
    concurrency.hook = (name) => {
      if (over || (point ?? name) !== name) return;
      over = true;
      concurrency.run(other);
    };
  }

  #makeDevice(options: IommuDeviceOptions): IommuDevice {
    const { done } = this;
    const observer: IommuObserver = {
      attached: (domain, endpoint) => done.push(`attach ${endpoint} to ${domain}`),
      detached: (domain, endpoint) => done.push(`detach ${endpoint} from ${domain}`),
      mapped: (domain, { start, last }) => done.push(`map ${domain}: ${pages(start, last)}`),
      unmapped: (domain, { start, last }) => done.push(`unmap ${domain}: ${pages(start, last)}`),
      refused: (status) => done.push(`refused ${formatStatus(status)}`),
    };
    return new IommuDevice({ endpoints: ENDPOINTS, observer, ...this.#options.device, ...options });
  }

  #connect(): MmioDevice {
    return new MmioDevice({
      window: this.#window,
      interruptBell: this.#control.interruptBell(0),
      memory: this.#memory,
      device: this.device,
    });
  }

  /** The registers of whichever device is there. */
  #reach(): MmioTransport {
    const registers: RegisterDevice = {
      write: (offset, width, value) => {
        if (offset >= CONFIG_AT) this.configWrites.push(offset - CONFIG_AT);
        this.#mmio.write(offset, width, value);
      },
      serve: () => this.#mmio.serve(),
      arm: () => this.#mmio.arm(),
      suppress: () => this.#mmio.suppress(),
    };
    return new MmioTransport({
      port: new DirectPort(this.#window, registers),
      doorbells: this.#control.doorbells(0),
      interruptBell: this.#control.interruptBell(0),
    });
  }

  /** Whole pages, the first free ones that are enough. */
  #allocate(bytes: number): ReturnType<typeof guestPhysical> {
    const count = Math.ceil(bytes / PAGE_SIZE);
    let first = 0;
    while (this.#taken.slice(first, first + count).some((size) => size > 0)) first += 1;
    if (first + count > this.#taken.length) throw new IommuError('ENOMEM', 'There is no memory.');
    this.#taken.fill(1, first, first + count);
    this.#taken[first] = count;
    return guestPhysical(RAM_BASE + BigInt(first * PAGE_SIZE));
  }

  #release(address: bigint): void {
    const first = Number(address - RAM_BASE) / PAGE_SIZE;
    this.#taken.fill(0, first, first + this.#taken[first]!); // It was taken.
  }
}

/** A guest with two endpoints, of the numbers 1 and 2. */
export function guestOfTwo(
  options: RealGuestOptions = {},
): RealGuest & { readonly first: Endpoint; readonly second: Endpoint } {
  const guest = new RealGuest(options);
  const [first, second] = [guest.driver.probeDevice([1]), guest.driver.probeDevice([2])];
  return Object.assign(guest, { first, second });
}

/** What `action` fails with, or `undefined` if it does not. */
export function codeOf(action: () => unknown): ErrorCode | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    return error.code;
  }
}

function pages(start: bigint, last: bigint): string {
  return `${pageOf(start)}-${pageOf(last)}`;
}
