/** A request queue without a driver around it: for tests that bring their own way of waiting. */

import { type Clock, type GuestPhysical, guestPhysical } from '@viommu/common';
import { DmaMemory, type DeviceWaiter, type RequestPort, RequestQueue } from '@viommu/driver';
import {
  type DriverQueue,
  type QueueFeatures,
  type QueueLayout,
  SharedMemory,
  SplitDriverQueue,
  splitQueueBytes,
} from '@viommu/ring';
import { TestPages } from './guest.ts';

export const BARE_BASE: GuestPhysical = guestPhysical(0x4000_0000n);
export const BARE_FEATURES = { indirect: true, eventIndex: true } as const;

export interface BareQueue {
  readonly requests: RequestQueue;
  readonly queue: DriverQueue;
  readonly memory: SharedMemory;
  readonly ram: SharedArrayBuffer;
  readonly layout: QueueLayout;
}

export interface BareQueueOptions {
  readonly size: number;
  readonly waiter: DeviceWaiter;
  readonly clock: Clock;
  readonly port?: Partial<RequestPort>;
  readonly timeoutMs?: number;
  readonly features?: QueueFeatures;
}

export function bareQueue(options: BareQueueOptions): BareQueue {
  const { size, waiter, clock, port, timeoutMs = 5000, features = BARE_FEATURES } = options;
  const ram = new SharedArrayBuffer(1 << 18);
  const memory = new SharedMemory({
    buffer: ram,
    offset: 0,
    size: ram.byteLength,
    base: BARE_BASE,
  });
  const dma = new DmaMemory(memory, new TestPages());
  const bytes = splitQueueBytes(size);
  const layout = {
    size,
    descriptorArea: dma.take(bytes.descriptorArea, 64).address,
    driverArea: dma.take(bytes.driverArea, 64).address,
    deviceArea: dma.take(bytes.deviceArea, 64).address,
  };
  const indirect = { address: dma.take(size * 32, 64).address, buffersPerChain: 2 };
  const queue = new SplitDriverQueue({ memory, layout, features, indirect });
  const requests = new RequestQueue({
    queue,
    dma,
    slots: size,
    probeSize: 0,
    port: { notify() {}, acknowledge() {}, lost() {}, ...port },
    waiter,
    clock,
    timeoutMs,
  });
  return { requests, queue, memory, ram, layout };
}
