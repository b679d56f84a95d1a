/** The rings alone: MAP-sized requests, fully checked, answered OK by a handler that does nothing else. */

import { MapRequest, RequestType, Status, guestPhysical, type GuestPhysical } from '@viommu/common';
import {
  Bell,
  BufferList,
  Chain,
  type ChainHandler,
  type QueueFeatures,
  type QueueLayout,
  SharedMemory,
  Taken,
  Waiter,
  createDeviceQueue,
  createDriverQueue,
} from '@viommu/ring';
import { ARENA_BYTES, type Arena, type Variant } from './variant.ts';

const SIZE = 512;
const SLOTS = SIZE / 2;
const TAIL_BYTES = 4;
const STRIDE = MapRequest.size + TAIL_BYTES;
const BASE = 0x4000_0000n;
/** Bytes at the start of the arena that are not guest memory, and the bells there. */
const BELL_BYTES = 4096;
const DOORBELL = 64;
const INTERRUPT = 128;
const REQUESTS = 0x2_0000;
const TABLES = 0x1_0000;
const LAYOUT: QueueLayout = {
  size: SIZE,
  descriptorArea: at(0x1000),
  driverArea: at(0x8000),
  deviceArea: at(0xa000),
};
const { virtStart, virtEnd, physStart, domain: domainAt, flags: flagsAt } = MapRequest.offset;

/** Streaming: requests added at a time, and chains used before the device publishes. */
const STREAM_ADD = 16;
const STREAM_BURST = 8;
/** As in `IommuDevice`: a burst is published in parts, so that the driver takes the first answers meanwhile. */
const PUBLISHED_AT_ONCE = 16;
/** In a batch the driver publishes so many requests at a time, and tells the device when it has added all of them. */
const SHOWN_TOGETHER = 16;
/** How long a sleeper waits before it looks whether it may end. */
const SLEEP_MS = 5;

interface Options extends Partial<QueueFeatures> {
  /** The most looks before a sleep. */
  readonly pollsMax?: number;
  readonly batchUsed?: boolean;
}

function ring({ pollsMax, batchUsed = false, ...rest }: Options): Variant {
  const features: QueueFeatures = { indirect: false, eventIndex: true, ...rest };
  const waiterOn = (bell: Bell): Waiter =>
    new Waiter({ bell, ...(pollsMax !== undefined && { pollsMax }) });
  return {
    device(arena, batch) {
      const memory = memoryOf(arena);
      const queue = createDeviceQueue({ memory, layout: LAYOUT, features, batchUsed });
      const [doorbell, interrupt] = bellsOf(arena);
      const waiter = waiterOn(doorbell);
      const chain = new Chain(memory, SIZE);
      const handler = new Handler(memory.view);
      queue.suppressNotification();
      arena.meet();
      const most = batch === 0 ? STREAM_BURST : PUBLISHED_AT_ONCE;
      while (!arena.stopped()) {
        if (!waiter.wait(queue, SLEEP_MS)) continue;
        // Looks whether it may end only when there is nothing to do.
        let wanted = false;
        do {
          queue.serve(handler, chain, most);
          if (queue.fault !== undefined) throw new Error(queue.fault);
          // Rings once for all of it: waking the driver takes longer than the rest of the burst.
          if (queue.publish()) wanted = true;
        } while (queue.ready());
        if (wanted) interrupt.ring();
      }
    },
    driver(arena, batch, limit) {
      const memory = memoryOf(arena);
      const indirect = { address: at(TABLES), buffersPerChain: 2 };
      const queue = createDriverQueue({ memory, layout: LAYOUT, features, indirect });
      const [doorbell, interrupt] = bellsOf(arena);
      const waiter = waiterOn(interrupt);
      const { view } = memory;
      const lists = requestLists();
      queue.suppressNotification();
      const clockPeriod = batch === 0 || batch >= 64 ? 1 : 8;
      let slot = 0;
      let page = 0;
      let inFlight = 0;
      let done = 0;
      arena.meet();
      for (let turn = 0; ; turn += 1) {
        const last = turn % clockPeriod === 0 && limit.reached(done);
        if (last && inFlight === 0) return done;
        const count = last ? 0 : batch === 0 ? Math.min(STREAM_ADD, SLOTS - inFlight) : batch;
        let wanted = false;
        for (let index = 0; index < count; index += 1) {
          if (index !== 0 && index % SHOWN_TOGETHER === 0 && queue.publish()) wanted = true;
          page = (page + 1) & 0xf_ffff;
          fill(view, REQUESTS + slot * STRIDE, page);
          queue.add(lists[slot]!, slot); // One list for each slot.
          slot = (slot + 1) % SLOTS;
        }
        inFlight += count;
        if (queue.publish() || wanted) doorbell.ring();
        while (inFlight > 0) {
          const token = queue.take();
          if (token >= 0) {
            const status = view.getUint32(REQUESTS + token * STRIDE + MapRequest.size, true);
            if (queue.takenBytes !== TAIL_BYTES || (status & 0xff) !== Status.OK)
              throw new Error('a request failed');
            inFlight -= 1;
            done += 1;
          } else if (token !== Taken.EMPTY) throw new Error(queue.fault);
          else if (batch === 0 && !last && inFlight <= SLOTS - STREAM_ADD) break;
          else waiter.wait(queue, SLEEP_MS);
        }
      }
    },
    wakes: (arena) => bellsOf(arena).reduce((sum, bell) => sum + bell.value(), 0),
  };
}

