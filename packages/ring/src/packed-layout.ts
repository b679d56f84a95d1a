/** Where the parts of a packed virtqueue lie, and its notification rule: section "Packed Virtqueues". */

import {
  EVENT_OFFSET_MASK,
  EVENT_WRAP,
  EventMode,
  EventSuppression,
  IommuError,
  PackedDescriptor,
  QUEUE_SIZE_MAX,
} from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';
import { locateArea } from './queue-area.ts';
import type { QueueAreaBytes, QueueLayout } from './queue.ts';

// Constants of this module cost nothing on the hot path; imported ones are looked up each time.
const { DISABLE, DESCRIPTOR, ENABLE } = EventMode;
const { desc: DESC, flags: FLAGS } = EventSuppression.offset;
const MODE_MASK = 0x3;
const OFFSET_MASK = EVENT_OFFSET_MASK;
const WRAP = EVENT_WRAP;

/** Sizes of the three parts, in bytes, for a packed queue of `size` descriptors. */
export function packedQueueBytes(size: number): QueueAreaBytes {
  return {
    descriptorArea: PackedDescriptor.size * size,
    driverArea: EventSuppression.size,
    deviceArea: EventSuppression.size,
  };
}

/** The parts of a packed queue as positions in guest memory. */
export interface PackedPositions {
  /** The descriptor ring. */
  readonly ring: number;
  /** Driver event suppression: what the driver says of used-buffer notifications. */
  readonly driverEvent: number;
  /** Device event suppression: what the device says of available-buffer notifications. */
  readonly deviceEvent: number;
}

/**
 * Checks a layout and locates its parts.
 *
 * @throws {IommuError} `EINVAL` for a size outside 1..32768 or an area that is not aligned, `EFAULT` for an area
 * outside the memory.
 */
export function locatePackedQueue(memory: GuestMemory, layout: QueueLayout): PackedPositions {
  const { size } = layout;
  if (!Number.isInteger(size) || size < 1 || size > QUEUE_SIZE_MAX)
    throw new IommuError('EINVAL', `A packed queue cannot have ${size} descriptors.`);
  const bytes = packedQueueBytes(size);
  return {
    ring: locateArea(memory, layout.descriptorArea, bytes.descriptorArea, 16),
    driverEvent: locateArea(memory, layout.driverArea, bytes.driverArea, 4),
    deviceEvent: locateArea(memory, layout.deviceArea, bytes.deviceArea, 4),
  };
}

/**
 * True if the other side wants to be notified of the `count` slots that end before slot `next` of the lap with `wrap`.
 * `event` is the position of its event suppression structure.
 */
export function wantsNotification(
  memory: GuestMemory,
  event: number,
  eventIndex: boolean,
  size: number,
  next: number,
  wrap: boolean,
  count: number,
): boolean {
  // The other side writes `desc` before `flags`, so that a mode seen here comes with its descriptor.
  const mode = memory.loadUint16(event + FLAGS) & MODE_MASK;
  if (mode === DISABLE) return false;
  // A reserved mode, and the descriptor mode without its feature, notify.
  if (mode !== DESCRIPTOR || !eventIndex) return true;
  const word = memory.loadUint16(event + DESC);
  // Slots back from `next`: 1 is the last one done; a slot of the lap before lies one ring further back.
  const lap = ((word & WRAP) !== 0) === wrap ? 0 : size;
  const back = next - (word & OFFSET_MASK) + lap;
  return back >= 1 && back <= count;
}

/** Asks to be notified at slot `next` of the lap with `wrap`, or at once without the feature. */
export function armEvent(
  memory: GuestMemory,
  event: number,
  eventIndex: boolean,
  next: number,
  wrap: boolean,
): void {
  if (eventIndex) memory.storeUint16(event + DESC, next | (wrap ? WRAP : 0));
  memory.storeUint16(event + FLAGS, eventIndex ? DESCRIPTOR : ENABLE);
}

/** Says that no notification is needed. */
export function suppressEvent(memory: GuestMemory, event: number): void {
  memory.storeUint16(event + FLAGS, DISABLE);
}
