/** Lists that the driver adds again and again: what stands in the table for them, whoever had it in between. */

import { BufferList, SplitDriverQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { DeviceRingWriter } from '../kit/device-ring-writer.ts';
import { Random } from '../kit/random.ts';
import { SplitPlace } from '../kit/split-place.ts';
import { walk } from '../kit/walk.ts';
import { type Access, WatchedMemory } from '../kit/watched-memory.ts';

const SIZE = 16;

interface Options {
  readonly indirect: boolean;
  readonly lists: number;
  /** Buffers of list `index`. */
  readonly countOf: (index: number) => number;
}

/** A driver's queue, a device that uses what it is told to, and lists of one buffer address each. */
function setUp({ indirect, lists, countOf }: Options) {
  const arena = new Arena();
  const place = new SplitPlace(arena, SIZE);
  const memory = new WatchedMemory(arena);
  const tables = { address: arena.address(arena.allocate(SIZE * 3 * 16, 16)), buffersPerChain: 3 };
  const features = { indirect, eventIndex: true };
  const queue = new SplitDriverQueue({
    memory,
    layout: place.layout,
    features,
    indirect: tables,
  });
  const device = new DeviceRingWriter(arena.view, place);
  const made = Array.from({ length: lists }, (_, index) => {
    const list = new BufferList(4);
    for (let buffer = 0; buffer < countOf(index); buffer += 1)
      list.addReadable(arena.address(index * 16), 1 + buffer);
    return list;
  });
  return { arena, place, memory, queue, device, lists: made };
}

describe.each([{ indirect: false }, { indirect: true }])('indirect: $indirect', ({ indirect }) => {
  it('a list is described by the chain it becomes, in descriptors that no other chain has', () => {
    const run = setUp({ indirect, lists: 12, countOf: (index) => 1 + (index % 4) });
    const { arena, place, queue, device, lists } = run;
    const random = new Random(7);
    const idle = [...lists.keys()];
    const inFlight = new Map<number, { readonly token: number; readonly taken: number[] }>();
    const busy = new Set<number>();
    let added = 0;
    for (let step = 0; step < 4000; step += 1) {
      if (random.once(2) && idle.length > 0) {
        const [token = 0] = idle.splice(random.below(idle.length), 1);
        const list = lists[token]!; // It has an index of that.
        if (!queue.add(list, token)) {
          idle.push(token);
          continue;
        }
        queue.publish();
        const head = place.availableEntry(added % SIZE);
        added += 1;
        const chain = walk(arena, place, head);
        const address = arena.base + BigInt(token * 16);
        expect(chain.buffers.map(({ addr, len }) => [addr, len])).toEqual(
          Array.from({ length: list.count }, (_, buffer) => [address, 1 + buffer]),
        );
        const taken = chain.ring.map(({ index }) => index);
        for (const index of taken) {
          expect(busy.has(index)).toBe(false);
          busy.add(index);
        }
        inFlight.set(head, { token, taken });
      } else if (inFlight.size > 0) {
        const [head, { token, taken }] = random.pick([...inFlight]);
        device.use([head], 1);
        expect([queue.take(), queue.takenBytes]).toEqual([token, 1]);
        inFlight.delete(head);
        for (const index of taken) busy.delete(index);
        idle.push(token);
      }
    }
    expect(added).toBeGreaterThan(1000);
  });

  it('lists that go round are written once', () => {
    const run = setUp({ indirect, lists: SIZE / 2, countOf: () => 2 });
    const { place, memory, queue, device, lists } = run;
    const round = (): void => {
      for (const [token, list] of lists.entries()) expect(queue.add(list, token)).toBe(true);
      queue.publish();
      for (const token of lists.keys()) {
        const slot = device.nextIndex % SIZE;
        device.use([place.availableEntry(slot)]);
        expect(queue.take()).toBe(token);
      }
    };
    // Until the available entries have come round as well.
    for (let turn = 0; turn < 4; turn += 1) round();
    const trace: Access[] = [];
    memory.trace = trace;
    round();
    // Nothing but the index.
    expect(trace.filter(({ kind }) => kind === 'write').map(({ ordered }) => ordered)).toEqual([
      true,
    ]);
  });
});
