/**
 * One side of a queue in a thread of its own, for `two-threads.test.ts`. Both sides sleep at every wait.
 *
 * A wake-up that is lost shows as a wait that runs into its time limit, whatever the queue says afterwards.
 */

import { guestPhysical } from '@viommu/common';
import {
  Bell,
  BufferList,
  Chain,
  Popped,
  type QueueLayout,
  SharedMemory,
  Waiter,
  createDeviceQueue,
  createDriverQueue,
} from '@viommu/ring';
import { parentPort, workerData } from 'node:worker_threads';
import { must } from './must.ts';
import { Random } from './random.ts';

/** What a thread is to do. */
export interface RoundTripOrder {
  readonly side: 'driver' | 'device';
  readonly buffer: SharedArrayBuffer;
  readonly layout: QueueLayout;
  readonly packed: boolean;
  readonly eventIndex: boolean;
  /** Requests altogether, and how many of them at a time. */
  readonly requests: number;
  readonly batch: number;
  /** No wait may take so long. */
  readonly limitMs: number;
}

/** What a thread has seen when it is done. */
export interface RoundTripResult {
  readonly sleeps: number;
  /** How often this side rang the bell of the other. */
  readonly notifications: number;
}

/** Bytes at the start of the buffer that hold the bells; guest memory follows. */
export const BELL_BYTES = 4096;
export const MEMORY_BYTES = 0x1_0000;
export const BASE = 0x4000_0000n;
/** Requests lie here, one after the other, 8 bytes each: 4 to read, 4 to write. */
const REQUESTS = 0x8000;
const REQUEST_BYTES = 8;

/** A bell that keeps an account of its waits. */
class StrictBell extends Bell {
  override wait(seen: number, timeoutMs: number): boolean {
    must(super.wait(seen, timeoutMs), `no wake-up within ${timeoutMs} ms`);
    return true;
  }
}

function run(order: RoundTripOrder): RoundTripResult {
  const { buffer, packed, eventIndex, layout, limitMs } = order;
  const base = guestPhysical(BASE);
  const memory = new SharedMemory({ buffer, offset: BELL_BYTES, size: MEMORY_BYTES, base });
  const words = new Int32Array(buffer, 0, BELL_BYTES / 4);
  const doorbell = new StrictBell(words, 0);
  const interrupt = new StrictBell(words, 64);
  const options = { memory, layout, features: { indirect: false, eventIndex, packed } };
  return order.side === 'driver' ? drive() : serve();

  function drive(): RoundTripResult {
    const queue = createDriverQueue(options);
    // Only now may the device look at the ring.
    Atomics.store(words, 128, 1);
    Atomics.notify(words, 128);
    const waiter = new Waiter({ bell: interrupt, pollsMax: 0 });
    const random = new Random(order.batch);
    const lists = Array.from({ length: order.batch }, (_, index) => {
      const at = (offset: number) => guestPhysical(BASE + BigInt(REQUESTS + offset));
      const from = REQUEST_BYTES * index;
      return new BufferList(2).addReadable(at(from), 4).addWritable(at(from + 4), 4);
    });
    let notifications = 0;
    queue.suppressNotification();
    for (let done = 0; done < order.requests; done += order.batch) {
      for (const [index, list] of lists.entries()) {
        memory.setUint32(REQUESTS + REQUEST_BYTES * index, done + index);
        must(queue.add(list, index), 'the ring has no room');
      }
      dawdle(random);
      if (queue.publish()) {
        notifications += 1;
        doorbell.ring();
      }
      for (let left = order.batch; left > 0;) {
        const token = queue.take();
        if (token >= 0) {
          left -= 1;
          const answer = memory.getUint32(REQUESTS + REQUEST_BYTES * token + 4);
          must(answer === ((done + token + 1) | 0) >>> 0, `answer ${answer} to ${done + token}`);
          must(queue.takenBytes === 4, `used length ${queue.takenBytes}`);
          continue;
        }
        must(queue.fault === undefined, `the driver finds ${queue.fault}`);
        dawdle(random);
        waiter.wait(queue, limitMs);
      }
    }
    return { sleeps: waiter.sleeps, notifications };
  }

  function serve(): RoundTripResult {
    Atomics.wait(words, 128, 0, limitMs);
    const queue = createDeviceQueue(options);
    const chain = new Chain(memory, layout.size);
    const waiter = new Waiter({ bell: doorbell, pollsMax: 0 });
    const random = new Random(order.batch + 1);
    const bytes = new Uint8Array(4);
    const view = new DataView(bytes.buffer);
    let notifications = 0;
    queue.suppressNotification();
    for (let left = order.requests; left > 0;) {
      while (queue.pop(chain) === Popped.CHAIN) {
        must(chain.read(0, bytes, 0, 4) === 4, 'a request is short');
        chain.writeWord(0, view.getUint32(0, true) + 1);
        queue.push(chain, 4);
        left -= 1;
      }
      must(queue.fault === undefined, `the device finds ${queue.fault}`);
      if (queue.publish()) {
        notifications += 1;
        interrupt.ring();
      }
      dawdle(random);
      if (left > 0) waiter.wait(queue, limitMs);
    }
    return { sleeps: waiter.sleeps, notifications };
  }
}

/** Wastes some time now and then, so that the two sides meet in ever new ways. */
function dawdle(random: Random): void {
  if (!random.once(4)) return;
  for (let left = random.below(200); left > 0; left -= 1) random.word();
}

// In the main thread this module only lends its types and numbers.
parentPort?.postMessage(run(workerData as RoundTripOrder)); // What the test passed.
