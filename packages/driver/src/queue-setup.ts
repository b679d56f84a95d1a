/** Makes a queue in guest memory, which the device does not know yet. */

import { IommuError, guestPhysical } from '@viommu/common';
import {
  type DriverQueue,
  type QueueFeatures,
  type QueueLayout,
  createDriverQueue,
  queueBytes,
} from '@viommu/ring';
import type { DriverTransport } from '@viommu/transport';
import type { DmaMemory, DmaPiece } from './dma-memory.ts';

const CACHE_LINE = 64;
const DESCRIPTOR_BYTES = 16;

export interface QueueSetup {
  readonly transport: DriverTransport;
  readonly dma: DmaMemory;
  readonly index: number;
  readonly features: QueueFeatures;
  /** The most descriptors worth having. */
  readonly sizeMax: number;
  /** Buffers of the chains that an indirect table is for; 1 means none. */
  readonly buffersPerChain: number;
}

/** A queue ready to be enabled. */
export interface PreparedQueue {
  readonly queue: DriverQueue;
  readonly layout: QueueLayout;
  /** The memory it lies in. */
  readonly piece: DmaPiece;
}

/**
 * Takes memory for a queue and makes the driver's side.
 *
 * @throws {IommuError} `ENODEV` if the device has no such queue, `ENOMEM` if there is no memory, or what the transport
 * fails with.
 */
export function prepareQueue(setup: QueueSetup): PreparedQueue {
  const { transport, dma, index, features, buffersPerChain } = setup;
  const sizeMax = Math.min(setup.sizeMax, transport.queueSizeMax(index));
  if (sizeMax < 1) throw new IommuError('ENODEV', `The IOMMU has no queue ${index}.`);
  const packed = features.packed === true;
  // Split queues have no other sizes.
  const size = packed ? sizeMax : 2 ** Math.floor(Math.log2(sizeMax));
  const bytes = queueBytes(size, packed);
  // Each part on lines of its own: the two sides write to different ones.
  const driverArea = lines(bytes.descriptorArea);
  const deviceArea = driverArea + lines(bytes.driverArea);
  const tables = deviceArea + lines(bytes.deviceArea);
  const indirect = features.indirect && buffersPerChain > 1;
  const tableBytes = indirect ? size * buffersPerChain * DESCRIPTOR_BYTES : 0;
  const piece = dma.take(tables + tableBytes, CACHE_LINE);
  const part = (offset: number): ReturnType<typeof guestPhysical> =>
    guestPhysical(piece.address + BigInt(offset));
  const layout = {
    size,
    descriptorArea: part(0),
    driverArea: part(driverArea),
    deviceArea: part(deviceArea),
  };
  const options = { memory: dma.memory, layout, features };
  const queue = createDriverQueue(
    indirect ? { ...options, indirect: { address: part(tables), buffersPerChain } } : options,
  );
  return { queue, layout, piece };
}

function lines(bytes: number): number {
  return Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
}
