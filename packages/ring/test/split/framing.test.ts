/**
 * A device reads the same bytes, and its bytes land at the same places, however the driver cut the message: any number
 * of buffers, empty ones among them, in descriptors of any order, some of them behind an indirect table.
 */

import { DescriptorFlag } from '@viommu/common';
import { Chain, Popped, SplitDeviceQueue } from '@viommu/ring';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { type AnyBuffer, GuestRingWriter } from '../kit/guest-ring-writer.ts';
import { Random } from '../kit/random.ts';
import { SplitPlace } from '../kit/split-place.ts';

const SIZE = 16;

interface Message {
  /** Lengths of the readable buffers, then of the writable ones. */
  readonly readable: readonly number[];
  readonly writable: readonly number[];
  /** How many of all buffers have a descriptor of the ring; the others are behind a table. */
  readonly direct: number;
  readonly seed: number;
}

const pieces = fc.array(fc.nat({ max: 12 }), { maxLength: SIZE / 2 });
const message: fc.Arbitrary<Message> = fc
  .record({ readable: pieces, writable: pieces, direct: fc.nat(SIZE), seed: fc.integer() })
  .filter(({ readable, writable }) => readable.length + writable.length > 0);

describe('messages in any framing', () => {
  it('reach the device the same, and take its answer at the same place', () => {
    let tables = 0;
    fc.assert(
      fc.property(message, (cut) => {
        const sent = send(cut);
        const { arena, queue, place, chain, head, readable, writable, random } = sent;
        if (sent.table) tables += 1;
        const before = arena.bytes.slice();

        expect(queue.pop(chain)).toBe(Popped.CHAIN);
        expect(chain.reachable).toBe(true);
        expect(chain.readableBytes).toBe(readable.length);
        expect(chain.writableBytes).toBe(writable.length);
        expect(reading(chain, 0, readable.length + 1)).toEqual(bytesAt(before, readable));
        for (let turn = 0; turn < 8; turn += 1) {
          const offset = random.below(readable.length + 2);
          const length = random.below(readable.length + 2);
          const part = readable.slice(offset, offset + length);
          expect(reading(chain, offset, length)).toEqual(bytesAt(before, part));
          const at = chain.contiguous(length);
          if (at >= 0)
            expect(arena.copy(at, length)).toEqual(bytesAt(before, readable.slice(0, length)));
        }
        // Nothing so far may have changed a byte; from here on, exactly the ones that are written.
        expect(arena.bytes.every((byte, position) => byte === before[position])).toBe(true);
        for (let turn = 0; turn < 8; turn += 1) {
          const offset = random.below(writable.length + 2);
          const bytes = random.bytes(random.below(writable.length + 2));
          const part = writable.slice(offset, offset + bytes.length);
          expect(chain.write(offset, bytes, 0, bytes.length)).toBe(part.length);
          for (const [index, position] of part.entries()) before[position] = bytes[index] ?? 0;
        }
        if (writable.length >= 4) {
          const offset = random.below(writable.length - 3);
          chain.writeWord(offset, 0x0403_0201);
          for (const [index, position] of writable.slice(offset, offset + 4).entries())
            before[position] = index + 1;
        }
        const wrong = [...before.keys()].filter((at) => arena.bytes[at] !== before[at]);
        expect(wrong).toEqual([]);

        queue.push(chain, writable.length);
        queue.publish();
        expect(place.usedElement(0)).toEqual({ id: head, len: writable.length });
        expect(queue.pop(chain)).toBe(Popped.EMPTY);
        expect(arena.guardsIntact()).toBe(true);
      }),
      { seed: 20_261, numRuns: 600 },
    );
    // Both kinds were tried.
    expect(tables).toBeGreaterThan(100);
  });

  it('split.dev.framing.no-layout-assumption: a message of 20 and 4 bytes is the same in every cut', () => {
    const cuts: Partial<Message>[] = [
      { readable: [20], writable: [4] },
      { readable: [4, 16], writable: [4] },
      { readable: [19, 1], writable: [1, 1, 1, 1] },
      { readable: [0, 20, 0], writable: [0, 4, 0] },
      { readable: [5, 5, 5, 5], writable: [2, 2] },
      { readable: [20], writable: [4], direct: 0 },
      { readable: [4, 16], writable: [4], direct: 1 },
    ];
    const answers = cuts.map((cut) => {
      const full = { readable: [], writable: [], direct: SIZE, seed: 1, ...cut };
      const { arena, queue, place, chain, readable, writable } = send(full);
      for (const [index, position] of readable.entries()) arena.bytes[position] = index;
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      const bytes = reading(chain, 0, 20);
      chain.write(0, Uint8Array.of(1, 2, 3, 4), 0, 4);
      queue.push(chain, 4);
      queue.publish();
      return [bytes, writable.map((position) => arena.bytes[position]), place.usedElement(0).len];
    });
    const request = Uint8Array.from({ length: 20 }, (_, index) => index);
    for (const answer of answers) expect(answer).toEqual([request, [1, 2, 3, 4], 4]);
  });

  it('split.dev.framing.no-layout-assumption: one byte for each descriptor is as good', () => {
    const single = { readable: Array(12).fill(1), writable: Array(4).fill(1), direct: 16, seed: 3 };
    const { arena, queue, chain, readable } = send(single);
    for (const [index, position] of readable.entries()) arena.bytes[position] = 50 + index;
    expect(queue.pop(chain)).toBe(Popped.CHAIN);
    expect([...reading(chain, 3, 5)]).toEqual([53, 54, 55, 56, 57]);
  });

  it.each([1, 2])(
    'split.dev.indirect.chain-then-indirect [R-18]: %i descriptors of the ring, then a table',
    (direct) => {
      const { arena, queue, chain, readable, writable, head } = send({
        readable: [4, 8, 8],
        writable: [3, 1],
        direct,
        seed: 9,
      });
      for (const [index, position] of readable.entries()) arena.bytes[position] = index;
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.id, chain.readableBytes, chain.writableBytes]).toEqual([head, 20, 4]);
      expect(reading(chain, 0, 20)).toEqual(Uint8Array.from(readable.keys()));
      expect(chain.write(0, Uint8Array.of(9, 8, 7, 6), 0, 4)).toBe(4);
      expect(writable.map((position) => arena.bytes[position])).toEqual([9, 8, 7, 6]);
    },
  );

  it('split.dev.indirect.write-flag-ignored: the WRITE flag of a table descriptor says nothing', () => {
    for (const flags of [0, DescriptorFlag.WRITE]) {
      const { queue, chain } = send({ readable: [20], writable: [4], direct: 0, seed: 5 }, flags);
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.readableBytes, chain.writableBytes]).toEqual([20, 4]);
    }
  });

  it('split.dev.framing.chain-limit: a chain as long as the queue works, one longer does not', () => {
    for (let length = 1; length <= 20; length += 1) {
      const writable = Array(length - 1).fill(1);
      const { queue, chain } = send({ readable: [1], writable, direct: 0, seed: length });
      expect(queue.pop(chain)).toBe(length <= SIZE ? Popped.CHAIN : Popped.BROKEN);
    }
  });

  it('(10.3) an empty buffer is passed over, wherever its address points', () => {
    for (const address of [0n, 0x4000_ffffn, 0x4001_0000n, 2n ** 64n - 1n]) {
      const arena = new Arena();
      const { queue, chain, writer } = setUp(arena);
      const empty = { address, length: 0 };
      const there = { address: arena.address(0x8000), length: 4 };
      writer.offer(
        writer.chain([empty, there, empty, { ...empty, writable: true }], [5, 1, 2, 9]),
        writer.chain([empty], [3]),
      );
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.reachable, chain.readableBytes, chain.writableBytes]).toEqual([true, 4, 0]);
      expect(chain.contiguous(4)).toBe(0x8000);
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.reachable, chain.readableBytes, chain.contiguous(1)]).toEqual([true, 0, -1]);
    }
  });
});

