/** The registers of one queue: section "MMIO Device Register Layout". */

import { type GuestPhysical, IommuError, checkSaved, guestPhysical } from '@viommu/common';
import {
  type DeviceQueue,
  type DeviceQueueState,
  type GuestMemory,
  QUEUE_STATE_VERSION,
  type QueueFeatures,
  createDeviceQueue,
} from '@viommu/ring';
import type { MmioQueueState } from './mmio-state.ts';

/** The halves of the three addresses, in the order of their registers. */
export const QueueArea = {
  DESCRIPTOR_LOW: 0,
  DESCRIPTOR_HIGH: 1,
  DRIVER_LOW: 2,
  DRIVER_HIGH: 3,
  DEVICE_LOW: 4,
  DEVICE_HIGH: 5,
} as const;

export type QueueArea = (typeof QueueArea)[keyof typeof QueueArea];

/** One queue as the driver programs it. */
export class MmioQueue {
  /** The queue at work; `undefined` while QueueReady is 0. */
  queue: DeviceQueue | undefined = undefined;
  readonly #sizeMax: number;
  readonly #batchUsed: boolean;
  #size = 0;
  readonly #areas: Uint32Array = new Uint32Array(6);

  /** `batchUsed` as in `DeviceQueueOptions`. */
  constructor(sizeMax: number, batchUsed: boolean) {
    this.#sizeMax = sizeMax;
    this.#batchUsed = batchUsed;
  }

  /** The largest size; a split queue has a power of two, so that a driver may take what it reads. */
  sizeMax({ packed = false }: QueueFeatures): number {
    return packed ? this.#sizeMax : 2 ** Math.floor(Math.log2(this.#sizeMax));
  }

  setSize(size: number): void {
    // A driver must not touch the layout of a queue that is ready.
    if (this.queue === undefined) this.#size = size;
  }

  setArea(half: QueueArea, value: number): void {
    if (this.queue === undefined) this.#areas[half] = value;
  }

  /** True if the programmed size is not 0, not above the maximum and, for a split queue, a power of two. */
  sizeValid({ packed = false }: QueueFeatures): boolean {
    const size = this.#size;
    return size > 0 && size <= this.#sizeMax && (packed || (size & (size - 1)) === 0);
  }

  /**
   * Makes the queue ready, with its positions at the start or where `state` has them.
   *
   * @throws {IommuError} `EINVAL` or `EFAULT` for areas that are not aligned or outside memory, or a wrong state.
   */
  enable(memory: GuestMemory, features: QueueFeatures, state?: DeviceQueueState): DeviceQueue {
    this.queue = createDeviceQueue({
      memory,
      layout: {
        size: this.#size,
        descriptorArea: this.#address(QueueArea.DESCRIPTOR_LOW),
        driverArea: this.#address(QueueArea.DRIVER_LOW),
        deviceArea: this.#address(QueueArea.DEVICE_LOW),
      },
      features,
      batchUsed: this.#batchUsed,
      ...(state !== undefined && { state }),
    });
    return this.queue;
  }

  /** Makes the queue not ready; its layout stays programmed. */
  disable(): void {
    this.queue = undefined;
  }

  /** Everything to its first value. */
  reset(): void {
    this.queue = undefined;
    this.#size = 0;
    this.#areas.fill(0);
  }

  /** @throws {IommuError} `EBUSY` while a chain is in the device's hands. */
  save(): MmioQueueState {
    const state = this.queue?.save();
    return {
      size: this.#size,
      ready: state === undefined ? 0 : 1,
      broken: state?.broken === true ? 1 : 0,
      position: state?.position ?? 0,
      descriptorArea: this.#address(QueueArea.DESCRIPTOR_LOW),
      driverArea: this.#address(QueueArea.DRIVER_LOW),
      deviceArea: this.#address(QueueArea.DEVICE_LOW),
    };
  }

  /** Takes over a saved state. @throws {IommuError} `EINVAL` for one that no queue in this memory can be in. */
  restore(
    { size, ready, broken, position, ...areas }: MmioQueueState,
    memory: GuestMemory,
    features: Required<QueueFeatures>,
  ): void {
    this.#size = size;
    const addresses = [areas.descriptorArea, areas.driverArea, areas.deviceArea];
    this.#areas.set(addresses.flatMap((address) => wordsOf(address)));
    checkSaved(ready <= 1 && broken <= ready, 'a queue has a flag that cannot be');
    if (ready === 0) return checkSaved(position === 0, 'a queue has a position and is not ready');
    checkSaved(this.sizeValid(features), 'a queue has a size that it cannot have');
    const version = QUEUE_STATE_VERSION;
    try {
      this.enable(memory, features, { version, size, features, position, broken: broken === 1 });
    } catch (cause) {
      if (!(cause instanceof IommuError)) throw cause;
      throw new IommuError('EINVAL', 'A saved state has a queue that cannot be.', { cause });
    }
  }

  #address(low: 0 | 2 | 4): GuestPhysical {
    const [lowHalf = 0, highHalf = 0] = this.#areas.subarray(low, low + 2);
    return guestPhysical((BigInt(highHalf) << 32n) | BigInt(lowHalf));
  }
}

/** The halves of an address, the low one first. */
function wordsOf(address: bigint): readonly number[] {
  return [Number(address & 0xffff_ffffn), Number(address >> 32n)];
}
