import { describe, expect, it } from 'vitest';
import { BouncePool, type BouncePoolOptions, bounceSlots } from '../src/bounce-pool.ts';
import { BounceSlots } from '../src/bounce-slots.ts';
import { Direction } from '../src/dma-ops.ts';
import { CoreLog } from '../src/log.ts';
import { ArrayRam } from './array-ram.ts';
import { RAM_PAGE, cpu0, cpu1, makeDevice } from './dma-world.ts';
import { ManualClock } from './manual-clock.ts';

const { TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL } = Direction;

function create(options: Partial<BouncePoolOptions> = {}) {
  const lines: string[] = [];
  const ram = new ArrayRam(RAM_PAGE, 1024);
  const log = new CoreLog({ warn: (line) => void lines.push(line) });
  const clock = new ManualClock();
  const slots = options.slots ?? 256;
  const firstPage = ram.allocatePages(slots / 2);
  const pool = new BouncePool({ ram, log, clock, firstPage, slots, areas: 1, ...options });
  const device = makeDevice();
  const page = ram.allocatePages(200);
  /** The address, in bytes from the start of the pool. */
  const map = (size: number, { offset = 0, align = 0, context = cpu0, at = page } = {}): number =>
    pool.map(context, device, at, offset, size, align);
  const unmap = (position: number, size: number, direction: Direction = BIDIRECTIONAL): void =>
    pool.unmap(pool.pageOf(position), position & 0xfff, size, direction, false, false);
  /** The bytes that a device sees. */
  const bounced = (position: number, size: number): Uint8Array =>
    ram.bytes(pool.pageOf(position), position & 0xfff, size);
  const used = (): number => pool.slots.used;
  return { ram, log, lines, clock, pool, device, page, map, unmap, bounced, used };
}

