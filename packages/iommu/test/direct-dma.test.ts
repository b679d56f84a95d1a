import { IommuError, PAGE_MAX } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Direction, DmaAttribute } from '../src/dma-ops.ts';
import {
  DmaUser,
  RAM_PAGE,
  cpu0,
  createWorld,
  makeDevice,
  piece,
  segmentsOf,
} from './dma-world.ts';
import { PageStates } from '../src/page-state.ts';

const { BIDIRECTIONAL, FROM_DEVICE, TO_DEVICE, NONE } = Direction;
const PAGE = RAM_PAGE + 512;

/** A guest without IOMMU, and a driver of a device with direct or with physical operations. */
function create({
  force = 'auto',
  isProtected = false,
}: { force?: 'auto' | 'force' | 'noforce'; isProtected?: boolean } = {}) {
  const states = new PageStates({ states: new Uint8Array(1025), firstPage: RAM_PAGE });
  const world = createWorld({
    boot: { bounce: { force } },
    setup: isProtected ? { sharing: states } : {},
  });
  const { layer, ram, pool } = world;
  states.protect();
  states.share(pool.firstPage, pool.lastPage - pool.firstPage + 1);
  const device = makeDevice({ name: 'net0' });
  layer.setupOps(device, undefined);
  const user = new DmaUser(device, layer.direct, ram);
  const physical = new DmaUser(device, layer.physical, ram);
  return { ...world, states, device, user, physical };
}

