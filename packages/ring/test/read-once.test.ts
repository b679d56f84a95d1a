/**
 * Each byte that the other side can change is read once, so that what was checked is what is used.
 *
 * Two proofs: an account of all reads, and an adversary that rewrites everything between any two of them.
 */

import { Popped, Taken } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { FORMATS } from './kit/format.ts';
import { must } from './kit/must.ts';
import { type Pair, type PairOptions, createPair } from './kit/pair.ts';
import { Random } from './kit/random.ts';
import { WatchedMemory, repeated } from './kit/watched-memory.ts';

const KINDS = [
  { chains: 'direct chains', buffersPerTable: 0 },
  { chains: 'chains in tables', buffersPerTable: 4 },
];

/** A pair whose sides are watched one by one. */
function watchedPair(
  options: PairOptions,
): Pair & Record<'driverMemory' | 'deviceMemory', WatchedMemory> {
  const arena = new Arena();
  const driverMemory = new WatchedMemory(arena);
  const deviceMemory = new WatchedMemory(arena);
  return {
    ...createPair({ ...options, arena, driverMemory, deviceMemory }),
    driverMemory,
    deviceMemory,
  };
}

describe.each(FORMATS)('$name: reads', (format) => {
  it.each(KINDS)('a pop of $chains reads no byte twice, and a chain none of its own', (kind) => {
    const { arena, driver, device, deviceMemory, chain } = watchedPair({ ...kind, format });
    const random = new Random(1);
    let longest = 0;
    for (let round = 0; round < 200; round += 1) {
      const readable = Array.from({ length: random.below(3) }, () => random.bytes(8));
      const writable = Array.from({ length: 1 + random.below(2) }, () => 8);
      if (!driver.add(arena.buffers(readable, writable), round)) expect.unreachable('no room');
      driver.publish();
      deviceMemory.trace = [];
      expect(device.pop(chain)).toBe(Popped.CHAIN);
      expect(repeated(deviceMemory.trace, 'read')).toEqual([]);
      longest = Math.max(longest, deviceMemory.trace.length);

      deviceMemory.trace = [];
      const target = new Uint8Array(64);
      chain.read(0, target, 0, 64);
      chain.write(0, target, 0, 64);
      expect(repeated(deviceMemory.trace, 'read')).toEqual([]);
      expect(repeated(deviceMemory.trace, 'write')).toEqual([]);

      deviceMemory.trace = [];
      device.push(chain, 8);
      device.publish();
      // What the driver wants to know of notifications, and nothing else.
      const reads = deviceMemory.trace.filter((access) => access.kind === 'read');
      expect(reads.every(({ ordered, length }) => ordered && length === 2)).toBe(true);
      expect(reads.length).toBeLessThanOrEqual(2);
      driver.take();
    }
    expect(longest).toBeGreaterThan(8);
  });

  it.each(KINDS)(
    `${format.name}.dev.desc.no-read-writable: writable buffers are not read, $chains`,
    (kind) => {
      const { arena, driver, device, deviceMemory, chain } = watchedPair({ ...kind, format });
      const list = arena.buffers([Uint8Array.of(1, 2)], [3, 5]);
      const from = Number(list.address(1) - arena.base);
      driver.add(list, 0);
      driver.publish();
      deviceMemory.trace = [];
      device.pop(chain);
      chain.read(0, new Uint8Array(16), 0, 16);
      chain.write(0, new Uint8Array(8), 0, 8);
      chain.writeWord(0, 1);
      device.push(chain, 8);
      device.publish();
      const touched = deviceMemory.trace.filter(
        ({ position, length }) => position < from + 8 && position + length > from,
      );
      expect(touched.map(({ kind: access }) => access)).not.toContain('read');
      expect(touched.length).toBeGreaterThan(0);
    },
  );

  it('a take reads no byte twice', () => {
    const { arena, driver, driverMemory, device, chain } = watchedPair({ format });
    const list = arena.buffers([Uint8Array.of(1)], [4]);
    for (let round = 0; round < 50; round += 1) {
      driver.add(list, round);
      driverMemory.trace = [];
      driver.publish();
      expect(driverMemory.trace.filter(({ kind }) => kind === 'read').length).toBeLessThan(3);
      device.pop(chain);
      device.push(chain, 4);
      device.publish();
      driverMemory.trace = [];
      expect(driver.take()).toBe(round);
      expect(repeated(driverMemory.trace, 'read')).toEqual([]);
    }
  });
});

