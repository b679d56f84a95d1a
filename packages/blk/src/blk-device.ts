/**
 * The disk as a virtio device: section "Block Device".
 *
 * Whatever a request has in it ends in its status byte; what damages a ring, or puts it where the device may not go,
 * ends in DEVICE_NEEDS_RESET. One call of `serve` does one request, or a part of one that is large.
 */

import { IommuError, QUEUE_SIZE_MAX, VirtioFeature, hasFeature } from '@viommu/common';
import {
  Chain,
  type DeviceQueue,
  IDENTITY,
  Popped,
  TranslatedMemory,
  type ViewList,
} from '@viommu/ring';
import type { VirtioDevice, VirtioSession } from '@viommu/transport';
import { type DataMemory, dataMemory } from './data-memory.ts';
import { type BlkSettings, blkSettings } from './device-settings.ts';
import type { BlkDeviceOptions } from './device-options.ts';
import { type DiskRules, DiskWork } from './disk-work.ts';
import { BlkFeature } from './spec/feature.ts';
import { BLK_DEVICE_ID } from './spec/identity.ts';
import { BLK_STATUS_BYTES, BlkRequestType, BlkStatus } from './spec/request.ts';

/** What a disk counts, as places in {@link BlkDevice.counters}. */
export const BlkCounter = {
  /** Requests that were given back. */
  REQUESTS: 0,
  /** Those of them whose status is not OK. */
  FAILURES: 1,
  READ_BYTES: 2,
  WRITTEN_BYTES: 3,
  FLUSHES: 4,
  /** Requests of which an access was refused. */
  REFUSED: 5,
  /** Interrupts sent. */
  INTERRUPTS: 6,
} as const;

const COUNTERS = Object.keys(BlkCounter).length;

/** A queue at work. */
interface Working {
  readonly queue: DeviceQueue;
  readonly chain: Chain;
}

/** One disk, for any transport. */
export class BlkDevice implements VirtioDevice {
  readonly deviceId: number = BLK_DEVICE_ID;
  readonly offeredFeatures: bigint;
  readonly queueSizesMax: readonly number[];
  readonly config: Uint8Array;
  /** Counts since the device was made, by {@link BlkCounter}. */
  readonly counters: Float64Array = new Float64Array(COUNTERS);
  readonly #settings: BlkSettings;
  readonly #access: BlkDeviceOptions['access'];
  readonly #work: DiskWork;
  #rules: DiskRules;
  #session: VirtioSession | undefined = undefined;
  #memory: DataMemory | undefined = undefined;
  #views: ViewList | undefined = undefined;
  #queues: (Working | undefined)[] = [];
  /** The queue whose request is being done, or was done last. */
  #current = 0;
  /** That request is not done yet. */
  #busy = false;

  /** @throws {IommuError} `EINVAL` for options that make no disk. */
  constructor(options: BlkDeviceOptions) {
    const settings = blkSettings(options, QUEUE_SIZE_MAX);
    const { queues, queueSize, name, chunkBytes, rangesMax } = settings;
    this.#settings = settings;
    this.#access = options.access;
    this.offeredFeatures = settings.offered;
    this.queueSizesMax = Array.from({ length: queues }, () => queueSize);
    this.config = settings.config;
    this.#work = new DiskWork(options.backing, name, chunkBytes, rangesMax);
    this.#rules = settings.rules(0n);
  }

  /** There is nothing to write without CONFIG_WCE, which is not offered. */
  writeConfig(): boolean {
    return false;
  }

  acceptFeatures(features: bigint): boolean {
    const access = this.#access;
    const platform = hasFeature(features, VirtioFeature.ACCESS_PLATFORM);
    if (access !== undefined) {
      if (access.insists === true && !platform) return false;
      access.memory.use(platform ? access.platform : (access.physical ?? IDENTITY));
    }
    this.#rules = this.#settings.rules(features);
    return true;
  }

  /** @throws {IommuError} `EINVAL` if the transport has other memory than the options said. */
  start(session: VirtioSession): void {
    const expected = this.#access?.memory;
    if (session.memory !== expected && (expected ?? session.memory) instanceof TranslatedMemory)
      throw new IommuError('EINVAL', 'A disk and its transport have the same memory.');
    this.#session = session;
    this.#memory = dataMemory(session.memory);
    if (this.#memory === undefined) {
      this.#needReset('the memory of the machine cannot be reached in place');
      return;
    }
    this.#views = this.#memory.newViewList();
    session.queues.forEach((queue, index) => {
      if (queue !== undefined) this.queueStarted(index, queue);
    });
  }

  queueStarted(index: number, queue: DeviceQueue): void {
    const session = this.#session;
    // Without MQ there is one queue, whatever a driver enables.
    if (session === undefined || (index > 0 && !hasFeature(session.features, BlkFeature.MQ)))
      return;
    this.#queues[index] = { queue, chain: new Chain(session.memory, queue.size) };
  }

