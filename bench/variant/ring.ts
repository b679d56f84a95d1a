/** The rings alone: MAP-sized requests, fully checked, answered OK by a handler that does nothing else. */

import { MapRequest, guestPhysical, type GuestPhysical } from '@viommu/common';
import {
  Bell,
  BufferList,
  Chain,
  PackedDeviceQueue,
  PackedDriverQueue,
  Popped,
  SharedMemory,
  SplitDeviceQueue,
  SplitDriverQueue,
  Waiter,
  type QueueFeatures,
  type QueueLayout,
} from '@viommu/ring';
import { ARENA_BYTES, type Arena, type Variant } from '../pair.ts';

const SIZE = 512;
const STRIDE = 40;
const BASE = 0x4000_0000n;
const at = (offset: number): GuestPhysical => guestPhysical(BASE + BigInt(offset));
const BELLS = 4096; // Bytes at the start of the arena that are not guest memory.
const REQUESTS = 0x2_0000;
const TABLES = 0x1_0000;
const LAYOUT: QueueLayout = {
  size: SIZE,
  descriptorArea: at(0x1000),
  driverArea: at(0x8000),
  deviceArea: at(0xa000),
};

function memoryOf({ buffer }: Arena): SharedMemory {
  return new SharedMemory({ buffer, offset: BELLS, size: ARENA_BYTES - BELLS, base: at(0) });
}

function ring(features: QueueFeatures, sleeping: boolean, packed = false): Variant {
  const DeviceSide = packed ? PackedDeviceQueue : SplitDeviceQueue;
  const DriverSide = packed ? PackedDriverQueue : SplitDriverQueue;
  return {
    device(arena) {
      const memory = memoryOf(arena);
      const queue = new DeviceSide({ memory, layout: LAYOUT, features });
      const words = new Int32Array(arena.buffer, 0, BELLS / 4);
      const interrupt = new Bell(words, 128);
      const waiter = new Waiter({ bell: new Bell(words, 64) });
      const chain = new Chain(memory, SIZE);
      const { view } = memory;
      queue.suppressNotification();
      let sum = 0;
      for (;;) {
        if (!queue.ready()) {
          if (arena.stopped()) break;
          if (sleeping) waiter.wait(queue, 5);
          continue;
        }
        let popped: Popped;
        while ((popped = queue.pop(chain)) === Popped.CHAIN) {
          let status = 4;
          const request = chain.contiguous(MapRequest.size);
          if (request >= 0 && chain.writableBytes >= 4 && chain.reachable) {
            const type = view.getUint32(request, true);
            const domain = view.getUint32(request + MapRequest.offset.domain, true);
            const low = view.getUint32(request + MapRequest.offset.virtStart, true);
            const high = view.getUint32(request + MapRequest.offset.virtStart + 4, true);
            const lastLow = view.getUint32(request + MapRequest.offset.virtEnd, true);
            const lastHigh = view.getUint32(request + MapRequest.offset.virtEnd + 4, true);
            const physLow = view.getUint32(request + MapRequest.offset.physStart, true);
            const flags = view.getUint32(request + MapRequest.offset.flags, true);
            if (type === 3 && (lastHigh > high || (lastHigh === high && lastLow > low))) status = 0;
            sum = (sum + domain + low + physLow + flags) | 0;
            chain.writeWord(0, status);
            queue.push(chain, 4);
          } else queue.push(chain, 0);
        }
        if (popped === Popped.BROKEN) throw new Error(queue.fault);
        if (queue.publish()) interrupt.ring();
      }
      if (sum === 1) throw new Error('unreachable, but the sum is needed');
    },
    driver(arena, batch, deadlineMs) {
      const memory = memoryOf(arena);
      const indirect = { address: at(TABLES), buffersPerChain: 2 };
      const queue = new DriverSide({ memory, layout: LAYOUT, features, indirect });
      const words = new Int32Array(arena.buffer, 0, BELLS / 4);
      const doorbell = new Bell(words, 64);
      const waiter = new Waiter({ bell: new Bell(words, 128) });
      const { view } = memory;
      const slots = SIZE / 2;
      const lists = Array.from({ length: slots }, (_, slot) => {
        const address = REQUESTS + slot * STRIDE;
        return new BufferList(2)
          .addReadable(at(address), MapRequest.size)
          .addWritable(at(address + MapRequest.size), 4);
      });
      queue.suppressNotification();
      let slot = 0;
      let page = 0;
      let done = 0;
      const clockPeriod = batch >= 64 ? 1 : 8;
      for (let turn = 0; ; turn += 1) {
        if (turn % clockPeriod === 0 && performance.now() > deadlineMs) return done;
        for (let index = 0; index < batch; index += 1) {
          const request = REQUESTS + slot * STRIDE;
          page = (page + 1) & 0xf_ffff;
          view.setUint32(request, 3, true);
          view.setUint32(request + MapRequest.offset.domain, 1, true);
          view.setUint32(request + MapRequest.offset.virtStart, page << 12, true);
          view.setUint32(request + MapRequest.offset.virtStart + 4, 0, true);
          view.setUint32(request + MapRequest.offset.virtEnd, (page << 12) | 0xfff, true);
          view.setUint32(request + MapRequest.offset.virtEnd + 4, 0, true);
          view.setUint32(request + MapRequest.offset.physStart, page << 12, true);
          view.setUint32(request + MapRequest.offset.physStart + 4, 0, true);
          view.setUint32(request + MapRequest.offset.flags, 3, true);
          view.setUint32(request + MapRequest.size, 0xff, true);
          // One list for each slot.
          queue.add(lists[slot]!, slot);
          slot = (slot + 1) % slots;
        }
        if (queue.publish()) doorbell.ring();
        for (let left = batch; left > 0;) {
          const token = queue.take();
          if (token >= 0) {
            const status = view.getUint32(REQUESTS + token * STRIDE + MapRequest.size, true);
            if (queue.takenBytes !== 4 || (status & 0xff) !== 0)
              throw new Error('a request failed');
            left -= 1;
            done += 1;
          } else if (token < -1) throw new Error(queue.fault);
          else if (sleeping) waiter.wait(queue, 1000);
        }
      }
    },
  };
}

export const ringVariants = {
  'split poll': ring({ indirect: false, eventIndex: true }, false),
  split: ring({ indirect: false, eventIndex: true }, true),
  'split indirect': ring({ indirect: true, eventIndex: true }, true),
  packed: ring({ indirect: false, eventIndex: true }, true, true),
  'packed indirect': ring({ indirect: true, eventIndex: true }, true, true),
  'split flags': ring({ indirect: false, eventIndex: false }, true),
} as const;
