/**
 * Any `VirtioDevice` of this project's transport as a target in this thread: our own device, a wrong one made of it, or
 * somebody else's. The registers are those of virtio-mmio, byte for byte.
 */

import { MMIO_WINDOW_SIZE, MmioRegister, guestPhysical } from '@viommu/common';
import { Bell, SharedMemory } from '@viommu/ring';
import {
  DirectPort,
  MmioDevice,
  type RegisterDevice,
  RegisterWindow,
  type VirtioDevice,
} from '@viommu/transport';
import type {
  DeviceTarget,
  DeviceTargetFactory,
  DmaDirection,
  DmaOutcome,
  ResetKind,
  TargetBooks,
  TargetEndpoint,
  TargetLimits,
  TargetWish,
} from '../target.ts';
import { MmioRegisters } from './mmio-registers.ts';

/** A device, and what its platform knows. */
export interface VirtioDeviceParts {
  readonly device: VirtioDevice;
  readonly endpoints: readonly TargetEndpoint[];
  /** What the device knows, if it lets itself be looked at. */
  readonly books?: TargetBooks;
  /** How much it keeps, if that is little. */
  readonly limits?: TargetLimits;
  /** One access by an endpoint, translated by the device, to memory by guest-physical address. */
  readonly dma?: (
    endpoint: number,
    direction: DmaDirection,
    iova: bigint,
    bytes: Uint8Array,
    memory: SharedMemory,
  ) => DmaOutcome;
}

const RAM_BASE = 0x4000_0000n;
const RAM_BYTES = 0x10_0000;
const WINDOW_AT = 0x1000;
const RAM_AT = 0x2000;

/** Makes targets of whatever `create` makes. */
export function virtioDeviceTarget(
  name: string,
  create: (wish: TargetWish) => VirtioDeviceParts,
): DeviceTargetFactory {
  const open = (wish: TargetWish, free: SharedArrayBuffer[]): DeviceTarget =>
    new VirtioDeviceTarget(create(wish), wish.memoryStart ?? RAM_BASE, free);
  return {
    name,
    open: (wish) => open(wish, []),
    kept() {
      // Memory that one target leaves is the next one's: thousands of them would wait for the collector.
      const free: SharedArrayBuffer[] = [];
      return { ...this, open: (wish) => open(wish, free) };
    },
  };
}

class VirtioDeviceTarget extends MmioRegisters implements DeviceTarget {
  readonly memory: SharedMemory;
  readonly window: DeviceTarget['window'];
  readonly transport = 'mmio';
  readonly quietMs = 0;
  readonly resets: readonly ResetKind[] = ['device', 'system'];
  readonly endpoints: readonly TargetEndpoint[];
  readonly dma?: NonNullable<DeviceTarget['dma']>;
  readonly books?: TargetBooks;
  readonly limits?: TargetLimits;
  readonly save?: () => void;
  readonly #mmio: MmioDevice;
  readonly #host: Host;
  #buffer: SharedArrayBuffer | undefined;
  readonly #free: SharedArrayBuffer[];

  /** `free` is memory that nobody needs, and takes this one's in the end. */
  constructor(
    { device, endpoints, dma, books, limits }: VirtioDeviceParts,
    start: bigint,
    free: SharedArrayBuffer[],
  ) {
    const used = free.pop();
    if (used !== undefined) new Uint8Array(used).fill(0);
    const buffer = used ?? new SharedArrayBuffer(RAM_AT + RAM_BYTES);
    const window = new RegisterWindow(buffer, WINDOW_AT, MMIO_WINDOW_SIZE);
    const memory = new SharedMemory({
      buffer,
      offset: RAM_AT,
      size: RAM_BYTES,
      base: guestPhysical(start),
    });
    const interruptBell = new Bell(new Int32Array(buffer, 0, 1), 0);
    const mmio = new MmioDevice({ window, interruptBell, memory, device });
    const host = new Host(mmio);
    super(new DirectPort(window, host));
    this.#buffer = buffer;
    this.#free = free;
    this.memory = memory;
    this.window = { start, bytes: RAM_BYTES };
    this.#mmio = mmio;
    this.#host = host;
    if (limits !== undefined) this.limits = limits;
    this.endpoints = endpoints;
    if (books !== undefined) this.books = books;
    if (device.save !== undefined)
      this.save = () => {
        host.wake();
        const image = mmio.save();
        // What the image does not bring back is lost.
        mmio.systemReset();
        mmio.restore(image);
      };
    if (dma !== undefined)
      this.dma = (endpoint, direction, iova, bytes) =>
        dma(endpoint, direction, iova, bytes, memory);
  }

  /** The registers say all there is to say; {@link wait} looks at the queues. */
  notify(queue: number, data?: number): void {
    const value = data === undefined ? queue : (queue | (data << 16)) >>> 0;
    this.registers.write(MmioRegister.QueueNotify, 4, value);
  }

  wait(done: () => boolean): boolean {
    const did = this.#host.work(done);
    this.#host.rest();
    return did;
  }

  reset(kind: Exclude<ResetKind, 'device'>): void {
    this.#host.wake();
    if (kind === 'system') this.#mmio.systemReset();
  }

  dispose(): void {
    if (this.#buffer !== undefined) this.#free.push(this.#buffer);
    this.#buffer = undefined;
  }
}

/** Rounds of work after which a device that always finds more to do is left: no honest one needs as many. */
const ROUNDS_MAX = 10_000;

/**
 * What serves the device: at times it stays awake, with the driver told that no notifications are needed, and at times it
 * sleeps until there is one, so that one which never comes is missed.
 */
class Host implements RegisterDevice {
  readonly #mmio: MmioDevice;
  #asleep = false;
  #rests = 0;

  constructor(mmio: MmioDevice) {
    this.#mmio = mmio;
  }

  write(offset: number, width: number, value: number): void {
    // All but an acknowledgement, which nobody waits for.
    if (offset !== MmioRegister.InterruptACK) this.wake();
    this.#mmio.write(offset, width, value);
  }

  serve(): boolean {
    return this.#mmio.serve();
  }

  arm(): boolean {
    return this.#mmio.arm();
  }

  suppress(): void {
    this.#mmio.suppress();
  }

  wake(): void {
    if (this.#asleep) this.#mmio.suppress();
    this.#asleep = false;
  }

  /** Serves until `done` says so, or nothing is left to do; false if it is not done then. */
  work(done: () => boolean): boolean {
    for (let rounds = 0; rounds < ROUNDS_MAX; rounds += 1) {
      if (done()) return true;
      if (this.#asleep || !this.#mmio.serve()) return done();
    }
    return false;
  }

  /** Goes to sleep every other time, if there is nothing to do. */
  rest(): void {
    this.#rests += 1;
    if (this.#asleep || this.#rests % 2 === 1) return;
    for (let rounds = 0; rounds < ROUNDS_MAX && this.#mmio.serve(); rounds += 1);
    this.#asleep = this.#mmio.arm();
  }
}
