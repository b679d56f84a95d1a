/** A driver whose every byte is the test's: it brings the device up by itself and sends chains as they are given. */

import { featureMask, VirtioFeature } from '@viommu/common';
import {
  BufferList,
  type DriverQueue,
  createDriverQueue,
  queueBytes,
  queueFeatures,
} from '@viommu/ring';
import { CONTEXT, type Rig } from './rig.ts';
import { must } from './must.ts';

const PAGE = 4096;
const VERSION_1 = featureMask(VirtioFeature.VERSION_1);

/** What a chain came back with. */
export interface Answer {
  /** The used length. */
  readonly written: number;
  /** What the writable part has now, all buffers one behind the other. */
  readonly bytes: Uint8Array;
  /** The last byte of it. */
  readonly status: number | undefined;
}

export interface RawOptions {
  /** The features to accept; all that are offered if absent. */
  readonly features?: bigint;
  readonly size?: number;
  /** Queues to enable, whatever was negotiated. Default 1. */
  readonly queues?: number;
}

export class RawGuest {
  readonly rig: Rig;
  readonly features: bigint;
  /** The queue that `send` uses. */
  queue: DriverQueue;
  readonly queues: readonly DriverQueue[];
  /** Where the queue is: of the guest, and as the device was told. */
  readonly page: number;
  readonly dmaPage: number;
  readonly #platform: boolean;
  #buffers: number;
  #next = 0;

  constructor(rig: Rig, { features = ~0n, size = 16, queues = 1 }: RawOptions = {}) {
    this.rig = rig;
    const { transport, guest } = rig;
    this.features = transport.negotiate({ wanted: features, required: VERSION_1 });
    const has = (bit: number): boolean => (this.features & featureMask(bit)) !== 0n;
    this.#platform = has(VirtioFeature.ACCESS_PLATFORM);
    const packed = has(VirtioFeature.RING_PACKED);
    const bytes = queueBytes(size, packed);
    const memory = must(rig.dma.allocateCoherent(CONTEXT, rig.parent, queues * 3 * PAGE));
    this.page = memory.page;
    this.dmaPage = this.#platform ? memory.dmaPage : memory.page;
    if (bytes.descriptorArea > PAGE) throw new Error('queues of a test are small');
    const layoutAt = (page: number) => ({
      size,
      descriptorArea: BigInt(page) * 4096n,
      driverArea: BigInt(page + 1) * 4096n,
      deviceArea: BigInt(page + 2) * 4096n,
    });
    const layout = (page: number) => layoutAt(page) as Parameters<typeof transport.enableQueue>[1]; // Numbers of a test.
    const features0 = { ...queueFeatures(this.features), indirect: false };
    this.queues = Array.from({ length: queues }, (_, index) => {
      transport.enableQueue(index, layout(this.dmaPage + 3 * index));
      return createDriverQueue({
        memory: guest.memory,
        layout: layout(this.page + 3 * index),
        features: features0,
      });
    });
    this.queue = must(this.queues[0]);
    transport.driverOk();
    this.#buffers = guest.take(64);
  }

  /** Sends a chain of buffers with these contents, then writable ones of these lengths, and has it served. */
  send(readable: readonly Uint8Array[], writable: readonly number[]): Answer | undefined {
    const { rig } = this;
    const list = new BufferList(Math.max(1, readable.length + writable.length));
    const places: (readonly [page: number, offset: number, length: number])[] = [];
    this.#next = 0;
    for (const bytes of readable) {
      const [page, offset] = this.#place(bytes.length);
      rig.guest.at(page, offset, bytes.length).set(bytes);
      list.addReadable(this.address(page, offset, bytes.length, 1), bytes.length);
    }
    for (const length of writable) {
      const [page, offset] = this.#place(length);
      rig.guest.at(page, offset, length).fill(0xee);
      places.push([page, offset, length]);
      list.addWritable(this.address(page, offset, length, 2), length);
    }
    if (!this.queue.add(list, 1)) throw new Error('the queue of the test is full');
    this.queue.publish();
    rig.step();
    if (this.queue.take() < 0) return undefined;
    const bytes = new Uint8Array(
      Buffer.concat(places.map(([page, offset, length]) => rig.guest.at(page, offset, length))),
    );
    return { written: this.queue.takenBytes, bytes, status: bytes.at(-1) };
  }

  /** What the device calls a place of the guest; `access` for it alone. */
  address(page: number, offset: number, length: number, access: 1 | 2): never {
    let first = page;
    if (this.#platform) {
      const into = { page: 0, offset: 0 };
      const args = [CONTEXT, this.rig.parent, page, offset, length, access, 0, into] as const;
      if (!this.rig.dma.map(...args)) throw new Error('the test cannot map');
      first = into.page;
    }
    return (BigInt(first) * 4096n + BigInt(offset)) as never; // Both kinds of addresses, for lists of a test.
  }

  /** A place that no other buffer of the chain touches: each begins elsewhere in its page. */
  #place(length: number): readonly [page: number, offset: number] {
    const at = this.#next;
    this.#next += length + 3;
    if (this.#next > 64 * PAGE) throw new Error('the chains of a test are small');
    return [this.#buffers + Math.floor(at / PAGE), at % PAGE];
  }
}
