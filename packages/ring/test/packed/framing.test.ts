/**
 * A device reads the same bytes, and its bytes land at the same places, however the driver cut the message: any number
 * of buffers, empty ones among them, in slots from any place of the ring on, or all of them in an indirect table.
 */

import { Chain, PackedDeviceQueue, Popped } from '@viommu/ring';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import type { AnyBuffer } from '../kit/guest-ring-writer.ts';
import { must } from '../kit/must.ts';
import { PackedGuestWriter } from '../kit/packed-guest-writer.ts';
import { PackedPlace } from '../kit/packed-place.ts';
import { Random } from '../kit/random.ts';

const SIZE = 13;

interface Message {
  /** Lengths of the readable buffers, then of the writable ones. */
  readonly readable: readonly number[];
  readonly writable: readonly number[];
  /** All of them in a table; otherwise each has a slot. */
  readonly table: boolean;
  /** Slots of the ring that were used before. */
  readonly start: number;
  readonly seed: number;
}

const pieces = fc.array(fc.nat({ max: 12 }), { maxLength: 6 });
const message: fc.Arbitrary<Message> = fc
  .record({
    readable: pieces,
    writable: pieces,
    table: fc.boolean(),
    start: fc.nat(3 * SIZE),
    seed: fc.integer(),
  })
  .filter(({ readable, writable }) => readable.length + writable.length > 0);

describe('messages in any framing', () => {
  it('reach the device the same, and take its answer at the same place', () => {
    const seen = { tables: 0, crossing: 0 };
    fc.assert(
      fc.property(message, (cut) => {
        const sent = send(cut);
        const { arena, queue, place, chain, first, slots, id, readable, writable, random } = sent;
        if (cut.table) seen.tables += 1;
        if (first + slots > SIZE) seen.crossing += 1;
        const before = arena.bytes.slice();

        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.reachable, chain.id, chain.slots]).toEqual([true, id, slots]);
        expect([chain.readableBytes, chain.writableBytes]).toEqual([
          readable.length,
          writable.length,
        ]);
        expect(reading(chain, 0, readable.length + 1)).toEqual(bytesAt(before, readable));
        for (let turn = 0; turn < 6; turn += 1) {
          const offset = random.below(readable.length + 2);
          const length = random.below(readable.length + 2);
          const part = readable.slice(offset, offset + length);
          expect(reading(chain, offset, length)).toEqual(bytesAt(before, part));
        }
        // Nothing so far may have changed a byte; from here on, exactly the ones that are written.
        expect(arena.bytes.every((byte, position) => byte === before[position])).toBe(true);
        for (let turn = 0; turn < 6; turn += 1) {
          const offset = random.below(writable.length + 2);
          const bytes = random.bytes(random.below(writable.length + 2));
          const part = writable.slice(offset, offset + bytes.length);
          expect(chain.write(offset, bytes, 0, bytes.length)).toBe(part.length);
          for (const [index, position] of part.entries()) before[position] = bytes[index] ?? 0;
        }
        const wrong = [...before.keys()].filter((at) => arena.bytes[at] !== before[at]);
        expect(wrong).toEqual([]);

        queue.push(chain, writable.length);
        queue.publish();
        expect(place.slot(first)).toMatchObject({ id, len: writable.length });
        expect(queue.pop(chain)).toBe(Popped.EMPTY);
        expect(arena.guardsIntact()).toBe(true);
      }),
      { seed: 20_262, numRuns: 500 },
    );
    // All kinds were tried.
    expect(Math.min(seen.tables, seen.crossing)).toBeGreaterThan(50);
  });

  it('packed.dev.sg.chained-in-order: a message of 20 and 4 bytes is the same in every cut', () => {
    const cuts: Partial<Message>[] = [
      { readable: [20], writable: [4] },
      { readable: [4, 16], writable: [4] },
      { readable: [19, 1], writable: [1, 1, 1, 1] },
      { readable: [0, 20, 0], writable: [0, 4, 0] },
      { readable: [2, 2, 2, 2, 2, 2, 2, 2, 2, 2], writable: [1, 3] },
      { readable: [1, 1, 1, 1, 1, 1, 1, 1, 12], writable: [1, 1, 1, 1] },
    ];
    const answers = cuts.flatMap((cut) =>
      [false, true].flatMap((table) =>
        [0, 8, SIZE - 1, 2 * SIZE - 2].map((start) => {
          const sent = send({ readable: [], writable: [], table, start, seed: 1, ...cut });
          const { arena, queue, place, chain, first, readable, writable } = sent;
          for (const [index, position] of readable.entries()) arena.bytes[position] = index;
          must(queue.pop(chain) === Popped.CHAIN, `the device finds ${queue.fault}`);
          const bytes = reading(chain, 0, 20);
          chain.write(0, Uint8Array.of(1, 2, 3, 4), 0, 4);
          queue.push(chain, 4);
          queue.publish();
          return [bytes, writable.map((at) => arena.bytes[at]), place.slot(first).len];
        }),
      ),
    );
    const request = Uint8Array.from({ length: 20 }, (_, index) => index);
    for (const answer of answers) expect(answer).toEqual([request, [1, 2, 3, 4], 4]);
  });

  it('packed.dev.sg.list-limit: a list as long as the queue works', () => {
    for (const table of [false, true])
      for (let length = 1; length <= SIZE; length += 1) {
        const writable = Array(length - 1).fill(1);
        const { queue, chain } = send({ readable: [1], writable, table, start: 5, seed: length });
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect(chain.writableBytes).toBe(length - 1);
      }
  });

  it('(10.3) an empty buffer is passed over, wherever its address points', () => {
    for (const address of [0n, 0x4000_ffffn, 0x4001_0000n, 2n ** 64n - 1n])
      for (const table of [false, true]) {
        const { arena, queue, chain, writer } = setUp();
        const empty = { address, length: 0 };
        const there = { address: arena.address(0x800), length: 4 };
        const buffers = [empty, there, empty, { ...empty, writable: true }];
        if (table) writer.offerTable(1, 0x900, arena.address(0x900), buffers);
        else writer.offer(1, buffers);
        writer.offer(2, [empty]);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.reachable, chain.readableBytes, chain.writableBytes]).toEqual([true, 4, 0]);
        expect(chain.contiguous(4)).toBe(0x800);
        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect([chain.reachable, chain.readableBytes, chain.contiguous(1)]).toEqual([true, 0, -1]);
      }
  });
});

