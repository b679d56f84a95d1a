/**
 * A device has two ways through its queue, `pop` and `push`, and `serve`. On two copies of one memory, a queue goes one
 * way on each: whatever the guest has written, both must do the same, access by access.
 */

import {
  Chain,
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueState,
  type GuestMemory,
  Popped,
} from '@viommu/ring';
import { expect } from 'vitest';
import { Arena } from './arena.ts';
import { type Access, WatchedMemory } from './watched-memory.ts';

/** Makes the device's side of one queue anew, over this memory. */
export type MakeDevice = (memory: GuestMemory, state?: DeviceQueueState) => DeviceQueue;

/** Bytes of a chain that are read, and written. */
const READ_BYTES = 64;
/** Larger memories take too long to copy. */
const COPIED_MAX = 1 << 22;
const ANSWER = Uint8Array.of(0xd1, 0xd2, 0xd3, 0xd4, 0xd5);

/** What one of the two ways came to. */
interface Outcome {
  readonly served: number;
  readonly fault: string | undefined;
  readonly wanted: boolean;
  /** Of each chain: bytes in its two parts, whether it is reachable, and what was read. */
  readonly chains: readonly (readonly [number, number, boolean, readonly number[]])[];
  readonly trace: readonly Access[];
  readonly bytes: Uint8Array;
}

/** Both ways on copies of this memory, for one chain; what they came to, which is the same. */
export function serveTwice(arena: Arena, make: MakeDevice, state?: DeviceQueueState): Outcome {
  const popped = onCopy(arena, make, state, (queue, chain, handler) => {
    if (queue.pop(chain) !== Popped.CHAIN) return 0;
    queue.push(chain, handler.handleChain(chain));
    return 1;
  });
  const served = onCopy(arena, make, state, (queue, chain, handler) =>
    queue.serve(handler, chain, 1),
  );
  expect({ ...served, bytes: undefined }).toEqual({ ...popped, bytes: undefined });
  // Much faster than `toEqual`.
  expect(Buffer.compare(served.bytes, popped.bytes)).toBe(0);
  return served;
}

/** Lets every pop of `queue`, the first hundred at most, be made twice on copies before it is made. */
export function withTwins(queue: DeviceQueue, arena: Arena, make: MakeDevice): void {
  const pop = queue.pop.bind(queue);
  let left = 100;
  queue.pop = (chain) => {
    const state = left > 0 && arena.bytes.length <= COPIED_MAX ? stateOf(queue) : undefined;
    left -= 1;
    if (state === undefined) return pop(chain);
    const { served, fault } = serveTwice(arena, make, state);
    const popped = pop(chain);
    expect([served, queue.fault === undefined]).toEqual([
      popped === Popped.CHAIN ? 1 : 0,
      fault === undefined,
    ]);
    return popped;
  };
}

/** Undefined while a chain is under way. */
function stateOf(queue: DeviceQueue): DeviceQueueState | undefined {
  try {
    return queue.save();
  } catch {
    return undefined;
  }
}

function onCopy(
  { bytes, base }: Arena,
  make: MakeDevice,
  state: DeviceQueueState | undefined,
  work: (queue: DeviceQueue, chain: Chain, handler: ChainHandler) => number,
): Outcome {
  const arena = new Arena({ sizeBytes: bytes.length, base });
  arena.bytes.set(bytes);
  const memory = new WatchedMemory(arena);
  const queue = make(memory, state);
  const chains: Outcome['chains'][number][] = [];
  const target = new Uint8Array(READ_BYTES);
  const note = (readable: number, writable: number, reachable: boolean, read: number): void => {
    chains.push([readable, writable, reachable, [...target.subarray(0, read)]]);
  };
  const handler: ChainHandler = {
    handlePair(readable, readableBytes, writable, writableBytes) {
      const read = Math.min(readableBytes, READ_BYTES);
      memory.read(readable, target, 0, read);
      note(readableBytes, writableBytes, true, read);
      const written = Math.min(writableBytes, ANSWER.length);
      memory.write(writable, ANSWER, 0, written);
      return written;
    },
    handleChain(chain) {
      const { readableBytes, writableBytes, reachable } = chain;
      const read = reachable ? chain.read(0, target, 0, READ_BYTES) : 0;
      note(readableBytes, writableBytes, reachable, read);
      return reachable ? chain.write(0, ANSWER, 0, ANSWER.length) : 0;
    },
  };
  memory.trace = [];
  const served = work(queue, new Chain(memory, queue.size), handler);
  const wanted = queue.publish();
  expect(arena.guardsIntact()).toBe(true);
  return {
    served,
    fault: queue.fault,
    wanted,
    chains,
    trace: memory.trace,
    bytes: arena.bytes,
  };
}