/** Answers requests as a device does. */
class Handler implements ChainHandler {
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  handlePair(
    readable: number,
    readableBytes: number,
    writable: number,
    writableBytes: number,
  ): number {
    if (readableBytes < MapRequest.size || writableBytes < TAIL_BYTES) return 0;
    const view = this.#view;
    view.setUint32(writable, check(view, readable), true);
    return TAIL_BYTES;
  }

  handleChain(chain: Chain): number {
    const request = chain.contiguous(MapRequest.size);
    if (request < 0 || chain.writableBytes < TAIL_BYTES || !chain.reachable) return 0;
    chain.writeWord(0, check(this.#view, request));
    return TAIL_BYTES;
  }
}

/** Reads a request as a device does, once, and decides on it. */
function check(view: DataView, request: number): number {
  const type = view.getUint32(request, true) & 0xff;
  const domain = view.getUint32(request + domainAt, true);
  const low = view.getUint32(request + virtStart, true);
  const high = view.getUint32(request + virtStart + 4, true);
  const lastLow = view.getUint32(request + virtEnd, true);
  const lastHigh = view.getUint32(request + virtEnd + 4, true);
  const phys = view.getUint32(request + physStart, true);
  const flags = view.getUint32(request + flagsAt, true);
  const ordered = lastHigh > high || (lastHigh === high && lastLow > low);
  const plausible = domain !== 0 && (phys & 0xfff) === 0 && flags <= 7;
  return type === RequestType.MAP && ordered && plausible ? Status.OK : Status.INVAL;
}

/** Writes a MAP of one page, and a tail that is no answer. */
function fill(view: DataView, request: number, page: number): void {
  view.setUint32(request, RequestType.MAP, true);
  view.setUint32(request + domainAt, 1, true);
  view.setUint32(request + virtStart, page << 12, true);
  view.setUint32(request + virtStart + 4, 0, true);
  view.setUint32(request + virtEnd, (page << 12) | 0xfff, true);
  view.setUint32(request + virtEnd + 4, 0, true);
  view.setUint32(request + physStart, page << 12, true);
  view.setUint32(request + physStart + 4, 0, true);
  view.setUint32(request + flagsAt, 3, true);
  view.setUint32(request + MapRequest.size, 0xff, true);
}

function requestLists(): BufferList[] {
  return Array.from({ length: SLOTS }, (_, slot) => {
    const address = REQUESTS + slot * STRIDE;
    return new BufferList(2)
      .addReadable(at(address), MapRequest.size)
      .addWritable(at(address + MapRequest.size), TAIL_BYTES);
  });
}

function memoryOf({ buffer }: Arena): SharedMemory {
  return new SharedMemory({
    buffer,
    offset: BELL_BYTES,
    size: ARENA_BYTES - BELL_BYTES,
    base: at(0),
  });
}

/** The device's and the driver's. */
function bellsOf({ buffer }: Arena): [Bell, Bell] {
  const words = new Int32Array(buffer, 0, BELL_BYTES / 4);
  return [new Bell(words, DOORBELL), new Bell(words, INTERRUPT)];
}

function at(offset: number): GuestPhysical {
  return guestPhysical(BASE + BigInt(offset));
}

export const variants = {
  split: ring({}),
  'split-indirect': ring({ indirect: true }),
  'split-flags': ring({ eventIndex: false }),
  'split-in-order': ring({ inOrder: true, batchUsed: true }),
  packed: ring({ packed: true }),
  'packed-indirect': ring({ packed: true, indirect: true }),
  'packed-in-order': ring({ packed: true, inOrder: true, batchUsed: true }),
  /** Neither side polls. */
  asleep: ring({ pollsMax: 0 }),
} as const;