function setUp() {
  const arena = new Arena({ sizeBytes: 0x1000 });
  const place = new PackedPlace(arena, SIZE);
  const queue = new PackedDeviceQueue({
    memory: arena.memory,
    layout: place.layout,
    features: { indirect: true, eventIndex: true },
  });
  const writer = new PackedGuestWriter(arena.view, place);
  return { arena, place, queue, writer, chain: new Chain(arena.memory, SIZE) };
}

/** Makes one message available, with random bytes in all of memory that no ring or table takes. */
function send({ readable, writable, table, start, seed }: Message) {
  const random = new Random(seed);
  const side = setUp();
  const { arena, queue, chain, writer } = side;
  for (let turn = 0; turn < start; turn += 1) {
    writer.offer(turn, [{ address: 0n, length: 0 }]);
    must(queue.pop(chain) === Popped.CHAIN, `the device finds ${queue.fault}`);
    queue.push(chain, 0);
    queue.publish();
  }
  const lengths = [...readable, ...writable];
  // Tables need no alignment.
  const tableAt = arena.allocate(0, 16) + random.below(16);
  arena.allocate(lengths.length * 16 + 16);
  arena.bytes.set(random.bytes(0x1000 - tableAt), tableAt);

  const positions: number[] = [];
  for (const index of random.shuffle([...lengths.keys()])) {
    arena.allocate(random.below(3));
    positions[index] = arena.allocate(lengths[index] ?? 0);
  }
  const buffers = lengths.map((length, index): AnyBuffer => {
    const address = arena.address(positions[index] ?? 0);
    return { address, length, writable: index >= readable.length };
  });
  const id = random.below(0x1_0000);
  const first = table
    ? writer.offerTable(id, tableAt, arena.address(tableAt), buffers)
    : writer.offer(id, buffers);

  const bytesOf = (from: number, to: number): number[] =>
    lengths.slice(from, to).flatMap((length, index) => {
      const at = positions[from + index] ?? 0;
      return Array.from({ length }, (_, byte) => at + byte);
    });
  return {
    ...side,
    random,
    id,
    first,
    slots: table ? 1 : lengths.length,
    /** The position of each readable and each writable byte, in order. */
    readable: bytesOf(0, readable.length),
    writable: bytesOf(readable.length, lengths.length),
  };
}

/** What a chain gives for such a read, and that it touches no other byte of the target. */
function reading(chain: Chain, offset: number, length: number): Uint8Array {
  const target = new Uint8Array(length + 8).fill(0xcc);
  const count = chain.read(offset, target, 3, length);
  expect(target.subarray(0, 3)).toEqual(Uint8Array.of(0xcc, 0xcc, 0xcc));
  expect(target.subarray(3 + count).every((byte) => byte === 0xcc)).toBe(true);
  return target.slice(3, 3 + count);
}

function bytesAt(image: Uint8Array, positions: readonly number[]): Uint8Array {
  return Uint8Array.from(positions, (position) => image[position] ?? 0);
}
