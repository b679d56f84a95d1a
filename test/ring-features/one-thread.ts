/**
 * Driver, transport and device in one thread, with a device that sleeps: it works when a doorbell wakes it, takes what
 * there is, asks for the next notification, and sleeps again. A notification that is missing leaves requests lying.
 */

import { guestPhysical } from '@viommu/common';
import { IommuDevice, type IommuDeviceOptions } from '@viommu/device';
import { type FaultReport, IommuDriver, type IommuDriverOptions } from '@viommu/driver';
import {
  type Chain,
  type ChainHandler,
  type DeviceQueue,
  Popped,
  type QueueLayout,
  SharedMemory,
} from '@viommu/ring';
import {
  ControlPage,
  DirectPort,
  type Doorbells,
  MmioDevice,
  MmioTransport,
  RegisterWindow,
} from '@viommu/transport';
import { type Combination, acceptedFeatures } from './combination.ts';

const BASE = 0x4000_0000n;
const RAM_BYTES = 1 << 20;
/** More rounds of a wait than any of these tests needs. */
const TIMEOUT_MS = 200;

export interface OneThreadOptions extends IommuDeviceOptions {
  readonly combination: Combination;
  readonly requestQueueSize?: number;
  readonly eventQueueSize?: number;
  /** What the driver accepts, if it is not what the combination says. */
  readonly acceptOnly?: bigint;
}

/** One chain as the device gave it back. */
export interface UsedChain {
  readonly id: number;
  /** The bytes of the request. */
  readonly request: Uint8Array;
  readonly writtenBytes: number;
}

/** What the device does with one queue. */
export class WatchedQueue implements DeviceQueue {
  readonly size: number;
  /** Ids in the order in which the chains were taken. */
  readonly taken: number[] = [];
  readonly used: UsedChain[] = [];
  /** Slots of a packed ring behind the device. */
  slots = 0;
  readonly #queue: DeviceQueue;

  constructor(queue: DeviceQueue) {
    this.#queue = queue;
    this.size = queue.size;
  }

  get fault(): string | undefined {
    return this.#queue.fault;
  }

  pop(chain: Chain): Popped {
    const popped = this.#queue.pop(chain);
    if (popped === Popped.CHAIN) {
      this.taken.push(chain.id);
      this.slots += chain.slots;
    }
    return popped;
  }

  /** One by one, to see each of them. */
  serve(handler: ChainHandler, chain: Chain, most: number): number {
    let count = 0;
    while (count < most && this.pop(chain) === Popped.CHAIN) {
      this.push(chain, handler.handleChain(chain));
      count += 1;
    }
    return count;
  }

  push(chain: Chain, writtenBytes: number): void {
    const request = new Uint8Array(chain.readableBytes);
    chain.read(0, request, 0, request.length);
    this.used.push({ id: chain.id, request, writtenBytes });
    this.#queue.push(chain, writtenBytes);
  }

  publish(): boolean {
    return this.#queue.publish();
  }

  ready(): boolean {
    return this.#queue.ready();
  }

  armNotification(): boolean {
    return this.#queue.armNotification();
  }

  suppressNotification(): void {
    this.#queue.suppressNotification();
  }

  save(): ReturnType<DeviceQueue['save']> {
    return this.#queue.save();
  }
}

class WatchedDevice extends IommuDevice {
  /** Every queue there ever was, by index and in order. */
  readonly queues: [requests: WatchedQueue[], events: WatchedQueue[]] = [[], []];

  override queueStarted(index: number, queue: DeviceQueue): void {
    const watched = new WatchedQueue(queue);
    this.queues[index]?.push(watched);
    super.queueStarted(index, watched);
  }
}

class WatchedTransport extends MmioTransport {
  /** By queue: where it lies. */
  readonly layouts: QueueLayout[] = [];

  override enableQueue(index: number, layout: QueueLayout): void {
    this.layouts[index] = layout;
    super.enableQueue(index, layout);
  }
}

