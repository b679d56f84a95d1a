import { Protection } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Direction, DmaAttribute } from '../src/dma-ops.ts';
import { RAM_PAGE, cpu0, createWorld, deviceRead, deviceWrite, isIdle } from './dma-world.ts';
import { READ, WRITE } from './scripted-domain.ts';

const { TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL } = Direction;
const PAGE = RAM_PAGE + 512;

describe('buffers of an untrusted device', () => {
  const untrusted = () => createWorld({ device: { untrusted: true } });

  it('S4.2 parts of pages bounce: the device sees nothing else, and what it writes comes back [C20]', () => {
    const world = untrusted();
    const { user, iommu, pool } = world;
    user.fill(PAGE, 0, 4096, 0xee);
    user.fill(PAGE, 0x300, 100, 0x11);
    const address = user.mapped(PAGE, 0x300, 100);
    const seen = deviceRead(world, address.page, 0, 4096);
    expect(seen.slice(address.offset, address.offset + 100)).toEqual(Array(100).fill(0x11));
    seen.splice(address.offset, 100);
    expect(seen).toEqual(Array(3996).fill(0));
    deviceWrite(world, address.page, 0, 4096, 0x22);
    expect(user.bytes(PAGE, 0, 4096)).not.toContain(0x22);
    user.unmap(address, 100);
    expect(user.bytes(PAGE, 0x300, 100)).toEqual(Array(100).fill(0x22));
    expect(user.bytes(PAGE, 0x2ff, 1).concat(user.bytes(PAGE, 0x364, 1))).toEqual([0xee, 0xee]);
    expect([iommu.table.size, pool.slots.used]).toEqual([0, 0]);
  });

  it('S4.2 nothing of what others had in the pool shows, nor around the mapping with a demanded offset [D13]', () => {
    const world = untrusted();
    const { user, device, pool, ram } = world;
    device.minAlignMask = 0xfff;
    ram.bytes(pool.firstPage, 0, 128 * 4096).fill(0x55);
    const address = user.mapped(PAGE, 0xa34, 5000);
    expect(address.offset).toBe(0xa34);
    const seen = [
      ...deviceRead(world, address.page, 0, 4096),
      ...deviceRead(world, address.page + 1, 0, 4096),
    ];
    expect(seen).not.toContain(0x55);
  });

  it('S4.2 whole pages do not bounce', () => {
    const { user, iommu, pool } = untrusted();
    user.mapped(PAGE, 0, 8192);
    expect([pool.slots.used, iommu.sent[0]?.phys]).toEqual([0, PAGE]);
  });

  it('S4.2 copying back waits until the device has lost access', () => {
    const world = untrusted();
    const { user, iommu } = world;
    const address = user.mapped(PAGE, 1, 10, FROM_DEVICE);
    iommu.script.onWait = () => deviceWrite(world, address.page, address.offset, 10, 0x77);
    user.unmap(address, 10, FROM_DEVICE);
    expect(user.bytes(PAGE, 1, 10)).toEqual(Array(10).fill(0x77));
  });

  it('S4.2 what the device only reads, or nobody wants, is not copied back', () => {
    const { user, ram } = untrusted();
    const read = user.mapped(PAGE, 1, 10, TO_DEVICE);
    const unwanted = user.mapped(PAGE, 1, 10, FROM_DEVICE);
    const before = ram.copied;
    user.unmap(read, 10, TO_DEVICE);
    user.unmap(unwanted, 10, FROM_DEVICE, cpu0, DmaAttribute.SKIP_CPU_SYNC);
    expect(ram.copied).toBe(before);
  });

  it('S4.2 slots that the device may still reach are not used again', () => {
    for (const script of [{ unmap: () => 'ERANGE' as const }, { broken: true }]) {
      const { user, iommu, pool, log } = untrusted();
      const address = user.mapped(PAGE, 1, 10);
      iommu.script = script;
      user.unmap(address, 10);
      expect([pool.slots.used, log.counters.bounceLeaked]).toEqual([2, 1]);
    }
  });

  it('S4.2 registers do not bounce, and no pool is no mapping', () => {
    const { user, cookie } = untrusted();
    expect(user.map(PAGE, 1, 10, BIDIRECTIONAL, cpu0, DmaAttribute.MMIO)).toBe(undefined);
    const none = createWorld({
      device: { untrusted: true },
      boot: { bounce: { force: 'noforce' } },
    });
    expect(none.user.map(PAGE, 1, 10)).toBe(undefined);
    expect(isIdle(cookie)).toBe(true);
  });

  it('S3.10 sync reaches the copy through the domain, also in the middle of a mapping', () => {
    const world = untrusted();
    const { user, device } = world;
    const { page, offset } = user.mapped(PAGE, 1, 6000);
    user.fill(PAGE, 1, 6000, 3);
    user.ops.syncForDevice(cpu0, device, page + 1, 0, 16, BIDIRECTIONAL);
    expect(deviceRead(world, page + 1, 0, 17)).toEqual([...Array(16).fill(3), 0]);
    deviceWrite(world, page, offset, 100, 4);
    user.ops.syncForCpu(cpu0, device, page, offset + 50, 10, BIDIRECTIONAL);
    expect(user.bytes(PAGE, 1, 100)).toEqual([
      ...Array(50).fill(3),
      ...Array(10).fill(4),
      ...Array(40).fill(3),
    ]);
    // What does not bounce, or is nowhere, has nothing to copy.
    const { ram } = world;
    const whole = user.mapped(PAGE + 8, 0, 4096);
    const before = ram.copied;
    user.ops.syncForCpu(cpu0, device, whole.page, 0, 4096, BIDIRECTIONAL);
    user.ops.syncForCpu(cpu0, device, 12345, 0, 4096, BIDIRECTIONAL);
    expect(ram.copied).toBe(before);
  });
});

