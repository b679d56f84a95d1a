/**
 * The driver on the device, in one thread, with everything that passes between the two at the registers written down.
 * A test can bend what the driver reads.
 */

import { guestPhysical, iova, MapFlag } from '@viommu/common';
import { type FeatureOffer, IommuDevice, TranslateOutcome } from '@viommu/device';
import {
  allocIdentity,
  allocPaging,
  attach,
  detach,
  iotlbSync,
  iotlbSyncMap,
  IommuDriver,
  type IommuDriverOptions,
  mapPages,
  Protection,
  unmapPages,
} from '@viommu/driver';
import { SharedMemory } from '@viommu/ring';
import {
  CONTROL_PAGE_SIZE,
  ControlPage,
  DirectPort,
  MmioDevice,
  MmioTransport,
  RegisterWindow,
} from '@viommu/transport';

const RW = Protection.READ | Protection.WRITE;

export const RAM_BASE = 0x4000_0000n;
export const RAM_BYTES = 0x10_0000;
export const ENDPOINT = 8;
/** An endpoint that the driver is not told of, and whose accesses therefore fault. */
export const STRANGER = 9;

/** The registers of the standard's table, by offset. */
export const R = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  deviceFeatures: 0x010,
  deviceFeaturesSel: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSel: 0x024,
  queueSel: 0x030,
  queueSize: 0x038,
  queueReady: 0x044,
  queueReset: 0x0c0,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  areas: [0x080, 0x090, 0x0a0],
  config: 0x100,
} as const;

/** A register access, a doorbell, or a piece of memory that the driver gave back. */
export interface Recorded {
  readonly kind: 'read' | 'write' | 'ring' | 'free';
  /** Of the register from the start of the window; the queue of a doorbell. */
  readonly offset: number;
  readonly width: number;
  readonly value: number;
}

export interface RecordedGuestOptions {
  /** What the device offers. */
  readonly features?: FeatureOffer;
  /** What the driver sees of the device's offer. */
  readonly offer?: (offered: bigint) => bigint;
  /** Bytes of configuration space, those behind the standard's 40 all ones. */
  readonly configBytes?: number;
}

export class RecordedGuest {
  readonly log: Recorded[] = [];
  readonly memory: SharedMemory;
  readonly device: IommuDevice;
  readonly warnings: string[] = [];
  /** Bends what a read returns. */
  onRead: (offset: number, value: number) => number = (_, value) => value;
  /** Runs at every doorbell. */
  onRing: (queue: number) => void = () => {};
  nowMs = 0;
  readonly #mmio: MmioDevice;
  readonly #port: DirectPort;
  readonly #control: ControlPage;
  readonly #offer: (offered: bigint) => bigint;
  #selector = 0;
  #free: bigint = RAM_BASE;

