/**
 * Faults on their way to the driver: section "IOMMU Device / Fault reporting".
 *
 * A record goes into a buffer that is taken at the moment of the fault (8.3): drivers fill the event queue without
 * telling anybody. Without a buffer it is dropped and counted (8.2).
 */

import {
  FaultFlag,
  FaultRecord,
  IommuQueue,
  type FaultReason,
  highWord,
  lowWord,
} from '@viommu/common';
import { Chain, type DeviceQueue, Popped } from '@viommu/ring';
import type { DevicePort, VirtioSession } from '@viommu/transport';
import type { IommuObserver } from './core/observer.ts';
import type { FaultSink } from './core/state.ts';

const { offset } = FaultRecord;

/** The device's end of the event queue. */
export class FaultQueue implements FaultSink {
  /** Records that found no buffer, since the device was made. */
  dropped = 0;
  /** True if the observer was told of one since the last reset. */
  dropSeen = false;

  /** Changes each record before it is sent. */
  amend: ((record: DataView) => void) | undefined = undefined;

  readonly #observer: IommuObserver | undefined;
  readonly #record: Uint8Array = new Uint8Array(FaultRecord.size);
  readonly #view: DataView = new DataView(this.#record.buffer);
  #queue: DeviceQueue | undefined = undefined;
  #chain: Chain | undefined = undefined;
  #port: DevicePort | undefined = undefined;
  #broken: ((reason: string) => void) | undefined = undefined;

  constructor(observer: IommuObserver | undefined) {
    this.#observer = observer;
  }

  /** From now on records go to `queue`; `broken` is called if its ring turns out to be damaged. */
  start(queue: DeviceQueue, session: VirtioSession, broken: (reason: string) => void): void {
    this.#queue = queue;
    this.#chain = new Chain(session.memory, queue.size);
    this.#port = session.port;
    this.#broken = broken;
    // Buffers are looked for when they are needed, and not before.
    queue.suppressNotification();
  }

  /** The queue is gone; records are dropped. */
  stop(): void {
    this.#queue = undefined;
    this.#chain = undefined;
    this.#port = undefined;
    this.#broken = undefined;
  }

  /** After a reset the next drop is told to the observer again. */
  reset(): void {
    this.dropSeen = false;
  }

  /** One record for each refused access (8.11). */
  fault(
    endpoint: number,
    reason: FaultReason,
    access: number,
    page: number,
    offsetInPage: number,
  ): void {
    // Reserved bytes are never written, so they stay zero: iommu.dev.fault.reserved-zero.
    const view = this.#view;
    view.setUint8(offset.reason, reason);
    // 8.7; the bits of an access are those of a record: iommu.dev.fault.flags-undefined-zero.
    const flags = (access & (FaultFlag.READ | FaultFlag.WRITE)) | FaultFlag.ADDRESS;
    view.setUint32(offset.flags, flags, true);
    view.setUint32(offset.endpoint, endpoint, true);
    view.setUint32(offset.address, lowWord(page, offsetInPage), true);
    view.setUint32(offset.address + 4, highWord(page), true);
    this.amend?.(view);
    if (this.#deliver()) return;
    this.dropped += 1;
    if (this.dropSeen) return;
    this.dropSeen = true;
    this.#observer?.droppedFault?.();
  }

  /** Puts the record into the next buffer that is large enough. False if there is none. */
  #deliver(): boolean {
    const queue = this.#queue;
    const chain = this.#chain;
    const port = this.#port;
    if (queue === undefined || chain === undefined || port === undefined) return false;
    let delivered = false;
    let popped: Popped = Popped.CHAIN;
    // Bounded: a driver that keeps adding short buffers does not keep the device here.
    for (let chains = 0; chains < queue.size && !delivered; chains += 1) {
      popped = queue.pop(chain);
      if (popped !== Popped.CHAIN) break;
      delivered = chain.reachable && chain.writableBytes >= FaultRecord.size;
      // 8.4: a short buffer goes back empty. iommu.dev.fault.no-multi-buffer. 8.5, 8.6: the rest is left alone.
      if (delivered) chain.write(0, this.#record, 0, FaultRecord.size);
      queue.push(chain, delivered ? FaultRecord.size : 0);
    }
    if (queue.publish()) port.interrupt(IommuQueue.EVENT);
    if (popped === Popped.BROKEN) this.#broken?.(queue.fault ?? 'the event queue is broken');
    return delivered;
  }
}