  queueStopped(index: number): void {
    this.#queues[index] = undefined;
    if (index === this.#current) this.#busy = false;
  }

  reset(): void {
    this.#disconnect();
    this.#access?.memory.forget();
    this.#rules = this.#settings.rules(0n);
  }

  serve(): boolean {
    const memory = this.#memory;
    const views = this.#views;
    if (memory === undefined || views === undefined) return false;
    if (this.#busy) {
      const working = this.#queues[this.#current];
      if (working === undefined) return false;
      this.#go(working, memory, this.#work.step(memory, views, this.#rules));
      return true;
    }
    // One look at each queue, the one behind the last first.
    const { length } = this.#queues;
    for (let looks = 0; looks < length; looks += 1) {
      this.#current = this.#current + 1 < length ? this.#current + 1 : 0;
      const working = this.#queues[this.#current];
      if (working !== undefined && this.#take(working, memory, views)) return true;
    }
    return false;
  }

  arm(): boolean {
    if (this.#busy) return false;
    let asleep = true;
    for (const working of this.#queues)
      if (working !== undefined) asleep = working.queue.armNotification() && asleep;
    return !this.#checkRing() && asleep;
  }

  suppress(): void {
    for (const working of this.#queues) working?.queue.suppressNotification();
    this.#checkRing();
  }

  /** Takes the next request of a queue and begins it. False if there is none. */
  #take(working: Working, memory: DataMemory, views: ViewList): boolean {
    const { queue, chain } = working;
    memory.dropBuffers();
    const popped = queue.pop(chain);
    // What was read of a ring that cannot be reached is not to be believed.
    if (this.#checkRing()) return true;
    if (popped === Popped.EMPTY) return false;
    if (popped === Popped.BROKEN) {
      this.#needReset(queue.fault ?? 'a queue is broken');
      return true;
    }
    // Without memory under it or a status to write there is nobody to answer.
    if (!chain.reachable || chain.writableBytes < BLK_STATUS_BYTES) {
      this.#giveBack(working, 0);
      this.counters[BlkCounter.FAILURES]! += 1; // The cells are there.
      return true;
    }
    this.#go(working, memory, this.#work.begin(chain, memory, views, this.#rules));
    return true;
  }

  /** After a step that ended with `status`, or with -1. */
  #go(working: Working, memory: DataMemory, status: number): void {
    const { chain } = working;
    const work = this.#work;
    if (memory.fatal) {
      this.#needReset('an access was made to memory that the device must not touch');
      return;
    }
    this.#busy = status < 0;
    if (this.#busy) return;
    // The last byte of the last buffer: none is empty.
    const last = chain.count - 1;
    memory.setUint8(chain.position(last) + chain.length(last) - BLK_STATUS_BYTES, status);
    let written = work.usedBytes(chain);
    let refused = work.refused;
    if (memory.faulted) {
      memory.faulted = false;
      // Nobody gets to know the status.
      written = Math.min(written, chain.writableBytes - BLK_STATUS_BYTES);
      refused = true;
      if (memory.fatal) {
        this.#needReset('an access was made to memory that the device must not touch');
        return;
      }
    }
    this.#count(work.type, work.moved, status, refused);
    this.#giveBack(working, written);
  }

  #giveBack({ queue, chain }: Working, written: number): void {
    this.counters[BlkCounter.REQUESTS]! += 1; // The cell is there.
    queue.push(chain, written);
    // The ring itself is needed once more, and the guest keeps it.
    this.#memory?.release();
    const wanted = queue.publish();
    if (this.#checkRing() || !wanted) return;
    this.counters[BlkCounter.INTERRUPTS]! += 1; // Likewise.
    this.#session?.port.interrupt(this.#current);
  }

  #count(type: number, moved: number, status: number, refused: boolean): void {
    const { counters } = this;
    // The cells are there, all of them.
    if (type === BlkRequestType.IN) counters[BlkCounter.READ_BYTES]! += moved;
    else if (type === BlkRequestType.OUT) counters[BlkCounter.WRITTEN_BYTES]! += moved;
    else if (type === BlkRequestType.FLUSH && status === BlkStatus.OK)
      counters[BlkCounter.FLUSHES]! += 1;
    if (status !== BlkStatus.OK) counters[BlkCounter.FAILURES]! += 1;
    if (refused) counters[BlkCounter.REFUSED]! += 1;
  }

  /** True if an access to a ring was refused; the device stops then. */
  #checkRing(): boolean {
    if (this.#memory?.faulted !== true) return false;
    this.#needReset('a queue lies where the device has no access');
    return true;
  }

  #needReset(reason: string): void {
    const session = this.#session;
    this.#memory?.release();
    this.#disconnect();
    session?.port.needsReset(reason);
  }

  #disconnect(): void {
    this.#session = undefined;
    this.#memory = undefined;
    this.#views = undefined;
    this.#queues = [];
    this.#busy = false;
    this.#current = 0;
  }
}
