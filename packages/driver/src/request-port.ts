/** What a request queue is made of, and whom it talks to besides its ring. */

import type { Clock } from '@viommu/common';
import type { DriverQueue } from '@viommu/ring';
import type { DmaMemory } from './dma-memory.ts';
import type { DeviceWaiter } from './wait.ts';

export interface RequestQueueOptions {
  readonly queue: DriverQueue;
  /** Takes the memory for the requests. */
  readonly dma: DmaMemory;
  /** The most ordinary requests that the ring has room for. */
  readonly slots: number;
  /** Bytes of properties that a PROBE asks for. */
  readonly probeSize: number;
  readonly port: RequestPort;
  readonly waiter: DeviceWaiter;
  readonly clock: Clock;
  /** How long the device may make no progress before the queue is given up; 5 s if absent. */
  readonly timeoutMs?: number;
}

/** Who is told how a request ended. */
export interface RequestOwner {
  /**
   * The request in `slot` ended with the status byte `status`, or with `NO_STATUS`. Until the next request is added,
   * the queue knows what the request was. Must not add requests itself.
   */
  requestDone(slot: number, status: number): void;
}

/** What the queue needs of the device. */
export interface RequestPort {
  /** Tells the device that requests are available. `position` is that of the ring. */
  notify(position: number): void;
  /** Acknowledges interrupts after a sleep. */
  acknowledge(): void;
  /** Told once, when the queue is given up. */
  lost(reason: string): void;
}
