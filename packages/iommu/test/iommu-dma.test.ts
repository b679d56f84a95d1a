import { Protection } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Direction, DmaAttribute } from '../src/dma-ops.ts';
import {
  RAM_PAGE,
  type World,
  cpu0,
  cpu1,
  createWorld,
  deviceWrite,
  isIdle,
  makeDevice,
} from './dma-world.ts';
import { READ, WRITE } from './scripted-domain.ts';

const { TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL, NONE } = Direction;
const PAGE = RAM_PAGE + 512;

describe('one buffer in a strict domain', () => {
  it('S4.16 map and unmap wait once each, and the address can be used again at once [C11]', () => {
    const { iommu, user } = createWorld();
    const first = user.mapped(PAGE, 0, 4096);
    expect(iommu.traffic.notifications).toBe(1);
    user.unmap(first, 4096);
    expect(iommu.traffic).toEqual({ maps: 1, unmaps: 1, notifications: 2 });
    expect(user.mapped(PAGE + 7, 0, 4096)).toEqual(first);
  });

  it('S4.16 once unmap returns the device does not reach the page', () => {
    const world = createWorld();
    const { user } = world;
    const { page } = user.mapped(PAGE, 0, 4096);
    deviceWrite(world, page, 0, 1, 7);
    user.unmap({ page, offset: 0 }, 4096);
    expect(() => deviceWrite(world, page, 0, 1, 8)).toThrow('cannot write');
    expect(user.bytes(PAGE, 0, 1)).toEqual([7]);
  });

  it('S4.16 a buffer keeps its offset, and its pages are mapped whole [C16]', () => {
    const { iommu, user } = createWorld();
    const address = user.mapped(PAGE, 0x234, 100);
    expect(address.offset).toBe(0x234);
    expect(iommu.sent).toMatchObject([{ start: address.page, phys: PAGE, pages: 1 }]);
    user.unmap(address, 100);
    expect(iommu.table.size).toBe(0);
    // Two bytes that lie in two pages; and an offset that leads into a later page.
    const across = user.mapped(PAGE, 4095, 2);
    expect(iommu.sent[1]).toMatchObject({ phys: PAGE, pages: 2 });
    user.unmap(across, 2);
    const later = user.mapped(PAGE, 3 * 4096 + 5, 10);
    expect([later.offset, iommu.sent[2]?.phys, iommu.sent[2]?.pages]).toEqual([5, PAGE + 3, 1]);
  });

  it.each([
    ['TO_DEVICE', TO_DEVICE, 0, READ | Protection.CACHE],
    ['FROM_DEVICE', FROM_DEVICE, 0, WRITE | Protection.CACHE],
    ['BIDIRECTIONAL', BIDIRECTIONAL, 0, READ | WRITE | Protection.CACHE],
    ['MMIO', BIDIRECTIONAL, DmaAttribute.MMIO, READ | WRITE | Protection.MMIO],
  ] as const)('S4.16 %s gives the device the access that it needs, and no more', (...row) => {
    const [, direction, attributes, protection] = row;
    const { iommu, user } = createWorld();
    user.map(PAGE, 0, 4096, direction, cpu0, attributes);
    expect(iommu.sent[0]?.protection).toBe(protection);
  });

  it('S4.16 refuses no bytes, no direction, and a device that can do no DMA', () => {
    const { iommu, user, device } = createWorld();
    expect(user.map(PAGE, 0, 0)).toBe(undefined);
    expect(user.map(PAGE, 0, Number.NaN)).toBe(undefined);
    expect(user.map(PAGE, 0, 4096, NONE)).toBe(undefined);
    device.dmaLastPage = -1;
    expect(user.map(PAGE, 0, 4096)).toBe(undefined);
    expect(iommu.traffic.maps).toBe(0);
  });

  it('S4.16 stays below the mask of the device, and fails where there is nothing [C23]', () => {
    const below = createWorld({ device: { dmaMask: 0xff_ffffn } });
    expect(below.user.mapped(PAGE, 0, 4096).page).toBe(0xfff);
    below.device.busLastPage = 0x7ff;
    expect(below.user.mapped(PAGE, 0, 4096).page).toBe(0x7ff);
    const aperture = { start: 2n ** 32n, last: 2n ** 64n - 1n };
    const { user, cookie } = createWorld({ aperture, device: { dmaMask: 0xffff_ffffn } });
    expect(user.map(PAGE, 0, 4096)).toBe(undefined);
    expect(isIdle(cookie)).toBe(true);
  });

  it('S4.16 what was never mapped is not unmapped, and counted', () => {
    const { user, log, iommu } = createWorld();
    user.unmap({ page: 123, offset: 0 }, 4096);
    expect([log.counters.unmapUnknown, iommu.traffic.unmaps]).toEqual([1, 0]);
  });

  it('S4.16 an address whose unmap failed is never used again [C22]', () => {
    const { iommu, user, log, cookie } = createWorld();
    const { page } = user.mapped(PAGE, 0, 4096);
    iommu.script.unmap = () => 'ERANGE';
    user.unmap({ page, offset: 0 }, 4096);
    expect(log.counters.iovaLeaked).toBe(1);
    iommu.script = {};
    for (let n = 0; n < 300; n += 1) expect(user.mapped(PAGE, 0, 4096).page).not.toBe(page);
    cookie.space.flushCaches();
    expect(cookie.space.usedWithin(page, page)).toBe(true);
  });

  it('S4.16 nor is one whose unmap was not finished, or fell short', () => {
    const { iommu, user, log, cookie } = createWorld();
    const broken = user.mapped(PAGE, 0, 4096);
    const short = user.mapped(PAGE, 0, 8192);
    iommu.script.broken = true;
    user.unmap(broken, 4096);
    iommu.script = {};
    user.unmap(short, 4096);
    expect(log.counters).toMatchObject({ iovaLeaked: 2, flushFailed: 1, unmapShort: 1 });
    cookie.space.flushCaches();
    for (const { page } of [broken, short]) expect(cookie.space.usedWithin(page, page)).toBe(true);
  });

  it.each<[string, (world: World) => void]>([
    ['the queue refuses', ({ iommu }) => (iommu.script.queueMap = () => 'ENOSPC')],
    ['the device refuses', ({ iommu }) => (iommu.script.map = () => 'ENOMEM')],
    ['the device is silent', ({ iommu }) => (iommu.script.broken = true)],
    ['no address is left', ({ device }) => (device.busLastPage = 0)],
  ])('S4.16 a mapping fails without a trace when %s', (_, fail) => {
    for (const untrusted of [false, true]) {
      const world = createWorld({ device: { untrusted } });
      const { user, iommu, cookie, pool, ram } = world;
      const taken = ram.pagesTaken;
      fail(world);
      expect(user.map(PAGE, 1, 100)).toBe(undefined);
      expect(user.ops.allocateCoherent(cpu0, user.device, 8192)).toBe(undefined);
      expect([iommu.tree.size, pool.slots.used, ram.pagesTaken]).toEqual([0, 0, taken]);
      iommu.script = {};
      expect(isIdle(cookie)).toBe(true);
    }
  });
});

