/**
 * Live rings with single bytes changed by the other side, at random: no exception, no long loop, no access outside the
 * memory, no token twice.
 *
 * `VIOMMU_MUTATIONS=1000000` sets the number of mutations for each format; the default keeps the test short.
 */

import { BufferList, Chain, type ChainHandler, Popped, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { FORMATS, type Format } from './kit/format.ts';
import { must } from './kit/must.ts';
import { type Pair, createPair } from './kit/pair.ts';
import { Random } from './kit/random.ts';
import { tryAdd } from './kit/try-add.ts';
import { WatchedMemory } from './kit/watched-memory.ts';

const MUTATIONS = Number(process.env['VIOMMU_MUTATIONS'] ?? 150_000);
/** Bytes of a chain that the device looks at. */
const READ_BYTES = 64;
/** More accesses than any one call may need in a ring of 8: four or so for each descriptor. */
const ACCESSES_MAX = 64;

interface Outcome {
  readonly mutations: number;
  readonly chains: number;
  readonly pairs: number;
  readonly tokens: number;
  readonly driverBroken: number;
  readonly deviceBroken: number;
  readonly unreachable: number;
}

/** Queues that are used and damaged, one after the other. */
function storm(format: Format, mutations: number, seed: number): Outcome {
  const random = new Random(seed);
  const found = {
    chains: 0,
    pairs: 0,
    tokens: 0,
    driverBroken: 0,
    deviceBroken: 0,
    unreachable: 0,
  };
  const arena = new Arena({ sizeBytes: 0x2000 });
  const memory = new WatchedMemory(arena);
  const room = arena.allocate(0);
  const bytes = new Uint8Array(READ_BYTES);
  const list = new BufferList(8);
  let done = 0;

  const bounded = <T>(call: () => T): T => {
    memory.countMax = memory.count + ACCESSES_MAX;
    const result = call();
    memory.countMax = Number.MAX_SAFE_INTEGER;
    return result;
  };

  /** One queue, from its start to its end. */
  const life = ({ driver, device, chain, placed, tables }: Pair): void => {
    const inFlight = new Set<number>();
    const held: Chain[] = [];
    let tokens = 0;

    const add = (): void => {
      list.clear();
      // Often as requests are: one buffer of each kind.
      const pair = random.once(3);
      for (let left = pair ? 1 : random.below(3); left > 0; left -= 1)
        list.addReadable(arena.address(0x1000 + random.below(0x800)), random.below(16));
      const writable = pair ? 1 : random.below(3) + (list.count === 0 ? 1 : 0);
      for (let left = writable; left > 0; left -= 1)
        list.addWritable(arena.address(0x1800 + random.below(0x400)), random.below(16));
      if (!bounded(() => tryAdd(driver, list, tokens))) return;
      inFlight.add(tokens);
      tokens += 1;
    };

    const serve = (): void => {
      const into = held.length < 4 && random.once(4) ? new Chain(memory, device.size) : chain;
      const popped = bounded(() => device.pop(into));
      if (popped !== Popped.CHAIN) return;
      found.chains += 1;
      if (into.reachable)
        bounded(() => {
          into.read(random.below(READ_BYTES), bytes, 0, READ_BYTES);
          into.write(random.below(READ_BYTES), bytes, 0, READ_BYTES);
          if (into.writableBytes >= 4) into.writeWord(random.below(into.writableBytes - 3), 0);
        });
      else found.unreachable += 1;
      if (into === chain) bounded(() => device.push(into, random.below(READ_BYTES)));
      else held.push(into);
    };

    /** As a device does that keeps nothing: up to three chains in one call. */
    const handler: ChainHandler = {
      handlePair(readable, readableBytes, writable, writableBytes) {
        found.pairs += 1;
        memory.read(readable, bytes, 0, Math.min(readableBytes, READ_BYTES));
        memory.write(writable, bytes, 0, Math.min(writableBytes, READ_BYTES));
        return random.below(READ_BYTES);
      },
      handleChain(into) {
        found.chains += 1;
        if (into.reachable) into.read(0, bytes, 0, READ_BYTES);
        else found.unreachable += 1;
        return random.below(READ_BYTES);
      },
    };
    const serveBurst = (): void => {
      memory.countMax = memory.count + 3 * ACCESSES_MAX;
      device.serve(handler, chain, 1 + random.below(3));
      memory.countMax = Number.MAX_SAFE_INTEGER;
    };

    const finish = (): void => {
      const late = held.pop();
      if (late !== undefined) bounded(() => device.push(late, 0));
    };

    const take = (): void => {
      const token = bounded(() => driver.take());
      if (token === Taken.EMPTY || token === Taken.BROKEN) return;
      must(inFlight.delete(token), `token ${token} is not in flight`);
      found.tokens += 1;
    };

    const rest = (): void => {
      bounded(() => driver.ready());
      bounded(() => device.ready());
      bounded(() => driver.armNotification());
      bounded(() => device.armNotification());
      bounded(() => driver.suppressNotification());
      bounded(() => device.suppressNotification());
    };

    const publish = (): void => {
      bounded(() => driver.publish());
    };
    const answer = (): void => {
      bounded(() => device.publish());
    };

    const serving = [serve, serve, serveBurst, serveBurst];
    const actions = [add, add, publish, ...serving, answer, take, take, finish, rest];
    const areas = [placed, placed, placed, tables].filter((area) => area.bytes > 0);
    // A damaged ring may also just stand still, so that no queue lives for long.
    for (let left = random.below(60); left >= 0 && done < mutations; left -= 1) {
      for (let turn = random.below(12); turn > 0; turn -= 1) random.pick(actions)();
      must(driver.inFlight === inFlight.size, `${driver.inFlight} in flight`);
      if (driver.fault !== undefined || device.fault !== undefined) break;
      const area = random.pick(areas);
      const at = area.from + random.below(area.bytes);
      // Any value, or one that is a small step away, or a single bit.
      const before = arena.bytes[at] ?? 0;
      const change = random.below(3);
      if (change === 0) arena.bytes[at] = random.below(256);
      else if (change === 1) arena.bytes[at] = before + 1 - random.below(3);
      else arena.bytes[at] = before ^ (1 << random.below(8));
      done += 1;
    }
    // What is broken stays so, and goes on without harm.
    if (driver.fault !== undefined) {
      found.driverBroken += 1;
      must(driver.take() === Taken.BROKEN && driver.ready(), 'the driver forgot its fault');
    }
    if (device.fault !== undefined) {
      found.deviceBroken += 1;
      must(device.pop(chain) === Popped.BROKEN && device.ready(), 'the device forgot its fault');
    }
    for (let turn = 0; turn < 4; turn += 1) random.pick(actions)();
  };

  while (done < mutations) {
    arena.reuse(room);
    life(
      createPair({
        format,
        size: format.sizes[random.below(4)] ?? 8,
        eventIndex: random.once(2),
        buffersPerTable: random.pick([0, 2, 4]),
        inOrder: random.once(4),
        arena,
        driverMemory: memory,
        deviceMemory: memory,
      }),
    );
    must(arena.guardsIntact(), 'a byte outside memory changed');
  }
  return { mutations: done, ...found };
}

describe.each(FORMATS)('$name: live rings', (format) => {
  it(
    'survive any single byte changed at any moment',
    () => {
      const outcome = storm(format, MUTATIONS, 2026);
      expect(outcome.mutations).toBe(MUTATIONS);
      // The rings did carry chains, and both sides met damage of all kinds.
      for (const count of Object.values(outcome)) expect(count).toBeGreaterThan(MUTATIONS / 200);
    },
    60_000 + MUTATIONS / 10,
  );

  it('survive memory full of random bytes', () => {
    const random = new Random(7);
    const outcomes = new Set<Popped>();
    for (let round = 0; round < 3000; round += 1) {
      const arena = new Arena({ sizeBytes: 0x1000 });
      const memory = new WatchedMemory(arena);
      const { device, chain, placed } = createPair({
        format,
        size: 4,
        buffersPerTable: 4,
        arena,
        deviceMemory: memory,
      });
      // Mostly small numbers, which lead further than large ones.
      const small = random.once(2);
      for (let at = placed.from; at < placed.from + placed.bytes; at += 1)
        arena.bytes[at] = small && !random.once(4) ? random.below(4) : random.below(256);
      for (let pops = 0; pops < 6; pops += 1) {
        const popped = device.pop(chain);
        outcomes.add(popped);
        if (popped !== Popped.CHAIN) break;
        device.push(chain, 0);
        device.publish();
      }
      must(memory.count < 300, `${memory.count} accesses`);
    }
    expect([...outcomes].toSorted((a, b) => a - b)).toEqual([0, 1, 2]);
  });

  it('a storm that finds nothing would say so: an access outside memory throws', () => {
    const arena = new Arena({ sizeBytes: 0x1000 });
    const memory = new WatchedMemory(arena);
    expect(() => memory.getUint32(0xffd)).toThrow(/leaves the memory/);
    expect(() => memory.write(-1, new Uint8Array(1), 0, 1)).toThrow(/leaves the memory/);
    expect(memory.getUint32(0xffc)).toBe(0);
  });
});
