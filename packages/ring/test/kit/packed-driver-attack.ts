/** A driver's queue under attack: the device's half of a packed ring is there to be written by the test. */

import { PackedDriverQueue, type QueueFeatures, Taken } from '@viommu/ring';
import { expect } from 'vitest';
import { Arena } from './arena.ts';
import { PackedDeviceWriter } from './packed-device-writer.ts';
import { PackedPlace } from './packed-place.ts';
import { WatchedMemory } from './watched-memory.ts';

const BUFFERS_PER_TABLE = 4;

export interface DriverAttack {
  readonly size?: number;
  readonly features?: Partial<QueueFeatures>;
}

/** A driver's queue, and a device that may write what it likes. */
export function attackPackedDriver({ size = 8, features: some = {} }: DriverAttack = {}) {
  const arena = new Arena();
  const place = new PackedPlace(arena, size);
  const memory = new WatchedMemory(arena);
  const tables = arena.allocate(size * BUFFERS_PER_TABLE * 16, 16);
  const queue = new PackedDriverQueue({
    memory,
    layout: place.layout,
    features: { indirect: false, eventIndex: true, ...some },
    indirect: { address: arena.address(tables), buffersPerChain: BUFFERS_PER_TABLE },
  });
  const device = new PackedDeviceWriter(arena.view, place);
  /** A request of two buffers: two slots, or a table of two. */
  const pair = arena.buffers([Uint8Array.of(1, 2, 3)], [4]);
  return { arena, place, memory, tables, queue, device, pair };
}

export type DriverAttacked = ReturnType<typeof attackPackedDriver>;

/** Adds and publishes requests under these tokens; their ids are 0, 1, 2, … in a new queue. */
export function send({ queue, pair }: DriverAttacked, ...tokens: readonly number[]): void {
  for (const token of tokens) expect(queue.add(pair, token)).toBe(true);
  queue.publish();
}

/** The queue is broken with this sentence, and says so again and again. */
export function expectDriverBroken(
  { arena, place, queue, device, memory }: DriverAttacked,
  fault: RegExp,
): void {
  const { inFlight } = queue;
  const before = memory.count;
  expect(queue.take()).toBe(Taken.BROKEN);
  expect(memory.count - before).toBeLessThan(8);
  expect(queue.fault).toMatch(fault);
  const sentence = queue.fault;
  const repairs = [
    () => device.use(0, 4, 1),
    () => arena.bytes.fill(0, place.ring, place.end),
    () => arena.bytes.fill(0xff, place.ring, place.end),
  ];
  for (const repair of repairs) {
    repair();
    expect(queue.take()).toBe(Taken.BROKEN);
    expect(queue.ready()).toBe(true);
    expect(queue.armNotification()).toBe(false);
    queue.suppressNotification();
    expect(queue.fault).toBe(sentence);
  }
  expect(queue.inFlight).toBe(inFlight);
}
