/**
 * What a saved register window holds, besides the device behind it, and which of it can be true. Decision 0012.
 *
 * The window itself is not part of it: it shows what stands here.
 */

import {
  DeviceStatus,
  type ImageReader,
  type ImageType,
  InterruptBit,
  type Struct,
  type StructValue,
  checkSaved,
  struct,
} from '@viommu/common';
import { type GuestMemory, queueFeatures } from '@viommu/ring';
import { isPossibleStatus } from './device-status.ts';
import type { FeatureNegotiation } from './feature-negotiation.ts';
import type { MmioQueue } from './mmio-queue.ts';

export const MMIO_IMAGE: ImageType = { kind: 1, version: 1 };

const fields = {
  deviceId: 'le32',
  queues: 'le32',
  status: 'u8',
  interruptStatus: 'u8',
  /** A change of the configuration of which the driver hears at DRIVER_OK. */
  configPending: 'u8',
  /** The driver set a feature bit above 63. */
  foreignFeatures: 'u8',
  deviceFeaturesSelector: 'le32',
  driverFeaturesSelector: 'le32',
  queueSelector: 'le32',
  configGeneration: 'le32',
  /** As written so far. */
  driverFeatures: 'le64',
  /** As negotiated; 0 before FEATURES_OK. */
  features: 'le64',
} as const;
/** Comes first; the queues follow, and then the device. */
export const MmioState: Struct<typeof fields> = struct('viommu_mmio_state', 44, fields);

const queueFields = {
  /** As written, and so any number while the queue is not ready. */
  size: 'le32',
  ready: 'u8',
  broken: 'u8',
  /** As in `QueueState`; 0 while the queue is not ready. */
  position: 'le16',
  descriptorArea: 'le64',
  driverArea: 'le64',
  deviceArea: 'le64',
} as const;
export const MmioQueueState: Struct<typeof queueFields> = struct(
  'viommu_mmio_queue_state',
  32,
  queueFields,
);
export type MmioQueueState = StructValue<typeof queueFields>;

/** The values of registers, and what else changes with them. */
export type MmioRegisters = Pick<
  StructValue<typeof fields>,
  | 'status'
  | 'interruptStatus'
  | 'configPending'
  | 'deviceFeaturesSelector'
  | 'driverFeaturesSelector'
  | 'queueSelector'
  | 'features'
>;

/** After a reset. */
export function initialRegisters(): MmioRegisters {
  return {
    status: 0,
    interruptStatus: 0,
    configPending: 0,
    deviceFeaturesSelector: 0,
    driverFeaturesSelector: 0,
    queueSelector: 0,
    features: 0n,
  };
}

const { DEVICE_NEEDS_RESET, DRIVER_OK, FAILED, FEATURES_OK } = DeviceStatus;

/** True from DRIVER_OK on, unless the device failed or needs a reset. */
export function isLive(status: number): boolean {
  return (status & (DRIVER_OK | FAILED | DEVICE_NEEDS_RESET)) === DRIVER_OK;
}

/**
 * Reads all but what the device itself saved, the queues into `queues`, which are as after a reset.
 *
 * @throws {IommuError} `EINVAL` for what cannot be true of the device.
 */
export function readMmioState(
  image: ImageReader,
  deviceId: number,
  negotiation: FeatureNegotiation,
  queues: readonly MmioQueue[],
  memory: GuestMemory,
): StructValue<typeof fields> {
  const state = image.read(MmioState);
  const { status, features, interruptStatus, configPending } = state;
  checkSaved(
    state.deviceId === deviceId && state.queues === queues.length,
    'it is of another device',
  );
  checkSaved(isPossibleStatus(status), 'no device has such a status');
  const settled = (status & FEATURES_OK) !== 0;
  checkSaved(
    settled ? negotiation.isChoice(features) : features === 0n,
    'its features cannot be negotiated',
  );
  checkSaved(
    (interruptStatus & ~(InterruptBit.USED_BUFFER | InterruptBit.CONFIG_CHANGE)) === 0 &&
      (interruptStatus === 0 || (status & DRIVER_OK) !== 0),
    'it has an interrupt that cannot be',
  );
  checkSaved(
    configPending <= (status === 0 || isLive(status) ? 0 : 1) && state.foreignFeatures <= 1,
    'it has a flag that cannot be',
  );
  for (const queue of queues) {
    queue.restore(image.read(MmioQueueState), memory, queueFeatures(features));
    checkSaved(settled || queue.queue === undefined, 'a queue is ready before FEATURES_OK');
  }
  return state;
}