describe('direct operations', () => {
  it('S3.12 an address is the physical one, and nothing is mapped', () => {
    const { user, iommu, pool, ram } = create();
    expect(user.mapped(PAGE, 0x234, 100)).toEqual({ page: PAGE, offset: 0x234 });
    expect(user.mapped(PAGE, 5000, 100)).toEqual({ page: PAGE + 1, offset: 904 });
    user.unmap({ page: PAGE, offset: 0x234 }, 100);
    user.ops.syncForCpu(cpu0, user.device, PAGE, 0, 100, BIDIRECTIONAL);
    user.ops.syncForDevice(cpu0, user.device, PAGE, 0, 100, BIDIRECTIONAL);
    expect([iommu.traffic.maps, pool.slots.used, ram.copied]).toEqual([0, 0, 0]);
  });

  it('S3.12 refuses no bytes, no direction, and a device that can do no DMA', () => {
    const { user, device } = create();
    expect(user.map(PAGE, 0, 0)).toBe(undefined);
    expect(user.map(PAGE, 0, 1, NONE)).toBe(undefined);
    device.dmaLastPage = -1;
    expect(user.map(PAGE, 0, 1)).toBe(undefined);
  });

  it('S3.8 what the device cannot reach bounces, to the byte', () => {
    const { user, device, pool } = create();
    device.dmaLastPage = PAGE;
    expect(user.mapped(PAGE, 4095, 1)).toEqual({ page: PAGE, offset: 4095 });
    const across = user.mapped(PAGE, 4095, 2);
    expect(pool.contains(across.page)).toBe(true);
    device.dmaLastPage = PAGE_MAX;
    device.busLastPage = PAGE;
    expect(pool.contains(user.mapped(PAGE + 1, 0, 1).page)).toBe(true);
  });

  it('S3.8 fails if the pool is out of reach too, is full, or is none', () => {
    const { user, device, pool } = create();
    device.dmaLastPage = pool.firstPage - 1;
    expect(user.map(PAGE, 0, 1)).toBe(undefined);
    expect(pool.slots.used).toBe(0);
    device.dmaLastPage = pool.lastPage;
    expect(user.map(PAGE, 0, 262_144)).not.toBe(undefined);
    expect(user.map(PAGE, 0, 262_144)).not.toBe(undefined);
    expect(user.map(PAGE, 0, 1)).toBe(undefined);
    const none = create({ force: 'noforce' });
    none.device.dmaLastPage = PAGE - 1;
    expect(none.user.map(PAGE, 0, 1)).toBe(undefined);
  });

  it('S3.8 registers never bounce', () => {
    const { user, device } = create();
    const REGISTERS = 0x9_0000;
    const map = () => user.map(REGISTERS, 0, 4, BIDIRECTIONAL, cpu0, DmaAttribute.MMIO);
    expect(map()).toEqual({ page: REGISTERS, offset: 0 });
    device.dmaLastPage = REGISTERS - 1;
    expect(map()).toBe(undefined);
    const forced = create({ force: 'force' });
    expect(forced.user.map(REGISTERS, 0, 4, BIDIRECTIONAL, cpu0, DmaAttribute.MMIO)).toBe(
      undefined,
    );
  });

  it('S3.6 if bouncing is forced, every buffer does, and data is right in both directions', () => {
    for (const options of [
      { force: 'force' },
      { isProtected: true },
      { isProtected: true, force: 'noforce' },
    ] as const) {
      const { user, device, pool, ram } = create(options);
      user.fill(PAGE, 0, 4096, 1);
      const address = user.mapped(PAGE, 0, 4096);
      expect(pool.contains(address.page)).toBe(true);
      const seen = ram.bytes(address.page, address.offset, 4096);
      expect(seen.every((byte) => byte === 1)).toBe(true);
      user.fill(PAGE, 8, 1, 2);
      user.ops.syncForDevice(cpu0, device, address.page, address.offset + 8, 1, TO_DEVICE);
      expect([...seen.subarray(7, 10)]).toEqual([1, 2, 1]);
      seen.fill(3);
      user.ops.syncForCpu(cpu0, device, address.page, address.offset, 4, FROM_DEVICE);
      expect(user.bytes(PAGE, 3, 2)).toEqual([3, 1]);
      user.unmap(address, 4096, FROM_DEVICE);
      expect([user.bytes(PAGE, 4095, 1), pool.slots.used]).toEqual([[3], 0]);
    }
  });

  it('S3.6 an odd address of a protected guest bounces through shared pages only [D7]', () => {
    const { user, states, ram } = create({ isProtected: true });
    const address = user.mapped(PAGE, 777, 5000, FROM_DEVICE);
    const pages = Math.ceil((address.offset + 5000) / 4096);
    expect(states.shared(address.page, pages)).toBe(true);
    ram.bytes(address.page, address.offset, 5000).fill(9);
    user.unmap(address, 5000, FROM_DEVICE);
    expect(user.bytes(PAGE, 776, 5002)).toEqual([0, ...Array(5000).fill(9), 0]);
  });

  it('S3.6 with an IOMMU in a protected guest, the copy is what is mapped, also of whole pages', () => {
    const states = new PageStates({ states: new Uint8Array(1025), firstPage: RAM_PAGE });
    const { user, iommu, pool } = createWorld({ setup: { sharing: states } });
    const address = user.mapped(PAGE, 0, 8192);
    const phys = iommu.sent[0]?.phys ?? 0;
    expect([pool.contains(phys), iommu.sent[0]?.pages, pool.slots.used]).toEqual([true, 2, 4]);
    user.unmap(address, 8192);
    expect([pool.slots.used, iommu.table.size]).toEqual([0, 0]);
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 1, 0, 4096)];
    expect(user.mapList(list)).toBe(2);
    expect(user.ops.mappingBytesMax(user.device)).toBe(262_144);
  });

  it('S3.6 coherent memory is shared while it is in use', () => {
    for (const kind of ['user', 'physical'] as const) {
      const world = create({ isProtected: true });
      const { device, states, ram } = world;
      const { ops } = world[kind];
      const taken = ram.pagesTaken;
      const memory = ops.allocateCoherent(cpu0, device, 4097);
      if (memory === undefined) throw new Error('no memory');
      expect([memory.sizeBytes, memory.dmaPage, states.shared(memory.page, 2)]).toEqual([
        8192,
        memory.page,
        true,
      ]);
      ops.freeCoherent(cpu0, device, memory);
      expect([states.shared(memory.page, 1), states.shared(memory.page + 1, 1)]).toEqual([
        false,
        false,
      ]);
      expect(ram.pagesTaken).toBe(taken);
      expect(ops.allocateCoherent(cpu0, device, 0)).toBe(undefined);
      expect(ops.allocateCoherent(cpu0, device, 4096 * 2000)).toBe(undefined);
      expect(world.log.counters.pagesLeaked).toBe(0);
    }
  });

  it('S3.6 pages that cannot be shared are not given out, and those that stay shared are never used again', () => {
    const fault = { share: false, unshare: false };
    const refuse = (which: keyof typeof fault) => () => {
      if (fault[which]) throw new IommuError('EIO', 'refused');
    };
    const sharing = { share: refuse('share'), unshare: refuse('unshare') };
    const { layer, ram, device, log } = createWorld({ setup: { sharing } });
    const taken = ram.pagesTaken;
    fault.share = true;
    expect(layer.direct.allocateCoherent(cpu0, device, 4096)).toBe(undefined);
    expect(ram.pagesTaken).toBe(taken);
    fault.share = false;
    const memory = layer.direct.allocateCoherent(cpu0, device, 4096);
    fault.unshare = true;
    if (memory !== undefined) layer.direct.freeCoherent(cpu0, device, memory);
    expect([ram.pagesTaken, log.counters.pagesLeaked]).toEqual([taken + 1, 1]);
    fault.share = true;
    expect(layer.direct.allocateCoherent(cpu0, device, 4096)).toBe(undefined);
    expect([ram.pagesTaken, log.counters.pagesLeaked]).toEqual([taken + 2, 2]);
  });

  it('S3.12 coherent memory has to lie below the mask for it', () => {
    const { user, device, ram } = create();
    const taken = ram.pagesTaken;
    device.coherentLastPage = RAM_PAGE;
    expect(user.ops.allocateCoherent(cpu0, device, 4096)).toBe(undefined);
    expect(ram.pagesTaken).toBe(taken);
  });

  it('S3.12 lists are mapped entry by entry, and nothing is joined', () => {
    const { user } = create();
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 1, 5000, 4096)];
    expect(user.mapList(list)).toBe(2);
    expect(segmentsOf(list)).toEqual([
      [PAGE, 0, 4096],
      [PAGE + 2, 904, 4096],
    ]);
    user.unmapList(list);
    expect(segmentsOf(list)).toEqual([]);
    expect(user.mapList([])).toBe('EINVAL');
  });

  it('S3.8 a list of which one entry fails leaves nothing in the pool', () => {
    const { user, pool } = create({ force: 'force' });
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 1, 0, 262_145), piece(PAGE + 2, 0, 1)];
    expect(user.mapList(list)).toBe('EIO');
    expect([pool.slots.used, segmentsOf(list)]).toEqual([0, []]);
    list[1] = piece(PAGE + 1, 0, 1);
    expect([user.mapList(list), pool.slots.used]).toEqual([3, 4]);
    user.unmapList(list);
    user.unmapList(list);
    expect(pool.slots.used).toBe(0);
  });

  it('S3.12 a mask has to reach the memory, or the pool if there is one', () => {
    const { user, device, pool, ram } = create();
    const mask = (lastPage: number) => BigInt(lastPage + 1) * 4096n - 1n;
    user.ops.checkMask(device, mask(2 ** 40 - 1));
    expect(pool.lastPage).toBeLessThan(0x7ffff);
    user.ops.checkMask(device, mask(0x7ffff));
    expect(() => user.ops.checkMask(device, mask(0x3ffff))).toThrow(
      expect.objectContaining({ code: 'EIO' }),
    );
    const none = create({ force: 'noforce' });
    expect(() => none.user.ops.checkMask(device, mask(ram.lastPage - 1))).toThrow('does not reach');
    none.user.ops.checkMask(device, mask(ram.lastPage));
  });

  it('S3.8 the largest mapping is that of the pool, if it may be needed [D9]', () => {
    const { user, device, ram } = create();
    expect(user.ops.mappingBytesMax(device)).toBe(Infinity);
    device.dmaLastPage = ram.lastPage - 1;
    expect(user.ops.mappingBytesMax(device)).toBe(262_144);
    device.minAlignMask = 0xfff;
    expect(user.ops.mappingBytesMax(device)).toBe(258_048);
    // Wherever the buffer lies, as much as that fits; of more, only what lies well.
    expect(user.map(ram.lastPage - 63, 4095, 258_048)).not.toBe(undefined);
    expect(user.map(ram.lastPage - 63, 4095, 258_050)).toBe(undefined);
    const none = create({ force: 'noforce' });
    expect(none.user.ops.mappingBytesMax(none.device)).toBe(Infinity);
    const forced = create({ force: 'force' });
    expect(forced.user.ops.mappingBytesMax(forced.device)).toBe(262_144);
  });
});