describe('limits and memory for both sides', () => {
  it('S4.16 coherent memory is cleared, contiguous, and mapped for reading and writing', () => {
    const world = createWorld({ device: { dmaMask: 2n ** 64n - 1n } });
    const { user, device, iommu, ram, cookie } = world;
    device.coherentLastPage = 0xffff;
    const taken = ram.pagesTaken;
    const memory = user.ops.allocateCoherent(cpu0, device, 5000);
    if (memory === undefined) throw new Error('no memory');
    expect(memory.sizeBytes).toBe(8192);
    expect(memory.dmaPage).toBeLessThanOrEqual(0xffff);
    expect(iommu.sent).toMatchObject([
      {
        start: memory.dmaPage,
        phys: memory.page,
        pages: 2,
        protection: READ | WRITE | Protection.CACHE,
      },
    ]);
    user.ops.freeCoherent(cpu0, device, memory);
    expect([iommu.table.size, ram.pagesTaken, isIdle(cookie)]).toEqual([0, taken, true]);
    expect(user.ops.allocateCoherent(cpu0, device, 0)).toBe(undefined);
    expect(user.ops.allocateCoherent(cpu0, device, 4096 * 4096)).toBe(undefined);
    device.coherentLastPage = -1;
    expect(user.ops.allocateCoherent(cpu0, device, 4096)).toBe(undefined);
    expect(ram.pagesTaken).toBe(taken);
  });

  it('S4.16 coherent memory that the device may still reach is given up', () => {
    const { user, device, iommu, ram, log } = createWorld();
    const taken = ram.pagesTaken;
    const memory = user.ops.allocateCoherent(cpu0, device, 4096);
    iommu.script.unmap = () => 'ERANGE';
    if (memory !== undefined) user.ops.freeCoherent(cpu0, device, memory);
    expect([ram.pagesTaken - taken, log.counters.pagesLeaked]).toEqual([1, 1]);
  });

  it('S3.8 one mapping of a device that bounces has at most 256 KiB; others have no limit [D9]', () => {
    const { user, device } = createWorld();
    expect(user.ops.mappingBytesMax(device)).toBe(Infinity);
    const bounced = createWorld({ device: { untrusted: true } });
    expect(bounced.user.ops.mappingBytesMax(bounced.device)).toBe(262_144);
    expect(bounced.user.map(PAGE, 0, 262_145)).toBe(undefined);
    expect(bounced.user.map(PAGE, 1, 262_143)).not.toBe(undefined);
  });

  it('S4.16 a mask has to leave room for an address', () => {
    const { user, device } = createWorld();
    expect(() => user.ops.checkMask(device, 0xfffn)).toThrow(
      expect.objectContaining({ code: 'EIO' }),
    );
    user.ops.checkMask(device, 0xffff_ffffn);
  });
});