describe('one buffer in a lazy domain', () => {
  const lazy = () => createWorld({ type: 'DMA-FQ' });

  it('S1.5 unmaps notify nobody; one flush after 10 ms frees all addresses [C12]', () => {
    const { user, iommu, clock, cookie } = lazy();
    const addresses = Array.from({ length: 100 }, (_, n) => user.mapped(PAGE + n, 0, 4096));
    expect(iommu.traffic.notifications).toBe(100);
    for (const address of addresses) user.unmap(address, 4096);
    clock.advance(9);
    expect(iommu.traffic).toEqual({ maps: 100, unmaps: 100, notifications: 100 });
    clock.advance(1);
    expect([iommu.traffic.notifications, iommu.table.size]).toEqual([101, 0]);
    cookie.space.flushCaches();
    expect(cookie.space.usedWithin(1, cookie.lastPage)).toBe(false);
  });

  it('S4.17 until the flush the device reaches the page and nobody gets its address; then the reverse', () => {
    const world = lazy();
    const { user, clock } = world;
    const { page } = user.mapped(PAGE, 0, 4096);
    user.unmap({ page, offset: 0 }, 4096);
    deviceWrite(world, page, 0, 1, 9);
    expect(user.mapped(PAGE + 1, 0, 4096).page).not.toBe(page);
    clock.advance(10);
    expect(() => deviceWrite(world, page, 0, 1, 9)).toThrow('cannot write');
    expect(user.mapped(PAGE + 2, 0, 4096).page).toBe(page);
  });

  it('S4.17 a full queue is flushed as well', () => {
    const { user, iommu } = createWorld({ type: 'DMA-FQ', boot: { flushQueueSize: 8 } });
    const addresses = Array.from({ length: 8 }, (_, n) => user.mapped(PAGE + n, 0, 4096));
    for (const address of addresses.slice(0, 7)) user.unmap(address, 4096);
    expect(iommu.table.size).toBe(8);
    user.unmap(addresses[7] ?? { page: 0, offset: 0 }, 4096);
    expect([iommu.table.size, iommu.traffic.notifications]).toEqual([0, 9]);
  });

  it('S4.17 an address whose unmap failed is never used again [C22]', () => {
    const { iommu, user, log, clock, cookie } = lazy();
    const { page } = user.mapped(PAGE, 0, 4096);
    iommu.script.unmap = () => 'ERANGE';
    user.unmap({ page, offset: 0 }, 4096);
    clock.advance(10);
    expect(log.counters.iovaLeaked).toBe(1);
    cookie.space.flushCaches();
    expect(cookie.space.usedWithin(page, page)).toBe(true);
  });

  it('S4.17 an unmap that finds its queue busy ends when the queue is free', () => {
    const { concurrency, iommu, user, clock, cookie } = lazy();
    const [first, second] = [user.mapped(PAGE, 0, 4096), user.mapped(PAGE + 1, 0, 4096)];
    user.unmap(first, 4096);
    let met = 0;
    // Asked while the addresses of the queue are given back, under its lock.
    iommu.script.onIsStuck = () => {
      if (met++ === 0) concurrency.run(() => user.unmap(second, 4096));
    };
    clock.advance(10);
    expect([concurrency.parked, iommu.traffic.unmaps, cookie.flushQueue?.parkedRanges]).toEqual([
      1, 2, 1,
    ]);
    expect(isIdle(cookie)).toBe(true);
  });

  it('S4.2 an untrusted device is strict even there', () => {
    const world = lazy();
    const { user, iommu, cookie } = world;
    const untrusted = makeDevice({ untrusted: true });
    user.ops.map(cpu0, untrusted, PAGE, 0, 4096, BIDIRECTIONAL, 0, { page: 0, offset: 0 });
    const start = iommu.sent[0]?.start ?? 0;
    user.ops.unmap(cpu0, untrusted, start, 0, 4096, BIDIRECTIONAL, 0);
    expect([iommu.table.size, cookie.flushQueue?.parkedRanges]).toEqual([0, 0]);
  });
});