describe('physical operations', () => {
  it('S3.12 whatever the masks are, addresses are physical and the IOMMU is not touched [D1]', () => {
    const { physical, device, iommu, pool, ram } = create({ force: 'force' });
    device.dmaLastPage = 0;
    const list = [piece(PAGE, 0, 4096), piece(PAGE + 1, 5000, 4096)];
    expect(physical.mapped(PAGE, 5000, 100)).toEqual({ page: PAGE + 1, offset: 904 });
    expect(physical.mapList(list)).toBe(2);
    expect(segmentsOf(list)[1]).toEqual([PAGE + 2, 904, 4096]);
    physical.unmapList(list);
    physical.unmap({ page: PAGE, offset: 0 }, 100);
    physical.ops.syncForCpu(cpu0, device, PAGE, 0, 1, BIDIRECTIONAL);
    physical.ops.syncForDevice(cpu0, device, PAGE, 0, 1, BIDIRECTIONAL);
    physical.ops.checkMask(device, 0xfffn);
    expect(physical.ops.mappingBytesMax(device)).toBe(Infinity);
    expect([iommu.traffic.maps, pool.slots.used, ram.copied]).toEqual([0, 0, 0]);
    expect([physical.map(PAGE, 0, 0), physical.map(PAGE, 0, 1, NONE)]).toEqual([
      undefined,
      undefined,
    ]);
  });
});