describe('the bounce pool', () => {
  it('S3.9 a device that writes a part leaves the rest of the buffer as it was [D8]', () => {
    const { ram, page, map, unmap, bounced } = create();
    ram.bytes(page, 0, 4096).fill(0xaa);
    const position = map(4096);
    expect([...bounced(position, 4096)]).toEqual(Array(4096).fill(0xaa));
    bounced(position, 100).fill(0x11);
    unmap(position, 4096, FROM_DEVICE);
    const now = [...ram.bytes(page, 0, 4096)];
    expect(now).toEqual([...Array(100).fill(0x11), ...Array(3996).fill(0xaa)]);
  });

  it('S3.8 a mapping has 256 KiB at most [D9]', () => {
    const { map, unmap, used, log } = create();
    const position = map(262_144);
    expect([position, used()]).toEqual([0, 128]);
    expect(map(262_145)).toBe(-1);
    expect(map(Infinity)).toBe(-1);
    expect(map(0)).toBe(-1);
    expect(map(Number.NaN)).toBe(-1);
    expect([used(), log.counters.bounceFull]).toEqual([128, 0]);
    unmap(position, 262_144);
    expect(used()).toBe(0);
  });

  it('S3.8 slots that come back join their neighbours [D10]', () => {
    const { map, unmap, used, log } = create({ slots: 128 });
    const positions = Array.from({ length: 128 }, () => map(2048));
    expect(positions).toEqual(Array.from({ length: 128 }, (_, n) => n * 2048));
    for (let n = 0; n < 128; n += 2) unmap(positions[n] ?? -1, 2048);
    expect([map(4096), log.counters.bounceFull, used()]).toEqual([-1, 1, 64]);
    for (let n = 1; n < 128; n += 2) unmap(positions[n] ?? -1, 2048);
    expect([used(), map(128 * 2048), used()]).toEqual([0, 0, 128]);
  });

  it('S3.8 no mapping crosses a segment of 128 slots', () => {
    const { map } = create();
    expect(map(100 * 2048)).toBe(0);
    expect(map(60 * 2048)).toBe(128 * 2048);
    expect(map(28 * 2048)).toBe(188 * 2048);
    expect(map(40 * 2048)).toBe(216 * 2048);
    expect(map(28 * 2048)).toBe(100 * 2048);
  });

  it('S3.8 keeps the offset that the device demands [D13]', () => {
    const { device, map, unmap, used } = create();
    device.minAlignMask = 0xfff;
    // A slot each, and two for the one whose bytes cross into the next.
    expect([map(100, { offset: 0x234 }) % 4096, used()]).toEqual([0x234, 1]);
    expect([map(100, { offset: 0xa34 }) % 4096, used()]).toEqual([0xa34, 2]);
    expect([map(2000, { offset: 0x7ff }) % 4096, used()]).toEqual([0x7ff, 4]);
    // With whole pages to itself, there is padding before it.
    const position = map(100, { offset: 0xa34, align: 0xfff });
    expect([position % 4096, used()]).toEqual([0xa34, 6]);
    unmap(position, 100);
    expect(used()).toBe(4);
  });

  it('S3.8 demanded bits above the page are kept as well', () => {
    const { device, pool, page, map, used } = create();
    device.minAlignMask = 0x3fff;
    for (let n = 0; n < 4; n += 1) {
      const position = map(100, { at: page + n, offset: 0x834 });
      expect((pool.pageOf(position) * 4096 + (position & 0xfff)) % 0x4000).toBe(
        ((page + n) % 4) * 4096 + 0x834,
      );
    }
    expect(used()).toBe(4);
  });

  it('S3.8 a granule of its own begins and ends on its boundaries', () => {
    const { map, used } = create();
    map(1);
    expect([map(1, { align: 0xfff }), used()]).toEqual([4096, 3]);
    expect([map(4097, { align: 0xfff, offset: 5 }), used()]).toEqual([8192, 7]);
  });

  it('S3.8 without demands, a page or more begins on a page, and less anywhere', () => {
    const { map } = create();
    expect(map(1)).toBe(0);
    expect(map(4096, { offset: 3 })).toBe(4096);
    expect(map(2049)).toBe(8192);
    expect(map(1)).toBe(12_288);
    expect(map(2049)).toBe(14_336);
  });

  it('S3.8 no mapping crosses a boundary of the device', () => {
    const { device, pool, map } = create();
    device.segmentBoundaryBytes = 8192;
    const start = pool.firstPage * 4096;
    expect(map(2048)).toBeGreaterThanOrEqual(0);
    for (const size of [6144, 6144, 8192]) {
      const position = start + map(size);
      expect(Math.floor(position / 8192)).toBe(Math.floor((position + size - 1) / 8192));
    }
    expect(map(8193)).toBe(-1);
    device.minAlignMask = 0x7ff;
    expect(map(8192, { offset: 1 })).toBe(-1);
  });

  it('S3.8 processors begin in areas of their own, and use those of others when theirs are full', () => {
    const { pool, map } = create({ areas: 2 });
    expect(pool.slots.areaCount).toBe(2);
    expect(map(1, { context: cpu1 })).toBe(128 * 2048);
    expect(map(1)).toBe(0);
    expect(map(128 * 2048, { context: cpu1 })).toBe(-1);
    expect(map(126 * 2048, { context: cpu1 })).toBe(130 * 2048);
    expect(map(1, { context: cpu1 })).toBe(129 * 2048);
    expect(map(1, { context: cpu1 })).toBe(2048);
    expect(map(1, { context: { cpu: 7 } })).toBe(2 * 2048);
  });

  it('S3.8 areas share the segments evenly, and are a power of two', () => {
    expect(new BounceSlots(128 * 8, 3, 0).areaCount).toBe(4);
    expect(new BounceSlots(128 * 2, 64, 0).areaCount).toBe(2);
    expect(new BounceSlots(128 * 3, 2, 0).areaCount).toBe(1);
    expect(new BounceSlots(128 * 6, 4, 0).areaCount).toBe(2);
  });

  it('S3.8 a full pool is counted, and logged every five seconds at most', () => {
    const { map, log, lines, clock } = create({ slots: 128 });
    map(128 * 2048);
    for (let n = 0; n < 5; n += 1) expect(map(1)).toBe(-1);
    expect([log.counters.bounceFull, lines.length]).toEqual([5, 1]);
    expect(lines[0]).toMatch(/no room for 1 bytes: 128 of 128 slots used/);
    clock.advance(5000);
    map(1);
    expect([log.counters.bounceFull, lines.length]).toEqual([6, 2]);
  });

  it('S3.10 syncs copy in their own direction only [D11]', () => {
    const { ram, pool, page, map, bounced } = create();
    ram.bytes(page, 0, 100).fill(1);
    const position = map(100);
    const poolPage = pool.pageOf(position);
    bounced(position, 100).fill(2);
    const copied = ram.copied;
    pool.syncForCpu(poolPage, position & 0xfff, 100, TO_DEVICE);
    pool.syncForDevice(poolPage, position & 0xfff, 100, FROM_DEVICE);
    expect([ram.copied, ram.bytes(page, 0, 1)[0], bounced(position, 1)[0]]).toEqual([copied, 1, 2]);
    pool.syncForCpu(poolPage, position & 0xfff, 100, FROM_DEVICE);
    expect([...ram.bytes(page, 0, 101)]).toEqual([...Array(100).fill(2), 0]);
    ram.bytes(page, 0, 100).fill(3);
    pool.syncForDevice(poolPage, position & 0xfff, 100, TO_DEVICE);
    expect([...bounced(position, 101)]).toEqual([...Array(100).fill(3), 0]);
    bounced(position, 100).fill(4);
    pool.syncForCpu(poolPage, position & 0xfff, 50, BIDIRECTIONAL);
    expect([...ram.bytes(page, 49, 2)]).toEqual([4, 3]);
  });

  it('S3.10 unmapping copies back what the device may have written, and nothing else', () => {
    const { ram, pool, page, map, unmap, bounced } = create();
    for (const [direction, expected] of [
      [TO_DEVICE, 1],
      [FROM_DEVICE, 2],
      [BIDIRECTIONAL, 2],
    ] as const) {
      ram.bytes(page, 0, 10).fill(1);
      const position = map(10);
      bounced(position, 10).fill(2);
      unmap(position, 10, direction);
      expect(ram.bytes(page, 0, 1)[0]).toBe(expected);
    }
    expect(pool.bytesCopied).toBe(3 * 10 + 2 * 10);
  });

  it('S3.10 a sync may start anywhere in the mapping, and is cut where that ends', () => {
    const { ram, pool, device, page, map, bounced, log } = create();
    device.minAlignMask = 0xfff;
    const position = map(6000, { offset: 0xa34, align: 0xfff });
    const at = (byte: number) => [pool.pageOf(position + byte), (position + byte) & 0xfff] as const;
    bounced(position, 6000).fill(7);
    pool.syncForCpu(...at(5000), 20, FROM_DEVICE);
    const buffer = () => [...ram.bytes(page, 0xa34, 6100)];
    expect(buffer().indexOf(7)).toBe(5000);
    expect(buffer().lastIndexOf(7)).toBe(5019);
    expect(log.counters.bounceCut).toBe(0);
    bounced(position, 6100).fill(7);
    pool.syncForCpu(...at(5990), 100, FROM_DEVICE);
    expect([buffer().lastIndexOf(7), log.counters.bounceCut]).toEqual([5999, 1]);
    // Before the mapping, in its padding.
    ram.bytes(page, 0xa34, 6000).fill(0);
    pool.syncForCpu(...at(-10), 15, FROM_DEVICE);
    expect([buffer().lastIndexOf(7), log.counters.bounceCut]).toEqual([4, 2]);
    expect(ram.bytes(page, 0xa33, 1)[0]).toBe(0);
  });

  it('S3.8 slots that nobody has cannot be freed', () => {
    const { pool, map, unmap, used, log } = create();
    const position = map(100);
    unmap(position, 100);
    unmap(position, 100);
    pool.syncForCpu(pool.firstPage, 0, 10, FROM_DEVICE);
    expect([used(), log.counters.unmapUnknown]).toEqual([0, 2]);
    expect([pool.contains(pool.firstPage - 1), pool.contains(pool.lastPage + 1)]).toEqual([
      false,
      false,
    ]);
  });

  it('S3.8 counts slots in use, the most there were, and bytes copied', () => {
    const { pool, map, unmap } = create();
    const positions = [map(2048), map(8192), map(1)];
    unmap(positions[1] ?? -1, 8192, TO_DEVICE);
    expect([pool.slots.used, pool.slots.usedMax, pool.bytesCopied]).toEqual([
      2,
      6,
      2048 + 8192 + 1,
    ]);
  });

  it('S3.8 a pool has 64 MiB unless told otherwise; that of a protected guest 6 percent of memory', () => {
    const MIB = 2 ** 20;
    const bytesOf = (ramBytes: number, isProtected: boolean, asked?: number) =>
      bounceSlots(ramBytes, isProtected, asked) * 2048;
    expect(bytesOf(8192 * MIB, false)).toBe(64 * MIB);
    expect(bytesOf(100 * MIB, true)).toBe(64 * MIB);
    expect(bytesOf(10_000 * MIB, true)).toBe(600 * MIB);
    expect(bytesOf(1_000_000 * MIB, true)).toBe(1024 * MIB);
    expect(bounceSlots(0, false, 1)).toBe(128);
    expect(bounceSlots(0, true, 129)).toBe(256);
  });
});