export class OneThread implements Doorbells {
  readonly memory: SharedMemory;
  readonly device: WatchedDevice;
  readonly mmio: MmioDevice;
  readonly transport: WatchedTransport;
  readonly driver: IommuDriver;
  readonly combination: Combination;
  readonly faults: FaultReport[] = [];
  /** What was written to QueueNotify. */
  readonly rung: (readonly [queue: number, data: number])[] = [];
  /** For each time the doorbell of requests woke the device: what it said last, and where the device stood after. */
  readonly heard: (readonly [data: number, position: number])[] = [];
  /** True: no doorbell wakes the device. */
  asleep = false;
  /** How many requests the device found at most when it woke. */
  largestBurst = 0;
  readonly #control: ControlPage;
  #awake = true;
  #said: number | undefined = undefined;
  #nowMs = 0;
  #free = BASE;

  constructor(settings: OneThreadOptions) {
    const { combination, requestQueueSize, eventQueueSize, acceptOnly, ...options } = settings;
    const buffer = new SharedArrayBuffer(0x2000 + RAM_BYTES);
    const base = guestPhysical(BASE);
    this.combination = combination;
    this.#control = new ControlPage(buffer, 0);
    this.memory = new SharedMemory({ buffer, offset: 0x2000, size: RAM_BYTES, base });
    const window = new RegisterWindow(buffer, 0x1000);
    const interruptBell = this.#control.interruptBell(0);
    this.device = new WatchedDevice(options);
    const { memory, device } = this;
    this.mmio = new MmioDevice({ window, interruptBell, memory, device });
    const port = new DirectPort(window, this.mmio);
    this.transport = new WatchedTransport({ port, doorbells: this, interruptBell });
    const driverOptions: IommuDriverOptions = {
      transport: this.transport,
      memory,
      pages: { allocate: (bytes, alignment) => this.#allocate(bytes, alignment) },
      // Time passes with every look at the clock.
      clock: { now: () => (this.#nowMs += 1) },
      features: acceptOnly ?? acceptedFeatures(combination),
      timeoutMs: TIMEOUT_MS,
      idle: () => this.work(),
      onFault: (report) => this.faults.push(report),
      ...(requestQueueSize !== undefined && { requestQueueSize }),
      ...(eventQueueSize !== undefined && { eventQueueSize }),
    };
    this.driver = IommuDriver.probe(driverOptions);
    this.work();
  }

  ring(queue: number, data: number): void {
    this.rung.push([queue, data]);
    if (queue === 0) this.#said = data;
    this.#awake = true;
  }

  /** The host's turn. */
  work(): void {
    if (!this.#awake || this.asleep) return;
    const before = this.requests.used.length;
    this.mmio.suppress();
    do while (this.mmio.serve());
    while (!this.mmio.arm());
    this.#awake = false;
    this.largestBurst = Math.max(this.largestBurst, this.requests.used.length - before);
    if (this.#said !== undefined) this.heard.push([this.#said, this.position]);
    this.#said = undefined;
  }

  /** The request queue as it is now. */
  get requests(): WatchedQueue {
    return this.device.queues[0].at(-1) ?? fail('the request queue is not enabled');
  }

  get events(): WatchedQueue {
    return this.device.queues[1].at(-1) ?? fail('the event queue is not enabled');
  }

  /** Where the device stands in the request queue: what NOTIFICATION_DATA says of a driver that is not ahead of it. */
  get position(): number {
    const { size, slots, taken } = this.requests;
    if (!this.combination.packed) return taken.length & 0xffff;
    const wrap = Math.floor(slots / size) % 2 === 0 ? 0x8000 : 0;
    return (slots % size) | wrap;
  }

  /** Where the parts of the request queue lie in memory. */
  get parts(): Readonly<Record<'descriptors' | 'driver' | 'device', number>> {
    const layout = this.transport.layouts[0] ?? fail('the request queue is not enabled');
    return {
      descriptors: Number(layout.descriptorArea - BASE),
      driver: Number(layout.driverArea - BASE),
      device: Number(layout.deviceArea - BASE),
    };
  }

  /** A copy of all guest memory. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(RAM_BYTES);
    this.memory.read(0, bytes, 0, RAM_BYTES);
    return bytes;
  }

  /** Rings of the interrupt so far. */
  get interrupts(): number {
    return this.transport.interruptBell.value();
  }

  #allocate(bytes: number, alignment: number): ReturnType<typeof guestPhysical> {
    const step = BigInt(alignment);
    const address = ((this.#free + step - 1n) / step) * step;
    this.#free = address + BigInt(bytes);
    return guestPhysical(address);
  }
}

function fail(message: string): never {
  throw new Error(message);
}
