/** Takes a device from power-up to DRIVER_OK: section "General Initialization". */

import {
  DeviceStatus,
  IommuFeature,
  IommuQueue,
  VirtioFeature,
  featureMask,
  hasFeature,
} from '@viommu/common';
import { PackedRing } from '../ring/packed-ring.ts';
import { SplitRing } from '../ring/split-ring.ts';
import type { TestRing } from '../ring/test-ring.ts';
import type { DeviceTarget } from '../target.ts';
import { Skipped } from '../verdict.ts';
import type { Arena } from './arena.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET } = DeviceStatus;

export interface StartOptions {
  /** Exactly the offered ones of these; without it what the suite can use: all of the IOMMU but the old BYPASS. */
  readonly accept?: bigint;
  /** Bits not to accept. */
  readonly without?: bigint;
  /** Bits to accept besides, if they are offered, such as EVENT_IDX. */
  readonly with?: bigint;
  /** Default 64, or less where the device has less. */
  readonly queueSize?: number;
  /** Buffers of the event queue that are posted before DRIVER_OK; default 16 of 24 bytes. */
  readonly events?: number;
}

/** A device that runs. */
export interface Running {
  readonly accepted: bigint;
  readonly requests: TestRing;
  readonly events: TestRing;
}

export type RingFormat = 'split' | 'packed';

const QUEUE_SIZE = 64;

/** Bits that a driver accepts although they are no choice of the suite's. */
const PLATFORM =
  featureMask(VirtioFeature.VERSION_1) |
  featureMask(VirtioFeature.ACCESS_PLATFORM) |
  featureMask(VirtioFeature.ORDER_PLATFORM);
const IOMMU =
  featureMask(IommuFeature.INPUT_RANGE) |
  featureMask(IommuFeature.DOMAIN_RANGE) |
  featureMask(IommuFeature.MAP_UNMAP) |
  featureMask(IommuFeature.PROBE) |
  featureMask(IommuFeature.MMIO) |
  featureMask(IommuFeature.BYPASS_CONFIG);

/** The bits a driver accepts. */
export function chosenFeatures(offered: bigint, options: StartOptions, format: RingFormat): bigint {
  const ring = format === 'packed' ? featureMask(VirtioFeature.RING_PACKED) : 0n;
  const wanted = (options.accept ?? PLATFORM | IOMMU | ring) | (options.with ?? 0n);
  return offered & wanted & ~(options.without ?? 0n);
}

/** Resets the device and negotiates up to FEATURES_OK. Returns whether the device shows that bit. */
export function negotiate(target: DeviceTarget, features: bigint): boolean {
  target.writeStatus(0);
  target.writeStatus(ACKNOWLEDGE);
  target.writeStatus(ACKNOWLEDGE | DRIVER);
  target.writeFeatures(features);
  target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  return (target.readStatus() & FEATURES_OK) !== 0;
}

/** Makes a queue in fresh memory and programs it. */
export function enableRing(
  target: DeviceTarget,
  arena: Arena,
  queue: number,
  options: { readonly accepted: bigint; readonly size?: number | undefined },
): TestRing {
  const sizeMax = target.queueSizeMax(queue);
  if (sizeMax === 0) throw new Skipped(`the device has no queue ${queue}`);
  const size = Math.min(options.size ?? QUEUE_SIZE, sizeMax);
  // The larger of what either format takes, and a page for alignment.
  const start = arena.allocate(26 * size + 128, 4096n);
  const ring = hasFeature(options.accepted, VirtioFeature.RING_PACKED)
    ? new PackedRing(target.memory, start, size)
    : new SplitRing(target.memory, start, size);
  ring.inOrder = hasFeature(options.accepted, VirtioFeature.IN_ORDER);
  target.enableQueue(queue, ring.layout);
  return ring;
}

/** From whatever state to DRIVER_OK. `prepare` runs before that bit, when both queues are there. */
export function bringUp(
  target: DeviceTarget,
  arena: Arena,
  features: bigint,
  options: { readonly size?: number | undefined; readonly prepare: (events: TestRing) => void },
): Running {
  if (!negotiate(target, features))
    throw new Skipped(`the device refuses the features 0x${features.toString(16)}`);
  const { size } = options;
  const requests = enableRing(target, arena, IommuQueue.REQUEST, { accepted: features, size });
  const events = enableRing(target, arena, IommuQueue.EVENT, { accepted: features, size });
  options.prepare(events);
  target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  const status = target.readStatus();
  if ((status & (DRIVER_OK | DEVICE_NEEDS_RESET)) !== DRIVER_OK)
    throw new Skipped(`the device does not start: its status is 0x${status.toString(16)}`);
  return { accepted: features, requests, events };
}
