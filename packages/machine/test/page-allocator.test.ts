import { guestPhysical } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GuestRam } from '../src/guest-ram.ts';
import { PageAllocator } from '../src/page-allocator.ts';

const BASE = guestPhysical(0x4000_0000n);
const PAGE = 4096;

describe('page allocator', () => {
  it('gives the lowest pages first and takes them back', () => {
    const pages = new PageAllocator(BASE, 8 * PAGE);
    const first = pages.allocate(1);
    const second = pages.allocate(PAGE + 1);
    expect([first, second]).toEqual([BASE, BASE + 0x1000n]);
    expect(pages.freePages).toBe(5);
    pages.free(first);
    expect(pages.allocate(PAGE)).toBe(first);
    pages.free(second);
    pages.free(first);
    expect(pages.allocate(8 * PAGE)).toBe(BASE);
  });

  it('keeps an alignment beyond a page', () => {
    const pages = new PageAllocator(guestPhysical(0x4000_3000n), 64 * PAGE);
    expect(pages.allocate(PAGE, 0x4000) % 0x4000n).toBe(0n);
    expect(pages.allocate(PAGE, 16)).toBe(0x4000_3000n);
  });

  it('has an end', () => {
    const pages = new PageAllocator(BASE, 4 * PAGE);
    const taken = [0, 1, 2, 3].map(() => pages.allocate(PAGE));
    expect(() => pages.allocate(1)).toThrow(expect.objectContaining({ code: 'ENOMEM' }));
    pages.free(taken[0]!); // Four were taken.
    pages.free(taken[2]!); // Likewise.
    // Two pages are free, but not in one piece.
    expect(() => pages.allocate(2 * PAGE)).toThrow(expect.objectContaining({ code: 'ENOMEM' }));
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses to allocate %d bytes', (bytes) => {
    expect(() => new PageAllocator(BASE, PAGE).allocate(bytes)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it.each([0, 3, -4096, 0.5])('refuses the alignment %d', (alignment) => {
    expect(() => new PageAllocator(BASE, PAGE).allocate(1, alignment)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('takes back only what it gave, once', () => {
    const pages = new PageAllocator(BASE, 4 * PAGE);
    const address = pages.allocate(2 * PAGE);
    for (const wrong of [address + 1n, address + 0x1000n, address - 0x1000n, 0n])
      expect(() => pages.free(guestPhysical(wrong))).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    pages.free(address);
    expect(() => pages.free(address)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('never gives a page twice and loses none', () => {
    const step = fc.record({
      take: fc.boolean(),
      pages: fc.integer({ min: 1, max: 5 }),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pages = new PageAllocator(BASE, 16 * PAGE);
        const taken: { page: number; count: number; address: bigint }[] = [];
        for (const { take, pages: count, pick } of steps) {
          if (take) {
            const address = tryAllocate(pages, count * PAGE);
            if (address === undefined) continue;
            taken.push({ page: Number((address - BASE) / 0x1000n), count, address });
          } else if (taken.length > 0) {
            const [gone] = taken.splice(pick % taken.length, 1);
            if (gone !== undefined) pages.free(guestPhysical(gone.address));
          }
          const used = taken.flatMap(({ page, count: length }) =>
            Array.from({ length }, (_, index) => page + index),
          );
          expect(new Set(used).size).toBe(used.length);
          expect(used.every((page) => page >= 0 && page < 16)).toBe(true);
          expect(pages.freePages).toBe(16 - used.length);
        }
        for (const { address } of taken) pages.free(guestPhysical(address));
        expect(pages.allocate(16 * PAGE)).toBe(BASE);
      }),
      { seed: 42, numRuns: 200 },
    );
  });
});

describe('guest RAM', () => {
  const ram = (): GuestRam =>
    new GuestRam({
      buffer: new SharedArrayBuffer(8 * PAGE),
      offset: 4 * PAGE,
      size: 4 * PAGE,
      base: BASE,
    });

  it('clears what it allocates', () => {
    const memory = ram();
    const address = memory.allocate(PAGE);
    memory.bytes(address, PAGE).fill(0xff);
    memory.free(address);
    expect(memory.allocate(PAGE)).toBe(address);
    expect(memory.bytes(address, PAGE).every((byte) => byte === 0)).toBe(true);
  });

  it('has bytes inside memory only', () => {
    const memory = ram();
    expect(memory.bytes(guestPhysical(BASE + 0x3fffn), 1)).toHaveLength(1);
    for (const [address, length] of [
      [BASE + 0x3fffn, 2],
      [BASE - 1n, 1],
      [BASE + 0x1_0000_0000n, 1],
      [BASE, -1],
      [0xffff_ffff_ffff_ffffn, 1],
    ] as const)
      expect(() => memory.bytes(guestPhysical(address), length)).toThrow(
        expect.objectContaining({ code: 'EFAULT' }),
      );
  });
});

function tryAllocate(pages: PageAllocator, bytes: number): bigint | undefined {
  try {
    return pages.allocate(bytes);
  } catch {
    return undefined;
  }
}
