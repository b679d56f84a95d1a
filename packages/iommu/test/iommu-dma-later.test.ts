/** Many mappings with one wait, and many unmaps with another. */

import { describe, expect, it } from 'vitest';
import { Direction, DmaAddress, DmaAttribute, type DmaOps } from '../src/dma-ops.ts';
import {
  RAM_PAGE,
  type World,
  cpu0,
  cpu1,
  createWorld,
  deviceWrite,
  isIdle,
  piece,
} from './dma-world.ts';
import { READ } from './scripted-domain.ts';

const { FROM_DEVICE, BIDIRECTIONAL } = Direction;
const { LATER } = DmaAttribute;
const PAGE = RAM_PAGE + 512;
const SIZE = 4096;

/** Maps pages from {@link PAGE} on, one by one, for later. */
function mapLater({ user }: World, count: number, size = SIZE): DmaAddress[] {
  return Array.from({ length: count }, (_, n) => {
    const address = user.map(PAGE + n, 0, size, BIDIRECTIONAL, cpu0, LATER);
    if (address === undefined) throw new Error('DMA_MAPPING_ERROR');
    return address;
  });
}

function finishMap({ user, device }: World, { page, offset }: DmaAddress, size = SIZE): boolean {
  return user.ops.finishMap(device, page, offset, size);
}

function unmapLater({ user }: World, addresses: readonly DmaAddress[], size = SIZE): void {
  for (const address of addresses) user.unmap(address, size, BIDIRECTIONAL, cpu0, LATER);
}

const finishUnmaps = ({ user, device }: World, context = cpu0): void =>
  user.ops.finishUnmaps(context, device);
/** Which of them the device reaches. */
const reached = ({ iommu }: World, addresses: readonly DmaAddress[]): boolean[] =>
  addresses.map(({ page }) => iommu.reach(page, READ) !== undefined);

