/**
 * Both sides against the simplest model there is: a list of what was made available and a list of what was used.
 *
 * Chains of any cut, completed in any order, some held back for a long time; requests and answers differ in each chain,
 * so that a mix-up shows.
 */

import { AssertionError } from '@viommu/common';
import { BufferList, Chain, Popped, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { FORMATS } from './kit/format.ts';
import { must } from './kit/must.ts';
import { createPair } from './kit/pair.ts';
import { Random } from './kit/random.ts';
import { tryAdd } from './kit/try-add.ts';

/** What the driver remembers of a request. */
interface Request {
  readonly request: number;
  /** Positions of the writable bytes. */
  readonly writable: readonly number[];
}

/** Memory for the buffers of so many requests, and bytes of each; a slot is free again when its request is back. */
const SLOTS = 64;
const SLOT_BYTES = 32;

/** How the device gives chains back. */
const ORDERS = [
  { order: 'any', inOrder: false, batchUsed: false },
  { order: 'the same', inOrder: true, batchUsed: false },
  { order: 'the same, in batches', inOrder: true, batchUsed: true },
];

describe.each(FORMATS)('$name: chains in flight', (format) => {
  const cases = format.sizes.flatMap((size) =>
    [0, 4].flatMap((buffersPerTable) =>
      ORDERS.map((order, turn) => ({ size, buffersPerTable, eventIndex: turn !== 1, ...order })),
    ),
  );

  it.each(cases)(
    'come back once and whole: size $size, tables of $buffersPerTable, used in $order order',
    (options) => {
      const arena = new Arena();
      const { driver, device } = createPair({ ...options, format, arena });
      const random = new Random(options.size * 8 + options.buffersPerTable);
      const slots = arena.allocate(SLOTS * SLOT_BYTES);
      const freeSlots = [...Array(SLOTS).keys()];
      const inFlight = new Map<number, Request>();
      const spare: Chain[] = [];
      const held: { chain: Chain; expires: number }[] = [];
      // A list that is filled anew for each request, and one for each slot that stays as it is.
      const common = new BufferList(8);
      const lists = freeSlots.map(() => new BufferList(8));
      const roomy = options.size >= 8;
      let tokens = 0;
      let taken = 0;
      let passedBy = 0;

      /** Cuts the slot: a request of 4 bytes in one or two pieces, then up to three pieces for the answer. */
      const fill = (list: BufferList, from: number): BufferList => {
        const first = random.below(5);
        list.clear().addReadable(arena.address(from), first);
        if (first < 4) list.addReadable(arena.address(from + first), 4 - first);
        let at = from + 8;
        for (let left = random.below(4); left > 0; left -= 1) {
          const length = random.below(5);
          list.addWritable(arena.address(at), length);
          at += length + 1;
        }
        return list;
      };

      const add = (): void => {
        const slot = freeSlots.shift();
        if (slot === undefined) return;
        const from = slots + slot * SLOT_BYTES;
        const request = random.word();
        arena.view.setUint32(from, request, true);
        let list = lists[slot] ?? common;
        if (list.count === 0) fill(list, from);
        if (random.once(2)) list = fill(common, from);
        // The slot number goes along in the token.
        const token = tokens * SLOTS + slot;
        if (!tryAdd(driver, list, token)) {
          freeSlots.push(slot);
          return;
        }
        tokens += 1;
        inFlight.set(token, { request, writable: writablePositions(list, arena) });
      };

      const serve = (): void => {
        const chain = spare.pop() ?? new Chain(arena.memory, options.size);
        const popped = device.pop(chain);
        must(popped !== Popped.BROKEN, `the device finds ${device.fault}`);
        if (popped === Popped.EMPTY) spare.push(chain);
        // Where there is room, some chains wait for a long time while others pass them by.
        else held.push({ chain, expires: random.once(roomy ? 40 : 1000) ? 300 : random.below(8) });
      };

      const finish = (): void => {
        for (const entry of held) entry.expires -= 1;
        const index = options.inOrder ? 0 : held.findIndex(({ expires }) => expires <= 0);
        const entry = held[index];
        if (entry === undefined) return;
        if (index > 0) passedBy += 1;
        held.splice(index, 1);
        const { chain } = entry;
        const request = new Uint8Array(4);
        must(chain.read(0, request, 0, 4) === 4, 'a request is short');
        // The answer repeats the request as often as there is room.
        const answer = Uint8Array.from(
          { length: chain.writableBytes },
          (_, byte) => request[byte % 4] ?? 0,
        );
        must(chain.write(0, answer, 0, answer.length) === answer.length, 'an answer is short');
        device.push(chain, answer.length);
        spare.push(chain);
      };

      const take = (): void => {
        const token = driver.take();
        if (token === Taken.EMPTY) return;
        const found = inFlight.get(token);
        must(found !== undefined, `token ${token} is not in flight; fault: ${driver.fault}`);
        inFlight.delete(token);
        taken += 1;
        const { request, writable } = found;
        must(driver.takenBytes === writable.length, `used length ${driver.takenBytes}`);
        for (const [byte, position] of writable.entries())
          must(arena.bytes[position] === ((request >>> (8 * (byte % 4))) & 0xff), 'a wrong answer');
        freeSlots.push(token % SLOTS);
      };

      const actions = [add, add, add, serve, serve, finish, finish, take, take];
      for (let turn = 0; turn < 8000; turn += 1) {
        random.pick(actions)();
        if (random.once(3)) driver.publish();
        if (random.once(3)) device.publish();
        must(driver.inFlight === inFlight.size, `turn ${turn}: ${driver.inFlight} in flight`);
      }
      // Everything that is still on its way arrives.
      driver.publish();
      for (let turn = 0; turn < 2 * options.size; turn += 1) {
        serve();
        for (const entry of held) entry.expires = 0;
        finish();
        device.publish();
        take();
        take();
      }
      expect([inFlight.size, driver.inFlight, taken]).toEqual([0, 0, tokens]);
      expect(tokens).toBeGreaterThan(50);
      // Chains were overtaken wherever they can be.
      expect(passedBy > 0).toBe(!options.inOrder && options.size > 1);
      expect(arena.guardsIntact()).toBe(true);
    },
  );

  it('a chain that the device keeps comes back after 65,535 others', () => {
    const { arena, driver, device, chain } = createPair({ format, size: 4 });
    const kept = new Chain(arena.memory, 4);
    const list = arena.buffers([], [1]);
    driver.add(list, 99);
    driver.publish();
    expect(device.pop(kept)).toBe(Popped.CHAIN);
    // So many that the indices are back at the one where this chain became available.
    for (let token = 0; token < 65_535; token += 1) {
      driver.add(list, token);
      driver.publish();
      must(device.pop(chain) === Popped.CHAIN, `the device finds ${device.fault}`);
      device.push(chain, 1);
      device.publish();
      must(driver.take() === token, `the driver finds ${driver.fault}`);
    }
    device.push(kept, 1);
    device.publish();
    // While chains are held back that have the same index, 65536 later.
    for (let token = 0; token < 3; token += 1) driver.add(list, token);
    expect(driver.take()).toBe(99);
    expect(driver.fault).toBeUndefined();
  });
});

describe.each(FORMATS)('$name: adding', (format) => {
  it('takes no list without a buffer and no negative token', () => {
    const { arena, driver } = createPair({ format });
    const list = arena.buffers([], [1]);
    expect(() => driver.add(new BufferList(1), 0)).toThrow(AssertionError);
    expect(() => driver.add(list, -1)).toThrow(AssertionError);
    expect([driver.add(list, 0), driver.inFlight]).toEqual([true, 1]);
  });
});

function writablePositions(list: BufferList, { base }: Arena): number[] {
  const positions: number[] = [];
  for (let index = list.readableCount; index < list.count; index += 1) {
    const at = Number(list.address(index) - base);
    for (let byte = 0; byte < list.lengthBytes(index); byte += 1) positions.push(at + byte);
  }
  return positions;
}
