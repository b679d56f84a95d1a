/** Where the parts of a split virtqueue lie: section "Split Virtqueues". */

import {
  AvailableRing,
  Descriptor,
  IommuError,
  QUEUE_SIZE_MAX,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
} from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';
import { locateArea } from './queue-area.ts';
import type { QueueAreaBytes, QueueLayout } from './queue.ts';

/** Sizes of the three parts, in bytes, for a queue of `size` descriptors. */
export function splitQueueBytes(size: number): QueueAreaBytes {
  return {
    descriptorArea: Descriptor.size * size,
    // Each ring ends with the event index that the other side reads.
    driverArea: AvailableRing.size + RING_ENTRY_SIZE * size + RING_ENTRY_SIZE,
    deviceArea: UsedRing.size + UsedElement.size * size + RING_ENTRY_SIZE,
  };
}

/** The parts of a queue as positions in guest memory. */
export interface SplitPositions {
  /** The descriptor table. */
  readonly table: number;
  /** The available ring. */
  readonly available: number;
  /** `used_event`, behind the available ring's entries: written by the driver. */
  readonly usedEvent: number;
  /** The used ring. */
  readonly used: number;
  /** `avail_event`, behind the used ring's elements: written by the device. */
  readonly availableEvent: number;
}

/**
 * Checks a layout and locates its parts.
 *
 * @throws {IommuError} `EINVAL` for a size that is no power of two up to 32768 or an area that is not aligned,
 * `EFAULT` for an area outside the memory.
 */
export function locateSplitQueue(memory: GuestMemory, layout: QueueLayout): SplitPositions {
  const { size } = layout;
  if (!Number.isInteger(size) || size < 1 || size > QUEUE_SIZE_MAX || (size & (size - 1)) !== 0)
    throw new IommuError('EINVAL', `A split queue cannot have ${size} descriptors.`);
  const bytes = splitQueueBytes(size);
  const table = locateArea(memory, layout.descriptorArea, bytes.descriptorArea, 16);
  const available = locateArea(memory, layout.driverArea, bytes.driverArea, 2);
  const used = locateArea(memory, layout.deviceArea, bytes.deviceArea, 4);
  return {
    table,
    available,
    usedEvent: available + bytes.driverArea - RING_ENTRY_SIZE,
    used,
    availableEvent: used + bytes.deviceArea - RING_ENTRY_SIZE,
  };
}

/**
 * The event rule, for both directions: section "Split Virtqueues / Used Buffer Notification Suppression".
 * True if the step of an index from `before` to `now` passes `event`.
 */
export function passesEvent(event: number, now: number, before: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}