describe('mappings that are finished later', () => {
  it('S1.2 wait once for all of them', () => {
    const world = createWorld();
    const { iommu } = world;
    const addresses = mapLater(world, 10);
    expect([iommu.traffic, new Set(reached(world, addresses))]).toEqual([
      { maps: 10, unmaps: 0, notifications: 0 },
      new Set([false]),
    ]);
    for (const address of addresses) {
      expect(finishMap(world, address)).toBe(true);
      expect(reached(world, addresses)).not.toContain(false);
    }
    expect(iommu.traffic).toEqual({ maps: 10, unmaps: 0, notifications: 1 });
  });

  it('S1.2 also if each of them is a list', () => {
    const world = createWorld();
    const { iommu, user, device } = world;
    const lists = [0, 1, 2].map((n) => [piece(PAGE + 10 * n, 0, SIZE), piece(PAGE + 5, 0, SIZE)]);
    for (const list of lists)
      expect(user.ops.mapList(cpu0, device, list, 2, BIDIRECTIONAL, LATER)).toBe(1);
    for (const [{ dmaPage, dmaOffset, dmaSizeBytes } = piece(0, 0, 0)] of lists)
      expect(user.ops.finishMap(device, dmaPage, dmaOffset, dmaSizeBytes)).toBe(true);
    expect(iommu.traffic).toEqual({ maps: 6, unmaps: 0, notifications: 1 });
    for (const list of lists) user.ops.unmapList(cpu0, device, list, 2, BIDIRECTIONAL, LATER);
    finishUnmaps(world);
    expect([iommu.traffic.notifications, iommu.table.size, isIdle(world.cookie)]).toEqual([
      2,
      0,
      true,
    ]);
  });

  it('S1.4 one that the device refuses is known, and the others stay [C21]', () => {
    const world = createWorld();
    const { iommu, user } = world;
    iommu.script.map = ({ phys }) => (phys === PAGE + 1 ? 'ENOMEM' : undefined);
    const addresses = mapLater(world, 4);
    const good = addresses.map((address) => finishMap(world, address));
    expect(good).toEqual([true, false, true, true]);
    expect([reached(world, addresses), iommu.traffic.notifications]).toEqual([good, 1]);
    for (const address of addresses) user.unmap(address, SIZE);
    expect([iommu.table.size, iommu.tree.size, isIdle(world.cookie)]).toEqual([0, 0, true]);
  });

  it('S1.4 a list of which a segment was refused is unmapped as a whole', () => {
    const world = createWorld();
    const { iommu, user, device } = world;
    iommu.script.map = ({ phys }) => (phys === PAGE + 9 ? 'ENOMEM' : undefined);
    const list = [piece(PAGE, 0, SIZE), piece(PAGE + 9, 100, SIZE - 100)];
    expect(user.ops.mapList(cpu0, device, list, 2, BIDIRECTIONAL, LATER)).toBe(2);
    const good = list.map(({ dmaPage, dmaOffset, dmaSizeBytes }) =>
      user.ops.finishMap(device, dmaPage, dmaOffset, dmaSizeBytes),
    );
    expect(good).toEqual([true, false]);
    user.unmapList(list);
    expect([iommu.table.size, iommu.tree.size, isIdle(world.cookie)]).toEqual([0, 0, true]);
  });

  it('S1.4 none is good if the IOMMU does not answer', () => {
    const world = createWorld();
    const addresses = mapLater(world, 2);
    world.iommu.script.broken = true;
    expect(addresses.map((address) => finishMap(world, address))).toEqual([false, false]);
  });

  it('S1.4 one that the queue has no room for fails at once', () => {
    const world = createWorld();
    world.iommu.script.queueMap = () => 'ENOSPC';
    expect(world.user.map(PAGE, 0, SIZE, BIDIRECTIONAL, cpu0, LATER)).toBe(undefined);
    expect(isIdle(world.cookie)).toBe(true);
  });

  it('S1.12 a context that has to wait for the lock has changed nothing', () => {
    const world = createWorld();
    const { iommu, concurrency } = world;
    iommu.script.map = () => 'ENOMEM';
    const [address = new DmaAddress()] = mapLater(world, 1);
    const results: boolean[] = [];
    const syncMap = iommu.syncMap.bind(iommu);
    iommu.syncMap = (start, pages) => {
      iommu.lock.hold(() => undefined);
      syncMap(start, pages);
    };
    iommu.lock.acquire();
    concurrency.run(() => results.push(finishMap(world, address)));
    expect([concurrency.parked, results]).toEqual([1, []]);
    iommu.lock.release();
    expect(results).toEqual([false]);
  });
});

