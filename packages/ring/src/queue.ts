/**
 * The two sides of a virtqueue, whatever its format: section "Virtqueues".
 *
 * Neither side waits, notifies or reads a clock. They say when a notification is due, and a shell sends it.
 */

import { type GuestPhysical, VirtioFeature, hasFeature } from '@viommu/common';
import type { BufferList } from './buffer-list.ts';
import type { Chain } from './chain.ts';
import type { IndirectTablesOptions } from './descriptor-table.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { DeviceQueueState, DriverQueueState } from './queue-state.ts';

/**
 * Where a queue lies and how large it is. The two sides may call the same memory by different addresses: a driver makes
 * its side with those of guest memory, and programs those of the device into the transport.
 */
export interface QueueLayout {
  /** Number of descriptors; a power of two for split queues, 1..32768. */
  readonly size: number;
  /** Descriptor table, or packed ring: aligned to 16. */
  readonly descriptorArea: GuestPhysical;
  /** Available ring (aligned to 2), or packed driver event suppression (to 4). */
  readonly driverArea: GuestPhysical;
  /** Used ring, or packed device event suppression: aligned to 4. */
  readonly deviceArea: GuestPhysical;
}

/** Sizes of a queue's parts in bytes. */
export interface QueueAreaBytes {
  readonly descriptorArea: number;
  readonly driverArea: number;
  readonly deviceArea: number;
}

/** The negotiated features that shape a queue. */
export interface QueueFeatures {
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly indirect: boolean;
  /** VIRTIO_F_EVENT_IDX. */
  readonly eventIndex: boolean;
  /** VIRTIO_F_IN_ORDER: the device uses chains in the order in which they became available. Absent is off. */
  readonly inOrder?: boolean;
  /** VIRTIO_F_RING_PACKED: which of the formats a queue has. Absent is off. */
  readonly packed?: boolean;
}

/** The queue's share of the negotiated feature bits. */
export function queueFeatures(negotiated: bigint): Required<QueueFeatures> {
  return {
    indirect: hasFeature(negotiated, VirtioFeature.INDIRECT_DESC),
    eventIndex: hasFeature(negotiated, VirtioFeature.EVENT_IDX),
    inOrder: hasFeature(negotiated, VirtioFeature.IN_ORDER),
    packed: hasFeature(negotiated, VirtioFeature.RING_PACKED),
  };
}

/** What {@link DeviceQueue.pop} found. */
export const Popped = {
  /** The driver has made no further chain available. */
  EMPTY: 0,
  /** A chain was taken. */
  CHAIN: 1,
  /** The ring is damaged; the queue stays broken until it is reset, and the device needs a reset. */
  BROKEN: 2,
} as const;

export type Popped = (typeof Popped)[keyof typeof Popped];

/** What the device's side of a queue is made of. */
export interface DeviceQueueOptions {
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly features: QueueFeatures;
  /** With IN_ORDER: one used entry stands for all chains pushed between two publishes. */
  readonly batchUsed?: boolean;
  /** What `save` returned, to go on from there; absent begins anew. */
  readonly state?: DeviceQueueState;
}

/** What the driver's side of a queue is made of. */
export interface DriverQueueOptions {
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly features: QueueFeatures;
  /** Used if the feature is on; without it all chains are direct. */
  readonly indirect?: IndirectTablesOptions;
  /**
   * What `save` returned, to go on from there; absent begins anew. The memory of queue and tables is taken as it is,
   * which is as it was when the state was saved.
   */
  readonly state?: DriverQueueState;
}

/** What a device does with its chains. It must not touch the queue meanwhile. */
export interface ChainHandler {
  /**
   * Handles a chain of one readable and one writable buffer, each in memory: their positions, and bytes. Returns how
   * many bytes were written from the start of the writable one.
   */
  handlePair(
    readable: number,
    readableBytes: number,
    writable: number,
    writableBytes: number,
  ): number;
  /** Handles any other chain. Returns how many bytes were written from the start of its writable part. */
  handleChain(chain: Chain): number;
}

/** The device's side: takes available chains, gives back used ones. */
export interface DeviceQueue {
  readonly size: number;
  /** One sentence on what was wrong with the ring, once the queue is broken. */
  readonly fault: string | undefined;
  /** Takes the next available chain into `chain`, which the caller owns and reuses. */
  pop(chain: Chain): Popped;
  /**
   * Takes up to `most` available chains, has each of them handled and marks it as used, as {@link pop} and {@link push}
   * do one by one; `chain` belongs to the caller likewise. Returns how many there were. A queue that is broken has a
   * {@link fault} then.
   */
  serve(handler: ChainHandler, chain: Chain, most: number): number;
  /** Marks a chain as used, with the number of bytes written from the start of its writable part. Not yet visible. */
  push(chain: Chain, writtenBytes: number): void;
  /** Makes all pushed chains visible to the driver. True if the driver wants to be notified. */
  publish(): boolean;
  /** True if a chain is available, or the queue is broken; one load. */
  ready(): boolean;
  /** Asks the driver for a notification of the next chain. False if one is there already: do not sleep. */
  armNotification(): boolean;
  /** Tells the driver that notifications are not needed for now. */
  suppressNotification(): void;
  /**
   * What this side knows apart from shared memory.
   *
   * @throws {IommuError} `EBUSY` while a chain is in the device's hands, or pushed and not published.
   */
  save(): DeviceQueueState;
}

/** What {@link DriverQueue.take} returns when it has no token to give. */
export const Taken = {
  /** The device has used no further chain. */
  EMPTY: -1,
  /** The device broke the used ring; the queue stays broken until it is reset. */
  BROKEN: -2,
} as const;

/** The driver's side: makes chains available, takes used ones back. */
export interface DriverQueue {
  readonly size: number;
  /** One sentence on what was wrong with the used ring, once the queue is broken. */
  readonly fault: string | undefined;
  /** Chains made available, or added, and not yet taken back. */
  readonly inFlight: number;
  /**
   * Adds a chain of `buffers` under `token` (0 and up). Not yet visible. False if the ring has no room now.
   *
   * @throws {IommuError} `EINVAL` if it never has room, because the chain is longer than the queue.
   */
  add(buffers: BufferList, token: number): boolean;
  /** Makes all added chains visible to the device. True if the device wants to be notified. */
  publish(): boolean;
  /**
   * Where the next chain will become available, as NOTIFICATION_DATA carries it: the available index, or the slot and,
   * in the highest of 16 bits, its wrap counter.
   */
  readonly position: number;
  /** The token of the next used chain, or a value of {@link Taken}. */
  take(): number;
  /**
   * The number of bytes that the device says it wrote into the chain taken last. As the device gave it: it may be
   * larger than the chain. A chain that an IN_ORDER batch passed over counts as fully written.
   */
  readonly takenBytes: number;
  /** True if a used chain waits, or the queue is broken; one load. */
  ready(): boolean;
  /** Asks the device for a notification of the next used chain. False if one is there already: do not sleep. */
  armNotification(): boolean;
  /** Tells the device that notifications are not needed for now. */
  suppressNotification(): void;
  /**
   * What this side knows apart from shared memory, `takenBytes` excepted; at any time, with chains in flight or not yet
   * published.
   */
  save(): DriverQueueState;
}
