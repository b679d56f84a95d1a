/**
 * Both sides against the simplest model there is: a list of what was made available and a list of what was used.
 *
 * Chains of any cut, completed in any order, some held back for a long time; requests and answers differ in each chain,
 * so that a mix-up shows.
 */

import { BufferList, Chain, Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { FORMATS } from './kit/format.ts';
import { createPair } from './kit/pair.ts';
import { Random } from './kit/random.ts';

/** What the driver remembers of a request. */
interface Request {
  readonly token: number;
  readonly request: number;
  readonly writableBytes: number;
  /** Positions of the writable bytes. */
  readonly writable: readonly number[];
}

/** Bytes of buffers of one request; slots are reused when the request is back. */
const SLOT_BYTES = 32;

describe.each(FORMATS)('$name: chains in flight', (format) => {
  const cases = format.sizes.flatMap((size) =>
    [0, 4].flatMap((buffersPerTable) =>
      [false, true].map((eventIndex) => ({ size, buffersPerTable, eventIndex })),
    ),
  );

  it.each(cases)(
    'come back once, whole, with what the device wrote: size $size, tables of $buffersPerTable, event index $eventIndex',
    (options) => {
      const arena = new Arena({ sizeBytes: 0x1_0000 });
      const { driver, device } = createPair({ ...options, format, arena });
      const random = new Random(options.size * 8 + options.buffersPerTable);
      const slots = arena.allocate(64 * SLOT_BYTES);
      const freeSlots = [...Array(64).keys()];
      const inFlight = new Map<number, Request>();
      const spare: Chain[] = [];
      const held: { chain: Chain; expires: number }[] = [];
      const pushed: number[] = [];
      let unpublished = 0;
      let tokens = 0;
      let taken = 0;
      let outOfOrder = 0;

      const add = (): void => {
        const slot = freeSlots.pop();
        if (slot === undefined) return;
        const from = slots + slot * SLOT_BYTES;
        const request = random.word();
        arena.view.setUint32(from, request, true);
        const list = new BufferList(8);
        // A request of 4 bytes in one to three pieces, then up to three answers.
        const first = random.below(5);
        list.addReadable(arena.address(from), first);
        if (first < 4) list.addReadable(arena.address(from + first), 4 - first);
        const writable: number[] = [];
        let at = from + 8;
        for (let left = random.below(4); left > 0; left -= 1) {
          const length = random.below(5);
          list.addWritable(arena.address(at), length);
          writable.push(...Array.from({ length }, (_, byte) => at + byte));
          at += length + 1;
        }
        // The slot number goes along in the token.
        const token = tokens * 64 + slot;
        if (!driver.add(list, token)) {
          freeSlots.push(slot);
          return;
        }
        tokens += 1;
        inFlight.set(token, { token, request, writable, writableBytes: writable.length });
        unpublished += 1;
      };

      const serve = (): void => {
        const chain = spare.pop() ?? new Chain(arena.memory, options.size);
        const popped = device.pop(chain);
        if (popped !== Popped.CHAIN) {
          expect(popped).toBe(Popped.EMPTY);
          spare.push(chain);
          return;
        }
        // Some chains wait for thousands of turns while others pass them by.
        held.push({ chain, expires: random.once(50) ? 5000 : random.below(12) });
      };

      const finish = (): void => {
        for (const entry of held) entry.expires -= 1;
        const ready = held.findIndex(({ expires }) => expires <= 0);
        const entry = held[ready];
        if (entry === undefined) return;
        if (ready > 0) outOfOrder += 1;
        held.splice(ready, 1);
        const { chain } = entry;
        const request = new Uint8Array(4);
        expect(chain.read(0, request, 0, 4)).toBe(4);
        // The answer repeats the request, byte for byte, as often as there is room.
        const answer = Uint8Array.from(
          { length: chain.writableBytes },
          (_, i) => request[i % 4] ?? 0,
        );
        expect(chain.write(0, answer, 0, answer.length)).toBe(answer.length);
        device.push(chain, answer.length);
        pushed.push(answer.length);
        spare.push(chain);
      };

      const take = (): void => {
        const token = driver.take();
        if (token === -1) return;
        const request = inFlight.get(token);
        if (request === undefined) return expect.unreachable(`token ${token} was not in flight`);
        inFlight.delete(token);
        taken += 1;
        // A format need not give the length of an answer that is empty; all others are exact.
        expect(driver.takenBytes).toBe(request.writableBytes);
        for (const [index, position] of request.writable.entries())
          expect(arena.bytes[position]).toBe((request.request >>> (8 * (index % 4))) & 0xff);
        freeSlots.push(token % 64);
      };

      const actions = [add, add, add, serve, serve, finish, finish, take, take];
      for (let turn = 0; turn < 20_000; turn += 1) {
        random.pick(actions)();
        if (random.once(3)) {
          driver.publish();
          unpublished = 0;
        }
        if (random.once(3)) device.publish();
        expect(driver.inFlight).toBe(inFlight.size);
        if (driver.fault !== undefined || device.fault !== undefined)
          expect.unreachable(`turn ${turn}: ${driver.fault ?? device.fault}`);
      }
      // Everything that is still on its way arrives.
      driver.publish();
      for (let turn = 0; turn < 50 && inFlight.size > 0; turn += 1) {
        for (const entry of held) entry.expires = 0;
        for (let chain = 0; chain < options.size; chain += 1) {
          serve();
          for (const entry of held) entry.expires = 0;
          finish();
        }
        device.publish();
        for (let chain = 0; chain < options.size; chain += 1) take();
      }
      expect(inFlight.size).toBe(0);
      expect(driver.inFlight).toBe(0);
      expect(unpublished).toBeGreaterThanOrEqual(0);
      expect(taken).toBe(tokens);
      if (options.size >= 4) expect(outOfOrder).toBeGreaterThan(10);
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
      if (device.pop(chain) !== Popped.CHAIN) expect.unreachable(device.fault);
      device.push(chain, 1);
      device.publish();
      if (driver.take() !== token) expect.unreachable(driver.fault);
    }
    device.push(kept, 1);
    device.publish();
    // While chains are being added that have the same index, 65536 later.
    for (let token = 0; token < 3; token += 1) driver.add(list, token);
    expect(driver.take()).toBe(99);
    expect(driver.fault).toBeUndefined();
  });
});
