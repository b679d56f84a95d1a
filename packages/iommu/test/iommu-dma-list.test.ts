import { PAGE_MAX } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Direction, ScatterEntry } from '../src/dma-ops.ts';
import {
  RAM_PAGE,
  cpu0,
  createWorld,
  deviceRead,
  deviceWrite,
  isIdle,
  piece,
  segmentsOf,
} from './dma-world.ts';

const PAGE = RAM_PAGE + 512;

describe('lists of buffers', () => {
  it('S1.2 pieces that fill their pages make one segment, with one wait [C17]', () => {
    const { iommu, user } = createWorld();
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 9, 0, 4096), piece(PAGE + 4, 0, 100)];
    expect(user.mapList(list)).toBe(1);
    expect(segmentsOf(list)).toEqual([[iommu.sent[0]?.start, 0, 8292]]);
    expect(iommu.traffic.notifications).toBe(1);
    user.unmapList(list);
    expect(iommu.traffic).toEqual({ maps: 3, unmaps: 1, notifications: 2 });
  });

  it('S1.2 a piece that ends inside of its page ends its segment [C18]', () => {
    const { iommu, user, cookie } = createWorld();
    const list = [piece(PAGE, 0, 100), piece(PAGE + 9, 0, 4096)];
    expect(user.mapList(list)).toBe(2);
    const start = iommu.sent[0]?.start ?? 0;
    expect(segmentsOf(list)).toEqual([
      [start, 0, 100],
      [start + 1, 0, 4096],
    ]);
    expect([iommu.table.size, iommu.traffic.notifications]).toEqual([2, 1]);
    user.unmapList(list);
    expect([iommu.table.size, isIdle(cookie)]).toEqual([0, true]);
  });

  it('S1.2 neighbours in memory are one request [C19]', () => {
    const { iommu, user } = createWorld();
    const list = [piece(PAGE + 5, 0, 4096), piece(PAGE + 6, 0, 4096), piece(PAGE + 9, 0, 4096)];
    expect(user.mapList(list)).toBe(1);
    expect(iommu.sent.map(({ phys, pages }) => [phys, pages])).toEqual([
      [PAGE + 5, 2],
      [PAGE + 9, 1],
    ]);
    expect(iommu.traffic.notifications).toBe(1);
  });

  it('S1.2 a hundred pieces wait once, and once more when they go', () => {
    const { iommu, user, cookie } = createWorld();
    const list = Array.from({ length: 100 }, (_, n) => piece(PAGE + 2 * n, 5, 4000));
    expect(user.mapList(list)).toBe(100);
    expect(iommu.traffic).toEqual({ maps: 100, unmaps: 0, notifications: 1 });
    user.unmapList(list);
    expect([iommu.traffic.notifications, isIdle(cookie)]).toEqual([2, true]);
  });

  it('S1.2 offsets are kept, also those that lead into a later page', () => {
    const { iommu, user } = createWorld();
    const list = [piece(PAGE, 4096 + 0x234, 100), piece(PAGE + 5, 8192, 4096)];
    expect(user.mapList(list)).toBe(2);
    expect(iommu.sent.map(({ phys }) => phys)).toEqual([PAGE + 1, PAGE + 7]);
    expect(list.map(({ page, offset, sizeBytes }) => [page, offset, sizeBytes])).toEqual([
      [PAGE, 4096 + 0x234, 100],
      [PAGE + 5, 8192, 4096],
    ]);
    expect(segmentsOf(list)[0]?.[1]).toBe(0x234);
  });

  it('S1.2 no segment is longer than the device takes, unless one piece is', () => {
    const { user, device } = createWorld();
    device.segmentBytesMax = 8192;
    const list = [1, 2, 3].map((n) => piece(PAGE + n, 0, 4096)).concat(piece(PAGE + 9, 0, 12_288));
    expect(user.mapList(list)).toBe(3);
    expect(segmentsOf(list).map(([, , size]) => size)).toEqual([8192, 4096, 12_288]);
  });

  it('S1.2 no segment crosses a boundary of the device: the piece before is mapped up to it', () => {
    const { iommu, user, device, cookie } = createWorld();
    device.segmentBoundaryBytes = 4 * 4096;
    const list = [
      piece(PAGE, 0, 3 * 4096),
      piece(PAGE + 20, 0, 2 * 4096),
      piece(PAGE + 40, 0, 8192),
    ];
    expect(user.mapList(list)).toBe(2);
    expect(iommu.sent.map(({ phys, pages }) => [phys, pages])).toEqual([
      [PAGE, 4],
      [PAGE + 20, 2],
      [PAGE + 40, 2],
    ]);
    const segments = segmentsOf(list);
    expect(segments.map(([, , size]) => size)).toEqual([3 * 4096, 4 * 4096]);
    for (const [page, offset, size] of segments)
      expect((page % 4) * 4096 + offset + size).toBeLessThanOrEqual(4 * 4096);
    user.unmapList(list);
    expect([iommu.table.size, isIdle(cookie)]).toEqual([0, true]);
  });

  it('S1.2 what was lengthened counts for the boundaries behind it', () => {
    const { iommu, user, device } = createWorld();
    device.segmentBoundaryBytes = 4 * 4096;
    const list = [3, 2, 3].map((pages, n) => piece(PAGE + 20 * n, 0, pages * 4096));
    expect(user.mapList(list)).toBe(3);
    expect(iommu.table.size).toBe(4 + 4 + 3);
  });

  it('S1.2 a piece that begins inside of its page begins a segment', () => {
    const { user } = createWorld();
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 9, 5, 100)];
    expect(user.mapList(list)).toBe(2);
    expect(segmentsOf(list)[1]?.slice(1)).toEqual([5, 100]);
  });

  it('S1.2 a segment begins at a boundary even if the piece before ends there', () => {
    const { user, device } = createWorld();
    device.segmentBoundaryBytes = 2 * 4096;
    const list = [1, 3, 5, 7].map((n) => piece(PAGE + n, 0, 4096));
    expect(user.mapList(list)).toBe(2);
    expect(segmentsOf(list).map(([, , size]) => size)).toEqual([8192, 8192]);
  });

  it('S1.2 in a lazy domain a list is parked as one range', () => {
    const { iommu, user, cookie, clock } = createWorld({ type: 'DMA-FQ' });
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 9, 0, 4096)];
    user.mapList(list);
    user.unmapList(list);
    expect([cookie.flushQueue?.parkedRanges, iommu.traffic.notifications]).toEqual([1, 1]);
    clock.advance(10);
    expect([iommu.table.size, isIdle(cookie)]).toEqual([0, true]);
  });

  it.each([
    ['the second MAP is refused by the device', 'ENOMEM', 'ENOMEM'],
    ['it is refused for another reason', 'ERANGE', 'EINVAL'],
  ] as const)('S1.2 nothing stays when %s [C21]', (_, refusal, result) => {
    for (const step of ['map', 'queueMap'] as const) {
      const { iommu, user, cookie } = createWorld();
      iommu.script[step] = ({ phys }) => (phys === PAGE + 9 ? refusal : undefined);
      const list = [piece(PAGE, 0, 4096), piece(PAGE + 9, 0, 4096)];
      expect(user.mapList(list)).toBe(result);
      expect([iommu.tree.size, iommu.table.size]).toEqual([0, 0]);
      expect(list).toEqual([notMapped(PAGE, 4096), notMapped(PAGE + 9, 4096)]);
      expect(isIdle(cookie)).toBe(true);
    }
  });

  it('S1.2 nothing stays without addresses, and nothing begins with a bad list', () => {
    const { iommu, user, device, cookie } = createWorld({ device: { dmaMask: 0xffffn } });
    expect(user.mapList([piece(PAGE, 0, 4096 * 16)])).toBe('ENOMEM');
    expect(user.mapList([piece(PAGE, 0, 4096), piece(PAGE, 0, 0)])).toBe('EINVAL');
    expect(user.mapList([])).toBe('EINVAL');
    const list = [piece(PAGE, 0, 4096)];
    expect(user.ops.mapList(cpu0, device, list, 2, Direction.BIDIRECTIONAL, 0)).toBe('EINVAL');
    expect(user.mapList(list, Direction.NONE)).toBe('EINVAL');
    device.dmaLastPage = -1;
    expect(user.mapList(list)).toBe('EINVAL');
    expect([iommu.traffic.maps, isIdle(cookie)]).toEqual([0, true]);
  });

  it('S1.2 a list that is not mapped is not unmapped', () => {
    const { iommu, user, log } = createWorld();
    const list = [piece(PAGE, 0, 4096)];
    user.unmapList(list);
    user.mapList(list);
    user.unmapList(list);
    user.unmapList(list);
    expect([log.counters.unmapUnknown, iommu.traffic.unmaps]).toEqual([2, 1]);
  });

  it('S1.2 two contexts can map lists at the same time', () => {
    const { concurrency, iommu, user } = createWorld();
    const mine = [piece(PAGE, 0, 4096), piece(PAGE + 9, 0, 4096)];
    const others = [piece(PAGE + 20, 0, 4096), piece(PAGE + 30, 0, 4096), piece(PAGE + 40, 0, 9)];
    concurrency.hook = (point) => {
      if (point === 'dma:afterIova') concurrency.run(() => void user.mapList(others));
    };
    expect(user.mapList(mine)).toBe(1);
    const reached = (list: ScatterEntry[]) => {
      const [page, , size] = segmentsOf(list)[0] ?? [0, 0, 0];
      return Array.from(
        { length: Math.ceil(size / 4096) },
        (_, n) => iommu.table.get(page + n)?.phys,
      );
    };
    expect(reached(mine)).toEqual([PAGE, PAGE + 9]);
    expect(reached(others)).toEqual([PAGE + 20, PAGE + 30, PAGE + 40]);
  });

  it('S4.2 pieces of an untrusted device are mapped one by one, and bounce', () => {
    const world = createWorld({ device: { untrusted: true } });
    const { user, pool, iommu } = world;
    user.fill(PAGE, 0, 8192, 0xee);
    const list = [piece(PAGE, 10, 100), piece(PAGE + 1, 0, 4096), piece(PAGE, 200, 50)];
    expect(user.mapList(list)).toBe(3);
    expect([pool.slots.used, iommu.traffic.notifications]).toEqual([4, 3]);
    const [[page, offset] = [0, 0]] = segmentsOf(list);
    expect(deviceRead(world, page, offset, 101)).toEqual([...Array(100).fill(0xee), 0]);
    deviceWrite(world, page, offset, 100, 1);
    user.unmapList(list);
    expect(user.bytes(PAGE, 9, 102)).toEqual([0xee, ...Array(100).fill(1), 0xee]);
    expect([pool.slots.used, iommu.table.size, segmentsOf(list)]).toEqual([0, 0, []]);
    // What has been done is not done again.
    user.unmapList(list);
    expect(world.log.counters.unmapUnknown).toBe(0);
  });

  it('S4.2 a failure that nobody knows passes through with all of them undone', () => {
    const { user, pool, iommu, cookie, concurrency } = createWorld({ device: { untrusted: true } });
    let maps = 0;
    concurrency.hook = (point) => {
      if (point === 'dma:afterIova' && ++maps === 2) throw new Error('surprise');
    };
    expect(() => user.mapList([piece(PAGE, 10, 100), piece(PAGE, 200, 50)])).toThrow('surprise');
    concurrency.hook = undefined;
    expect([maps, pool.slots.used, iommu.tree.size, isIdle(cookie)]).toEqual([2, 0, 0, true]);
  });

  it('S4.2 if one of them fails, all are undone, and nothing is copied back', () => {
    const { user, pool, iommu, cookie } = createWorld({ device: { untrusted: true } });
    const list = [piece(PAGE, 10, 100), piece(PAGE + 2, 10, 100), piece(PAGE, 200, 50)];
    let maps = 0;
    iommu.script.map = () => (++maps === 3 ? 'ENOMEM' : undefined);
    const before = pool.bytesCopied;
    expect(user.mapList(list)).toBe('EIO');
    expect(pool.bytesCopied).toBe(before + 250);
    expect([pool.slots.used, iommu.tree.size, isIdle(cookie)]).toEqual([0, 0, true]);
    expect(segmentsOf(list)).toEqual([]);
  });
});

/** The address of no mapping is the last one. */
function notMapped(page: number, sizeBytes: number): ScatterEntry {
  return Object.assign(new ScatterEntry(), {
    page,
    sizeBytes,
    dmaPage: PAGE_MAX,
    dmaOffset: 4095,
  });
}