  constructor({
    features = {},
    offer = (bits) => bits,
    configBytes = 40,
  }: RecordedGuestOptions = {}) {
    const windowBytes = R.config + 4 * Math.ceil(configBytes / 4);
    const buffer = new SharedArrayBuffer(2 * CONTROL_PAGE_SIZE + 0x1000 + RAM_BYTES);
    const ramAt = buffer.byteLength - RAM_BYTES;
    this.#offer = offer;
    this.#control = new ControlPage(buffer, 0);
    const window = new RegisterWindow(buffer, CONTROL_PAGE_SIZE, windowBytes);
    const base = guestPhysical(RAM_BASE);
    this.memory = new SharedMemory({ buffer, offset: ramAt, size: RAM_BYTES, base });
    this.device = new IommuDevice({
      endpoints: [{ id: ENDPOINT }, { id: STRANGER }],
      probeSize: 64,
      features,
    });
    this.#mmio = new MmioDevice({
      window,
      interruptBell: this.#control.interruptBell(0),
      memory: this.memory,
      device: this.device,
    });
    // Last, since the device shows zeros there.
    const behind = new Uint8Array(buffer, CONTROL_PAGE_SIZE + R.config + 40, configBytes - 40);
    behind.fill(0xff);
    this.#port = new DirectPort(window, this.#mmio);
  }

  /** A driver that takes the device over. */
  probe(options: Partial<IommuDriverOptions> = {}): IommuDriver {
    return IommuDriver.probe({
      transport: this.transport(),
      memory: this.memory,
      pages: {
        allocate: (bytes, alignment) => this.#allocate(bytes, alignment),
        free: () => this.#add('free'),
      },
      clock: { now: () => this.nowMs },
      logger: { warn: (message) => this.warnings.push(message) },
      idle: () => {
        this.nowMs += 10;
        this.serve();
      },
      ...options,
    });
  }

  transport(): MmioTransport {
    const doorbells = this.#control.doorbells(0);
    return new MmioTransport({
      port: {
        read: (offset, width) => this.#read(offset, width),
        write: (offset, width, value) => this.#write(offset, width, value),
        post: (offset, width, value) => this.#write(offset, width, value),
      },
      doorbells: {
        ring: (queue, data) => {
          this.#add('ring', queue, 4, data);
          this.onRing(queue);
          doorbells.ring(queue, data);
        },
      },
      interruptBell: this.#control.interruptBell(0),
    });
  }

  /** Lets the device do what there is to do, and ask to be told of more. */
  serve(): void {
    this.#mmio.serve();
    this.#mmio.arm();
  }

  /** An access that faults, so that the device has something to report; false if it cannot. */
  fault(): boolean {
    const dropped = this.device.droppedFaults;
    this.device.iommu.translateRange(STRANGER, iova(0x1000n), 1, MapFlag.READ);
    return this.device.droppedFaults === dropped;
  }

  /**
   * All that a driver does with a device that behaves: it takes it over, has endpoints attached, maps, unmaps, hears of
   * a fault and of a change of configuration, and lets the device go.
   */
  wholeLife(options: Partial<IommuDriverOptions> = {}): void {
    const driver = this.probe(options);
    const endpoint = driver.probeDevice([ENDPOINT]);
    const domain = allocPaging(endpoint);
    mapPages(domain, 1, 1, 1, RW);
    attach(domain, endpoint);
    for (let page = 2; page < 20; page += 1) mapPages(domain, page, page, 1, RW);
    iotlbSyncMap(domain, 2, 18);
    unmapPages(domain, 4, 8);
    iotlbSync(domain);
    this.fault();
    this.announceChange();
    driver.serveEvents();
    void driver.bypass;
    attach(allocIdentity([endpoint]), endpoint);
    detach(endpoint);
    driver.remove();
  }

  /** Maps a page for an endpoint, as a driver does that has nothing else to do; returns its number. */
  mapOnePage(driver: IommuDriver, id: number): number {
    const endpoint = driver.probeDevice([id]);
    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    mapPages(domain, 0x123, 0x456, 1, RW);
    iotlbSyncMap(domain, 0x123, 1);
    return 0x123;
  }

  /** True if the endpoint reaches memory under this page, on the device. */
  reaches(id: number, page: number): boolean {
    const address = iova(BigInt(page) << 12n);
    const { outcome } = this.device.iommu.translateRange(id, address, 1, MapFlag.READ);
    return outcome === TranslateOutcome.OK;
  }

  /** The device says that its configuration changed. */
  announceChange(): void {
    this.#mmio.configChanged();
  }

  /** InterruptStatus as it is, without a trace in the log. */
  get interruptStatus(): number {
    return this.#port.read(R.interruptStatus, 4);
  }

  /** Status likewise. */
  get status(): number {
    return this.#port.read(R.status, 4);
  }

  /** The three areas of a queue, as its registers were written last. */
  areas(queue: number): bigint[] {
    const halves: number[][] = [];
    let selected = 0;
    for (const { kind, offset, value } of this.log) {
      if (kind !== 'write') continue;
      if (offset === R.queueSel) selected = value;
      const area = R.areas.findIndex((low) => offset === low || offset === low + 4);
      if (area >= 0 && selected === queue)
        (halves[area] ??= [])[(offset - R.areas[area]!) / 4] = value; // Found.
    }
    return halves.map(([low = 0, high = 0]) => (BigInt(high) << 32n) | BigInt(low));
  }

  /** The first bytes of the requests that the device has not seen yet, on a split ring without indirect tables. */
  availableTypes(): number[] {
    const [descriptors = 0n, available = 0n, used = 0n] = this.areas(0);
    const at = (address: bigint): number => Number(address - RAM_BASE);
    const size = this.written(R.queueSize)[0] ?? 0;
    const types: number[] = [];
    for (
      let index = this.memory.getUint16(at(used) + 2);
      index !== this.memory.getUint16(at(available) + 2);
      index = (index + 1) & 0xffff
    ) {
      const head = this.memory.getUint16(at(available) + 4 + 2 * (index % size));
      const position = at(descriptors) + 16 * head;
      const [low, high] = [this.memory.getUint32(position), this.memory.getUint32(position + 4)];
      const request = this.memory.locate(low, high, this.memory.getUint32(position + 8));
      types.push(request < 0 ? -1 : this.memory.getUint8(request));
    }
    return types;
  }

  /** The register accesses. */
  registers(): Recorded[] {
    return this.log.filter(({ kind }) => kind === 'read' || kind === 'write');
  }

  /** Everything written to a register, in order. */
  written(offset: number): number[] {
    return this.log.flatMap((entry) =>
      entry.kind === 'write' && entry.offset === offset ? [entry.value] : [],
    );
  }

  #read(offset: number, width: number): number {
    let value = this.#port.read(offset, width);
    if (offset === R.deviceFeatures) {
      const offered = this.#offer(this.device.offeredFeatures);
      value = Number(BigInt.asUintN(32, offered >> BigInt(32 * this.#selector)));
    }
    value = this.onRead(offset, value);
    this.#add('read', offset, width, value);
    return value;
  }

  #write(offset: number, width: number, value: number): void {
    this.#add('write', offset, width, value);
    if (offset === R.deviceFeaturesSel) this.#selector = value;
    this.#port.write(offset, width, value);
  }

  #add(kind: Recorded['kind'], offset = 0, width = 0, value = 0): void {
    this.log.push({ kind, offset, width, value });
  }

  #allocate(bytes: number, alignment: number): ReturnType<typeof guestPhysical> {
    const step = BigInt(alignment);
    const address = ((this.#free + step - 1n) / step) * step;
    this.#free = address + BigInt(bytes);
    return guestPhysical(address);
  }
}