describe('split: bursts', () => {
  it('read the index once, and once more to see their end', () => {
    const { arena, driver, driverMemory, device, deviceMemory, chain } = watchedPair({});
    const list = arena.buffers([], [4]);
    for (let token = 0; token < 8; token += 1) driver.add(list, token);
    driver.publish();
    deviceMemory.trace = [];
    while (device.pop(chain) === Popped.CHAIN) device.push(chain, 4);
    driverMemory.trace = [];
    device.publish();
    while (driver.take() >= 0);
    const loads = ({ trace = [] }: WatchedMemory) =>
      trace.filter(({ kind, ordered }) => kind === 'read' && ordered).length;
    // The device's third one is for the notification.
    expect([loads(deviceMemory), loads(driverMemory)]).toEqual([3, 2]);
  });
});

describe.each(FORMATS)('$name: rewritten between any two reads', (format) => {
  /** Changes bytes of the ring and the tables: all of them, or one, to anything. */
  function spoil({ arena, placed, tables }: Pair, random: Random): void {
    const areas = [placed, tables].filter(({ bytes }) => bytes > 0);
    const { from, bytes } = random.pick(areas);
    if (random.once(4)) arena.bytes.set(random.bytes(bytes), from);
    else if (random.once(2)) arena.bytes.fill(random.pick([0, 0xff, 4, 3]), from, from + bytes);
    else arena.bytes[from + random.below(bytes)] = random.below(256);
  }

  it.each(KINDS)('R-17 a device stays inside memory, whatever becomes of $chains', (kind) => {
    const random = new Random(17);
    const outcomes = new Set<string>();
    for (let round = 0; round < 1500; round += 1) {
      const pair = watchedPair({ ...kind, format });
      const { arena, driver, device, deviceMemory, chain } = pair;
      for (let token = 0; token < 3; token += 1)
        driver.add(arena.buffers([random.bytes(4), random.bytes(4)], [4, 4]), token);
      driver.publish();
      // The watched memory throws if an access leaves it. Here every byte changes right after the read number `at`.
      let at = random.below(20);
      deviceMemory.after = () => {
        if (at === 0 || random.once(10)) spoil(pair, random);
        at -= 1;
      };
      for (let pops = 0; pops < 4; pops += 1) {
        const popped = device.pop(chain);
        outcomes.add(popped === Popped.CHAIN && !chain.reachable ? 'unreachable' : `${popped}`);
        if (popped !== Popped.CHAIN) break;
        if (chain.reachable) {
          const bytes = new Uint8Array(64);
          chain.read(0, bytes, 0, 64);
          chain.write(0, bytes, 0, 64);
          if (chain.writableBytes >= 4) chain.writeWord(0, 0);
        }
        device.push(chain, 0);
      }
      device.publish();
      must(deviceMemory.count < 500, `${deviceMemory.count} accesses`);
      must(arena.guardsIntact(), 'a byte outside memory changed');
    }
    expect([...outcomes].sort()).toEqual(['0', '1', '2', 'unreachable']);
  });

  it('R-17 a driver gives each token back at most once, whatever becomes of the ring', () => {
    const random = new Random(71);
    const outcomes = new Set<string>();
    for (let round = 0; round < 1500; round += 1) {
      const pair = watchedPair({ format });
      const { arena, driver, driverMemory, device, chain } = pair;
      const inFlight = new Set<number>();
      for (let token = 0; token < 3; token += 1) {
        driver.add(arena.buffers([random.bytes(4)], [4]), token);
        inFlight.add(token);
      }
      driver.publish();
      while (device.pop(chain) === Popped.CHAIN) device.push(chain, 4);
      device.publish();
      let at = random.below(8);
      driverMemory.after = () => {
        if (at === 0 || random.once(10)) spoil(pair, random);
        at -= 1;
      };
      for (let takes = 0; takes < 4; takes += 1) {
        const token = driver.take();
        outcomes.add(token < 0 ? `${token}` : 'token');
        if (token < 0) break;
        must(inFlight.delete(token), `token ${token} was not in flight`);
      }
      must(driver.inFlight === inFlight.size, `${driver.inFlight} in flight`);
      must(driverMemory.count < 200, `${driverMemory.count} accesses`);
    }
    expect([...outcomes].sort()).toEqual([`${Taken.EMPTY}`, `${Taken.BROKEN}`, 'token']);
  });
});
