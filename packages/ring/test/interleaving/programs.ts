/** The two sides of a small case: requests of one byte, answered with the byte plus one. */

import { guestPhysical, type GuestPhysical } from '@viommu/common';
import {
  BufferList,
  Chain,
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueOptions,
  type DriverQueue,
  type DriverQueueOptions,
  type GuestMemory,
  Popped,
  type QueueFeatures,
  type QueueLayout,
  Taken,
  type Waiter,
} from '@viommu/ring';
import { BASE, type Program } from './script.ts';

/** The sides of the queue under test: those of the package, or copies with a planted fault. */
export interface QueueMakers {
  readonly device: (options: DeviceQueueOptions) => DeviceQueue;
  readonly driver: (options: DriverQueueOptions) => DriverQueue;
  readonly Waiter: typeof Waiter;
}

export interface Case {
  readonly makers: QueueMakers;
  readonly features: QueueFeatures;
  /** How the driver sends its two requests. */
  readonly order: Order;
  /** With IN_ORDER: one used entry for all chains between two publishes. */
  readonly batchUsed?: boolean;
  /** The most requests that the device serves in one call; absent, it pops and pushes one by one. */
  readonly burst?: number;
  /**
   * Who sleeps without having asked for a notification: a new queue wants all of them. The device has slept since before
   * the first request, the driver sleeps once it has sent all of them.
   */
  readonly asleep?: 'driver' | 'device';
}

/** One after the other is answered; both made available at once; the second while the first is under way. */
export type Order = 'in turn' | 'together' | 'overlapping';

/** Descriptors of the ring: those of one request, or of both. */
const sizeOf = (order: Order): number => (order === 'in turn' ? 2 : 4);
const REQUEST_COUNT = 2;

const DOORBELL = 0;
const INTERRUPT = 1;
const REQUESTS = 192;

export const CASE_BYTES = 256;

const at = (offset: number): GuestPhysical => guestPhysical(BASE + BigInt(offset));

function layoutOf(size: number): QueueLayout {
  return { size, descriptorArea: at(0), driverArea: at(96), deviceArea: at(128) };
}

export function driverProgram({ makers, features, order, asleep }: Case): Program {
  const size = sizeOf(order);
  const batch = order === 'in turn' ? 1 : REQUEST_COUNT;
  return (side) => {
    const { memory } = side;
    const queue = side.setUp(() => makers.driver({ memory, layout: layoutOf(size), features }));
    const doorbell = side.bell(DOORBELL);
    const interrupt = side.bell(INTERRUPT);
    const waiter = new makers.Waiter({ bell: interrupt, pollsMax: 0 });
    if (asleep !== 'driver') queue.suppressNotification();
    let answered = 0;
    for (let first = 0; first < REQUEST_COUNT; first += batch) {
      for (let token = first; token < first + batch; token += 1) {
        const request = REQUESTS + 2 * token;
        memory.setUint8(request, 0x10 + token);
        const list = new BufferList(2).addReadable(at(request), 1).addWritable(at(request + 1), 1);
        if (!queue.add(list, token)) throw new Error('the ring has no room');
        if (order === 'overlapping' && queue.publish()) doorbell.ring();
      }
      if (queue.publish()) doorbell.ring();
      if (asleep === 'driver') interrupt.wait(0, 0);
      for (let left = batch; left > 0;) {
        const token = queue.take();
        if (token === Taken.EMPTY) {
          waiter.wait(queue, 0);
          continue;
        }
        if (token === Taken.BROKEN) throw new Error(`the driver's side broke: ${queue.fault}`);
        if (token !== answered) throw new Error(`token ${token} came instead of ${answered}`);
        if (queue.takenBytes !== 1) throw new Error(`${queue.takenBytes} bytes instead of one`);
        const answer = memory.getUint8(REQUESTS + 2 * token + 1);
        if (answer !== 0x11 + token) throw new Error(`answer ${answer} for token ${token}`);
        answered += 1;
        left -= 1;
      }
    }
    if (queue.take() !== Taken.EMPTY) throw new Error('a request was completed twice');
  };
}

export function deviceProgram({
  makers,
  features,
  order,
  asleep,
  batchUsed = false,
  burst,
}: Case): Program {
  const size = sizeOf(order);
  return (side) => {
    const { memory } = side;
    const options = { memory, layout: layoutOf(size), features, batchUsed };
    const queue = side.setUp(() => makers.device(options));
    const interrupt = side.bell(INTERRUPT);
    const doorbell = side.bell(DOORBELL);
    const waiter = new makers.Waiter({ bell: doorbell, pollsMax: 0 });
    const chain = new Chain(memory, size);
    const handler = new Answerer(memory);
    if (asleep === 'device') doorbell.wait(0, 0);
    queue.suppressNotification();
    while (handler.served < REQUEST_COUNT) {
      const before = handler.served;
      if (burst !== undefined) queue.serve(handler, chain, burst);
      else if (queue.pop(chain) === Popped.CHAIN) queue.push(chain, handler.handleChain(chain));
      if (queue.fault !== undefined) throw new Error(`the device's side broke: ${queue.fault}`);
      if (handler.served > before) continue;
      if (queue.publish()) interrupt.ring();
      waiter.wait(queue, 0);
    }
    if (queue.publish()) interrupt.ring();
  };
}

class Answerer implements ChainHandler {
  served = 0;
  readonly #memory: GuestMemory;
  readonly #byte = new Uint8Array(1);

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  handlePair(
    readable: number,
    readableBytes: number,
    writable: number,
    writableBytes: number,
  ): number {
    if (readableBytes !== 1 || writableBytes !== 1) throw new Error('no request has two bytes');
    this.#memory.read(readable, this.#byte, 0, 1);
    this.#answer();
    this.#memory.write(writable, this.#byte, 0, 1);
    return 1;
  }

  handleChain(chain: Chain): number {
    chain.read(0, this.#byte, 0, 1);
    this.#answer();
    chain.write(0, this.#byte, 0, 1);
    return 1;
  }

  #answer(): void {
    const request = this.#byte[0];
    if (request !== 0x10 + this.served)
      throw new Error(`request ${request} instead of ${this.served}`);
    this.#byte[0] = request + 1;
    this.served += 1;
  }
}
