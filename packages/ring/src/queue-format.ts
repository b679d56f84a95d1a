/** Picks the format of a queue: bit 34 decides it for all queues of a device. */

import { PackedDeviceQueue } from './packed-device-queue.ts';
import { PackedDriverQueue } from './packed-driver-queue.ts';
import { packedQueueBytes } from './packed-layout.ts';
import type {
  DeviceQueue,
  DeviceQueueOptions,
  DriverQueue,
  DriverQueueOptions,
  QueueAreaBytes,
} from './queue.ts';
import { SplitDeviceQueue } from './split-device-queue.ts';
import { SplitDriverQueue } from './split-driver-queue.ts';
import { splitQueueBytes } from './split-layout.ts';

/** The device's side of a queue. @throws {IommuError} `EINVAL` or `EFAULT` for a layout that cannot be used. */
export function createDeviceQueue(options: DeviceQueueOptions): DeviceQueue {
  return options.features.packed === true
    ? new PackedDeviceQueue(options)
    : new SplitDeviceQueue(options);
}

/** The driver's side of a queue. @throws {IommuError} `EINVAL` or `EFAULT` for a layout that cannot be used. */
export function createDriverQueue(options: DriverQueueOptions): DriverQueue {
  return options.features.packed === true
    ? new PackedDriverQueue(options)
    : new SplitDriverQueue(options);
}

/** Sizes of the parts of a queue in bytes. */
export function queueBytes(size: number, packed: boolean): QueueAreaBytes {
  return packed ? packedQueueBytes(size) : splitQueueBytes(size);
}
