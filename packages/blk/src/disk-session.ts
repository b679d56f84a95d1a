/** What one initialisation of a disk makes: section "Device Initialization". */

import { type Context, IommuError, VirtioFeature, featureSet, hasFeature } from '@viommu/common';
import type { ChosenDma, Device, DmaOps } from '@viommu/iommu';
import { queueFeatures } from '@viommu/ring';
import type { DriverTransport } from '@viommu/transport';
import { DiskQueue } from './disk-queue.ts';
import { type DriverConfig, readCapacity, readDriverConfig } from './driver-config.ts';
import type { BlkDriverOptions } from './driver-options.ts';
import type { RequestBook } from './request-book.ts';
import { BlkFeature } from './spec/feature.ts';
import { SECTOR_BYTES } from './spec/identity.ts';

/** With head and status as many descriptors as the default depth, so that a ring has no more than that. */
const SEGMENTS = 62;

/** No guest has a larger piece of memory; and a number without an end would not be a small integer. */
const PIECE_BYTES_MAX = 0x4000_0000;

/** The features that the driver accepts wherever they are offered. */
export const BLK_DRIVER_FEATURES: bigint = featureSet([
  BlkFeature.SIZE_MAX,
  BlkFeature.SEG_MAX,
  BlkFeature.RO,
  BlkFeature.BLK_SIZE,
  BlkFeature.FLUSH,
  BlkFeature.MQ,
  BlkFeature.DISCARD,
  BlkFeature.WRITE_ZEROES,
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.VERSION_1,
  VirtioFeature.ACCESS_PLATFORM,
  VirtioFeature.RING_PACKED,
  VirtioFeature.IN_ORDER,
  VirtioFeature.NOTIFICATION_DATA,
  VirtioFeature.RING_RESET,
]);

/** A device that is live, until it is reset. */
export class DiskSession {
  /** The negotiated bits. */
  readonly features: bigint;
  readonly config: DriverConfig;
  readonly readOnly: boolean;
  /** The DMA operations, chosen once. */
  readonly ops: DmaOps;
  /** Sectors of the disk; a device may change them. */
  capacity: number;
  /** The most bytes of one piece of data, and the most pieces. */
  readonly pieceBytesMax: number;
  readonly segmentsMax: number;
  readonly queues: DiskQueue[] = [];
  readonly #transport: DriverTransport;
  readonly #device: Device;
  readonly #chosen: ChosenDma;

  /**
   * Takes the device over; `perQueue` requests of `book` go into each queue.
   *
   * @throws {IommuError} as `BlkDriver.probe`; the device is reset then, and nothing is kept.
   */
  constructor(options: BlkDriverOptions, context: Context, book: RequestBook, perQueue: number) {
    const { transport, device, memory, dma, queues = 1, segmentsMax = SEGMENTS } = options;
    this.#transport = transport;
    this.#device = device;
    let ops: DmaOps | undefined = undefined;
    try {
      this.features = transport.negotiate({
        wanted: BLK_DRIVER_FEATURES & (options.features ?? BLK_DRIVER_FEATURES),
        required: dma.requiredFeatures(device),
      });
      this.config = readDriverConfig(transport, this.features);
      this.capacity = this.config.capacity;
      this.readOnly = this.has(BlkFeature.RO);
      this.#chosen = dma.choose(device, this.features);
      ops = this.#chosen.ops;
      this.ops = ops;
      const count = Math.min(queues, this.config.queues);
      for (let index = 0; index < count; index += 1) {
        const queue = new DiskQueue({
          context,
          device,
          ops,
          memory,
          features: queueFeatures(this.features),
          sizeMax: transport.queueSizeMax(index),
          depth: perQueue,
          segmentsMax: Math.min(this.config.segmentsMax, segmentsMax),
          book,
          firstToken: index * perQueue,
        });
        this.queues.push(queue);
        transport.enableQueue(index, queue.layout);
      }
      this.segmentsMax = Math.min(...this.queues.map((queue) => queue.segmentsMax));
      const bytesMax = Math.min(
        this.config.segmentBytesMax,
        ops.mappingBytesMax(device),
        PIECE_BYTES_MAX,
      );
      this.pieceBytesMax = bytesMax - (bytesMax % SECTOR_BYTES);
      // Pieces are joined into segments of at most so many bytes.
      device.segmentBytesMax = Math.min(device.segmentBytesMax, this.config.segmentBytesMax);
      transport.driverOk();
      this.#chosen.seal();
    } catch (error) {
      this.#abandon(context, ops);
      throw error;
    }
  }

  has(feature: number): boolean {
    return hasFeature(this.features, feature);
  }

  /**
   * Shows the device all requests added so far, with one wait for the memory of all of them, and tells it if it wants to
   * be told.
   */
  kick(): void {
    const { queues } = this;
    for (let index = 0; index < queues.length; index += 1) {
      const queue = queues[index]!; // Below the length.
      if (queue.publish(this.#device, this.ops)) this.#transport.notify(index, queue.ring.position);
    }
  }

  /** Requests that the device was not shown yet. */
  get staged(): number {
    let count = 0;
    for (let index = 0; index < this.queues.length; index += 1) count += this.queues[index]!.staged; // Below the length.
    return count;
  }

  /** Reads the size of the disk again. @throws {IommuError} `EINVAL` or `EIO` if it makes no sense. */
  readCapacity(): void {
    this.capacity = readCapacity(this.#transport);
  }

  /** Resets the device. False if it does not go along: it may still use everything it was told about. */
  end(): boolean {
    this.#chosen.unseal();
    try {
      this.#transport.reset();
      return true;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      return false;
    }
  }

  /** Gives the queues' memory back, once the device was reset. A context that has to wait in there may call again. */
  free(context: Context): void {
    for (let last = this.queues.at(-1); last !== undefined; last = this.queues.at(-1)) {
      this.ops.freeCoherent(context, this.#device, last.coherent);
      this.queues.pop();
    }
  }

  /** Undoes what an initialisation made, as far as the device lets. */
  #abandon(context: Context, ops: DmaOps | undefined): void {
    const transport = this.#transport;
    try {
      transport.reset();
      transport.fail();
    } catch (error) {
      // The first failure is the one to tell. Memory that the device may still write to is not given back.
      if (!(error instanceof IommuError)) throw error;
      return;
    }
    for (const { coherent } of this.queues) ops?.freeCoherent(context, this.#device, coherent);
  }
}