describe('unmaps that are finished later', () => {
  it('S4.16 wait once for all of them, and then the device reaches none', () => {
    const world = createWorld();
    const { iommu } = world;
    const addresses = mapLater(world, 10);
    addresses.forEach((address) => finishMap(world, address));
    unmapLater(world, addresses);
    expect(iommu.traffic).toEqual({ maps: 10, unmaps: 10, notifications: 1 });
    finishUnmaps(world);
    expect([iommu.traffic.notifications, iommu.table.size]).toEqual([2, 0]);
    expect(isIdle(world.cookie)).toBe(true);
    // Nothing is left to wait for.
    iommu.script.onWait = () => {
      throw new Error('nobody waits');
    };
    finishUnmaps(world);
  });

  it('S4.16 no address is used again before', () => {
    const world = createWorld();
    const addresses = mapLater(world, 3);
    const before = new Set(addresses.map(({ page }) => page));
    unmapLater(world, addresses);
    const others = mapLater(world, 200);
    expect(others.filter(({ page }) => before.has(page))).toEqual([]);
    finishUnmaps(world);
    expect(before).toContain(world.user.mapped(PAGE, 0, SIZE).page);
  });

  it('S4.2 copying back waits until then', () => {
    const world = createWorld({ device: { untrusted: true } });
    const { user, pool, iommu } = world;
    const address = user.map(PAGE, 1, 10, FROM_DEVICE, cpu0, LATER) ?? new DmaAddress();
    finishMap(world, address, 10);
    user.unmap(address, 10, FROM_DEVICE, cpu0, LATER);
    iommu.script.onWait = () => deviceWrite(world, address.page, address.offset, 10, 0x77);
    expect([user.bytes(PAGE, 1, 1), pool.slots.used]).toEqual([[0], 2]);
    finishUnmaps(world);
    expect([user.bytes(PAGE, 1, 10), pool.slots.used]).toEqual([Array(10).fill(0x77), 0]);
  });

  it('S4.2 a list of an untrusted device goes in the same way', () => {
    const world = createWorld({ device: { untrusted: true } });
    const { user, device, pool, iommu } = world;
    const list = [piece(PAGE, 10, 100), piece(PAGE, 200, 50)];
    expect(user.ops.mapList(cpu0, device, list, 2, BIDIRECTIONAL, LATER)).toBe(2);
    for (const { dmaPage, dmaOffset, dmaSizeBytes } of list)
      expect(user.ops.finishMap(device, dmaPage, dmaOffset, dmaSizeBytes)).toBe(true);
    const { dmaPage, dmaOffset } = list[1] ?? piece(0, 0, 0);
    deviceWrite(world, dmaPage, dmaOffset, 50, 3);
    user.ops.unmapList(cpu0, device, list, 2, BIDIRECTIONAL, LATER);
    expect(user.bytes(PAGE, 200, 1)).toEqual([0]);
    finishUnmaps(world);
    expect(user.bytes(PAGE, 200, 50)).toEqual(Array(50).fill(3));
    expect([iommu.traffic.notifications, pool.slots.used]).toEqual([2, 0]);
  });

  it('S4.16 as many as come: some are finished when too many wait', () => {
    const world = createWorld();
    const { iommu } = world;
    const addresses = mapLater(world, 300);
    addresses.forEach((address) => finishMap(world, address));
    unmapLater(world, addresses);
    expect([iommu.traffic.unmaps, iommu.traffic.notifications]).toEqual([300, 2]);
    finishUnmaps(world);
    expect([iommu.table.size, iommu.traffic.notifications]).toEqual([0, 3]);
    expect(isIdle(world.cookie)).toBe(true);
  });

  it('S4.16 an unmap that waits has waited for those before it', () => {
    const world = createWorld();
    const [first = new DmaAddress(), second = new DmaAddress()] = mapLater(world, 2);
    unmapLater(world, [first]);
    world.user.unmap(second, SIZE);
    expect([world.iommu.traffic.notifications, isIdle(world.cookie)]).toEqual([1, true]);
  });

  it('S4.16 an address whose unmap failed is never used again, the others are [C22]', () => {
    const world = createWorld();
    const { iommu, log, cookie } = world;
    const addresses = mapLater(world, 3);
    const stuck = addresses[1]?.page ?? 0;
    iommu.script.unmap = (start) => (start === stuck ? 'ERANGE' : undefined);
    unmapLater(world, addresses);
    finishUnmaps(world);
    cookie.space.flushCaches();
    expect(log.counters.iovaLeaked).toBe(1);
    expect(addresses.map(({ page }) => cookie.space.usedWithin(page, page))).toEqual([
      false,
      true,
      false,
    ]);
  });

  it('S4.16 nor are any if the IOMMU does not answer, with the memory that they bounced in', () => {
    const world = createWorld({ device: { untrusted: true } });
    const { iommu, log, pool } = world;
    const addresses = mapLater(world, 2, 100);
    addresses.forEach((address) => finishMap(world, address, 100));
    unmapLater(world, addresses, 100);
    iommu.script.broken = true;
    finishUnmaps(world);
    expect(log.counters).toMatchObject({ iovaLeaked: 2, flushFailed: 1 });
    expect([pool.slots.used, isIdle(world.cookie)]).toEqual([4, false]);
  });

  it('S4.16 what another context unmaps meanwhile is not finished with it', () => {
    const world = createWorld();
    const addresses = mapLater(world, 2);
    const [first = new DmaAddress(), second = new DmaAddress()] = addresses;
    addresses.forEach((address) => finishMap(world, address));
    unmapLater(world, [first]);
    afterNextSync(world, () => unmapLater(world, [second]));
    finishUnmaps(world);
    expect(reached(world, addresses)).toEqual([false, true]);
    expect(mapLater(world, 200).some(({ page }) => page === second.page)).toBe(false);
    finishUnmaps(world);
    expect(reached(world, [second])).toEqual([false]);
  });

  it('S4.16 each is ended once, whoever waits', () => {
    const world = createWorld({ device: { untrusted: true } });
    const { pool, lines, cookie } = world;
    const addresses = mapLater(world, 3, 100);
    addresses.forEach((address) => finishMap(world, address, 100));
    unmapLater(world, addresses.slice(0, 2), 100);
    afterNextSync(world, () => {
      unmapLater(world, addresses.slice(2), 100);
      finishUnmaps(world, cpu1);
      // All is free by now, and taken by others.
      mapLater(world, 3, 100);
    });
    finishUnmaps(world);
    expect([pool.slots.used, lines]).toEqual([6, []]);
    expect(isIdle(cookie)).toBe(false);
  });

  it('S1.12 a context that has to wait for the lock has ended none, nor has one that fails', () => {
    const world = createWorld();
    const { iommu, concurrency, cookie } = world;
    const addresses = mapLater(world, 2);
    addresses.forEach((address) => finishMap(world, address));
    unmapLater(world, addresses);
    const sync = iommu.sync.bind(iommu);
    iommu.sync = () => {
      throw new Error('surprise');
    };
    expect(() => finishUnmaps(world)).toThrow('surprise');
    iommu.sync = () => {
      iommu.lock.hold(() => undefined);
      sync();
    };
    iommu.lock.acquire();
    concurrency.run(() => finishUnmaps(world));
    expect([concurrency.parked, iommu.table.size, isIdle(cookie)]).toEqual([1, 2, false]);
    iommu.lock.release();
    expect([iommu.table.size, isIdle(cookie)]).toEqual([0, true]);
  });

  it('S4.17 in a lazy domain they wait for a flush, and nobody for them', () => {
    const world = createWorld({ type: 'DMA-FQ' });
    const { iommu, cookie } = world;
    const addresses = mapLater(world, 5);
    addresses.forEach((address) => finishMap(world, address));
    unmapLater(world, addresses);
    finishUnmaps(world);
    expect([iommu.traffic.notifications, cookie.flushQueue?.parkedRanges]).toEqual([1, 5]);
    cookie.drain();
    expect([reached(world, addresses).includes(true), isIdle(cookie)]).toEqual([false, true]);
  });
});

describe('without an IOMMU', () => {
  it('there is nothing to wait for', () => {
    const { layer, device } = createWorld();
    for (const ops of [layer.direct, layer.physical] as readonly DmaOps[]) {
      const into = new DmaAddress();
      expect(ops.map(cpu0, device, PAGE, 5, 100, BIDIRECTIONAL, LATER, into)).toBe(true);
      expect([into, ops.finishMap(device, into.page, into.offset, 100)]).toEqual([
        { page: PAGE, offset: 5 },
        true,
      ]);
      ops.unmap(cpu0, device, into.page, into.offset, 100, BIDIRECTIONAL, LATER);
      ops.finishUnmaps(cpu0, device);
    }
  });
});

/** Something happens when the device has served the next wait, before the waiter goes on. */
function afterNextSync({ iommu }: World, then: () => void): void {
  const sync = iommu.sync.bind(iommu);
  iommu.sync = () => {
    iommu.sync = sync;
    sync();
    then();
  };
}
