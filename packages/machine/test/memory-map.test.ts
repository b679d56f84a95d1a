import { MMIO_WINDOW_SIZE, guestPhysical } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import {
  DEVICES_MAX,
  MemoryMap,
  RAM_BASE,
  RAM_BYTES_MAX,
  REGISTERS_BASE,
} from '../src/memory-map.ts';

const MIB = 1 << 20;

describe('memory map', () => {
  it('has every region where the plan puts it', () => {
    const map = new MemoryMap({ devices: 3, ramBytes: 4 * MIB });
    // Written from the plan: one page of control, one of bookkeeping, eight of grants, windows of 0x200 bytes,
    // a byte for each page of RAM and one more, RAM on a page.
    expect(map.regions()).toEqual([
      { name: 'control page', offset: 0x0000, bytes: 0x1000, address: undefined },
      { name: 'bookkeeping', offset: 0x1000, bytes: 0x1000, address: undefined },
      { name: 'grant table', offset: 0x2000, bytes: 0x8000, address: undefined },
      { name: 'registers 0', offset: 0xa000, bytes: 0x200, address: 0x0a00_0000n },
      { name: 'registers 1', offset: 0xa200, bytes: 0x200, address: 0x0a00_0200n },
      { name: 'registers 2', offset: 0xa400, bytes: 0x200, address: 0x0a00_0400n },
      { name: 'page states', offset: 0xb000, bytes: 0x401, address: undefined },
      { name: 'RAM', offset: 0xc000, bytes: 4 * MIB, address: 0x4000_0000n },
    ]);
    expect(map.bytes).toBe(0xc000 + 4 * MIB);
  });

  it.each([1, 2, 8, 9, DEVICES_MAX])(
    'has no overlaps and no bytes left over with %i devices',
    (devices) => {
      const map = new MemoryMap({ devices, ramBytes: MIB });
      const regions = map.regions();
      let end = 0;
      for (const region of regions) {
        expect(region.offset).toBeGreaterThanOrEqual(end);
        expect(region.offset - end).toBeLessThan(4096);
        end = region.offset + region.bytes;
      }
      expect(end).toBe(map.bytes);
      expect(map.createBuffer().byteLength).toBe(map.bytes);
    },
  );

  it('puts window n at 0x0a000000 + 0x200 n, below RAM', () => {
    const map = new MemoryMap({ devices: DEVICES_MAX, ramBytes: MIB });
    for (let device = 0; device < DEVICES_MAX; device += 1)
      expect(map.windowAddress(device)).toBe(REGISTERS_BASE + BigInt(device * MMIO_WINDOW_SIZE));
    expect(map.windowAddress(DEVICES_MAX - 1) + BigInt(MMIO_WINDOW_SIZE)).toBeLessThan(RAM_BASE);
  });

  it('shows the guest RAM and nothing else', () => {
    const map = new MemoryMap({ devices: 2, ramBytes: MIB });
    const ram = map.ram(map.createBuffer());
    expect(ram.locate(0x4000_0000, 0, MIB)).toBe(0);
    expect(ram.locate(0x4000_0000 + MIB - 1, 0, 1)).toBe(MIB - 1);
    expect(ram.locate(0x4000_0000 + MIB, 0, 1)).toBe(-1);
    expect(ram.locate(0x3fff_ffff, 0, 1)).toBe(-1);
    expect(ram.locate(0x0a00_0000, 0, 4)).toBe(-1);
    expect(ram.locate(0, 0, 4)).toBe(-1);
  });

  it('lets every thread see the same memory', () => {
    const map = new MemoryMap({ devices: 2, ramBytes: MIB });
    const buffer = map.createBuffer();
    map.window(buffer, 1).store(0x10, 77);
    expect(map.window(buffer, 1).read(0x10, 4)).toBe(77);
    expect(map.window(buffer, 0).read(0x10, 4)).toBe(0);
    map.guestRam(buffer).bytes(guestPhysical(0x4000_1000n), 2).set([1, 2]);
    expect(map.ram(buffer).getUint16(0x1000)).toBe(0x0201);
    map.controlPage(buffer).stop();
    expect(map.controlPage(buffer).stopped).toBe(true);
    map.bookkeeping(buffer).wantEnd();
    expect(map.bookkeeping(buffer).endWanted).toBe(true);
  });

  it.each([
    { devices: 0, ramBytes: MIB },
    { devices: 1.5, ramBytes: MIB },
    { devices: DEVICES_MAX + 1, ramBytes: MIB },
    { devices: 1, ramBytes: 0 },
    { devices: 1, ramBytes: 4097 },
    { devices: 1, ramBytes: -4096 },
    { devices: 1, ramBytes: Number.NaN },
    { devices: 1, ramBytes: RAM_BYTES_MAX + 4096 },
  ])('refuses %o', (options) => {
    expect(() => new MemoryMap(options)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('has no window for a device that is not there', () => {
    const map = new MemoryMap({ devices: 2, ramBytes: MIB });
    expect(() => map.windowAddress(2)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => map.window(map.createBuffer(), -1)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });
});