function setUp(arena: Arena) {
  const place = new SplitPlace(arena, SIZE);
  const queue = new SplitDeviceQueue({
    memory: arena.memory,
    layout: place.layout,
    features: { indirect: true, eventIndex: true },
  });
  const writer = new GuestRingWriter(arena.view, place);
  return { place, queue, writer, chain: new Chain(arena.memory, SIZE) };
}

/** Makes one message available, with random bytes in all of memory that no ring or table takes. */
function send({ readable, writable, direct, seed }: Message, tableFlags = 0) {
  const random = new Random(seed);
  const arena = new Arena({ sizeBytes: 0x1000 });
  const side = setUp(arena);
  const { writer } = side;
  const lengths = [...readable, ...writable];
  const count = Math.min(direct, lengths.length);
  const table = count < lengths.length;
  // Tables need no alignment.
  const tableAt = arena.allocate(0, 16) + random.below(16);
  arena.allocate((lengths.length - count) * 16 + 16);
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
  const indices = random.shuffle([...Array(SIZE).keys()]).slice(0, count + 1);
  const tableIndex = indices[count] ?? 0;
  const head = writer.chain(buffers.slice(0, count), indices, table ? tableIndex : undefined);
  if (table) {
    const entries = lengths.length - count;
    const others = random.shuffle([...Array(entries - 1).keys()].map((index) => index + 1));
    writer.table(tableAt, buffers.slice(count), [0, ...others]);
    writer.indirect(tableIndex, arena.address(tableAt), entries, tableFlags);
  }
  writer.offer(head);

  const bytesOf = (from: number, to: number): number[] =>
    lengths.slice(from, to).flatMap((length, index) => {
      const at = positions[from + index] ?? 0;
      return Array.from({ length }, (_, byte) => at + byte);
    });
  return {
    ...side,
    arena,
    random,
    table,
    head,
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