describe('a strict domain that becomes lazy', () => {
  it('S4.13 an unmap that has begun ends strictly, the next one is deferred [C15]', () => {
    const world = createWorld();
    const { concurrency, layer, domain, user, iommu, cookie } = world;
    const [first, second] = [user.mapped(PAGE, 0, 4096), user.mapped(PAGE + 1, 0, 4096)];
    concurrency.hook = (point) => {
      if (point !== 'dma:beforeSync' || cookie.flushQueue !== undefined) return;
      concurrency.run(() => {
        layer.buildQueue(domain);
        layer.publishQueue(domain);
        user.unmap(second, 4096, BIDIRECTIONAL, cpu1);
      });
    };
    user.unmap(first, 4096);
    // The strict one waited for both; only the lazy one's address is parked.
    expect([iommu.table.size, cookie.flushQueue?.parkedRanges]).toEqual([0, 1]);
    expect(user.mapped(PAGE, 0, 4096)).toEqual(first);
  });

  it('S4.13 mappings, addresses and operations stay', () => {
    const world = createWorld();
    const { layer, domain, user, device, iommu, clock, cookie } = world;
    const { ops } = user;
    const address = user.mapped(PAGE, 0, 4096);
    layer.buildQueue(domain);
    expect(cookie.flushQueue).toBe(undefined);
    layer.publishQueue(domain);
    layer.setupOps(device, domain);
    expect([device.dmaOps, domain.cookie]).toEqual([ops, cookie]);
    deviceWrite(world, address.page, 0, 4096, 5);
    const before = iommu.traffic.notifications;
    user.unmap(address, 4096);
    expect(iommu.traffic.notifications).toBe(before);
    clock.advance(10);
    expect([iommu.traffic.notifications, iommu.table.size]).toEqual([before + 1, 0]);
  });
});

describe('contexts that meet', () => {
  it('S4.16 one that has to wait for the domain leaves nothing behind, and starts again', () => {
    for (const untrusted of [false, true]) {
      const { concurrency, iommu, user, cookie, pool, ram, device } = createWorld({
        device: { untrusted },
      });
      const taken = ram.pagesTaken;
      const held: number[] = [];
      const address = user.mapped(PAGE, 0, 4096);
      // With the domain's lock held.
      iommu.script.onUnmap = () => {
        iommu.script = {};
        concurrency.run(() => void user.map(PAGE, 8, 100, BIDIRECTIONAL, cpu1));
        concurrency.run(() => void user.ops.allocateCoherent(cpu1, device, 4096));
        cookie.space.flushCaches();
        held.push(
          pool.slots.used,
          ram.pagesTaken - taken,
          cookie.space.usedWithin(1, address.page - 1) ? 1 : 0,
        );
      };
      user.unmap(address, 4096);
      expect([concurrency.parked, ...held]).toEqual([2, 0, 0, 0]);
      expect([iommu.tree.size, pool.slots.used, ram.pagesTaken - taken]).toEqual([
        2,
        untrusted ? 2 : 0,
        1,
      ]);
    }
  });

  it('S4.16 a failure that nobody knows passes through with everything undone', () => {
    const { concurrency, user, cookie, pool, device, ram } = createWorld({
      device: { untrusted: true },
    });
    const taken = ram.pagesTaken;
    const surprise = new Error('surprise');
    concurrency.hook = (point) => {
      if (point === 'dma:afterIova') throw surprise;
    };
    expect(() => user.map(PAGE, 8, 100)).toThrow(surprise);
    expect(() => user.ops.allocateCoherent(cpu0, device, 4096)).toThrow(surprise);
    concurrency.hook = undefined;
    expect([pool.slots.used, ram.pagesTaken, isIdle(cookie)]).toEqual([0, taken, true]);
  });
});
