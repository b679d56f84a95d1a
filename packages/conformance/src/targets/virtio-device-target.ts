/**
 * Any `VirtioDevice` of this project's transport as a target in this thread: our own device, a wrong one made of it, or
 * somebody else's. The registers are those of virtio-mmio, byte for byte.
 */

import { MMIO_WINDOW_SIZE, MmioRegister, guestPhysical } from '@viommu/common';
import { Bell, SharedMemory } from '@viommu/ring';
import { DirectPort, MmioDevice, RegisterWindow, type VirtioDevice } from '@viommu/transport';
import type {
  DeviceTarget,
  DeviceTargetFactory,
  DmaDirection,
  DmaOutcome,
  ResetKind,
  TargetBooks,
  TargetEndpoint,
  TargetWish,
} from '../target.ts';
import { MmioRegisters } from './mmio-registers.ts';

/** A device, and what its platform knows. */
export interface VirtioDeviceParts {
  readonly device: VirtioDevice;
  readonly endpoints: readonly TargetEndpoint[];
  /** What the device knows, if it lets itself be looked at. */
  readonly books?: TargetBooks;
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
  return { name, open: (wish) => new VirtioDeviceTarget(create(wish)) };
}

class VirtioDeviceTarget extends MmioRegisters implements DeviceTarget {
  readonly memory: SharedMemory;
  readonly window: DeviceTarget['window'] = { start: RAM_BASE, bytes: RAM_BYTES };
  readonly transport = 'mmio';
  readonly quietMs = 0;
  readonly resets: readonly ResetKind[] = ['device', 'system'];
  readonly endpoints: readonly TargetEndpoint[];
  readonly dma?: NonNullable<DeviceTarget['dma']>;
  readonly books?: TargetBooks;
  readonly save?: () => void;
  readonly #mmio: MmioDevice;

  constructor({ device, endpoints, dma, books }: VirtioDeviceParts) {
    const buffer = new SharedArrayBuffer(RAM_AT + RAM_BYTES);
    const window = new RegisterWindow(buffer, WINDOW_AT, MMIO_WINDOW_SIZE);
    const memory = new SharedMemory({
      buffer,
      offset: RAM_AT,
      size: RAM_BYTES,
      base: guestPhysical(RAM_BASE),
    });
    const interruptBell = new Bell(new Int32Array(buffer, 0, 1), 0);
    const mmio = new MmioDevice({ window, interruptBell, memory, device });
    super(new DirectPort(window, mmio));
    this.memory = memory;
    this.#mmio = mmio;
    this.endpoints = endpoints;
    if (books !== undefined) this.books = books;
    if (device.save !== undefined)
      this.save = () => {
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
    // A device that always finds more to do is left after as many rounds as no honest one needs.
    for (let rounds = 0; rounds < 10_000; rounds += 1) {
      if (done()) return true;
      if (!this.#mmio.serve()) return done();
    }
    return false;
  }

  reset(kind: Exclude<ResetKind, 'device'>): void {
    if (kind === 'system') this.#mmio.systemReset();
  }

  dispose(): void {}
}
