import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BouncePool } from '../src/bounce-pool.ts';
import { Direction } from '../src/dma-ops.ts';
import { CoreLog } from '../src/log.ts';
import { ArrayRam } from './array-ram.ts';
import { RAM_PAGE, makeDevice } from './dma-world.ts';
import { ManualClock } from './manual-clock.ts';

const { TO_DEVICE } = Direction;

describe('the bounce pool', () => {
  it('S3.8 whatever is mapped and freed, free slots are counted right, and everybody gets what was asked for', () => {
    const step = fc.record({
      size: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 262_144 })),
      offset: fc.integer({ min: 0, max: 4095 }),
      page: fc.integer({ min: 0, max: 30 }),
      cpu: fc.integer({ min: 0, max: 3 }),
      align: fc.constantFrom(0, 0, 0xfff, 0x1fff),
      minAlign: fc.constantFrom(0, 0, 0x1ff, 0xfff, 0x3fff),
      boundary: fc.constantFrom(Infinity, Infinity, 65_536),
      free: fc.integer({ min: 0, max: 40 }),
    });
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 4), fc.array(step, { maxLength: 40 }), (areas, steps) => {
        const ram = new ArrayRam(RAM_PAGE, 512);
        const firstPage = ram.allocatePages(256);
        const base = ram.allocatePages(128);
        const log = new CoreLog();
        const clock = new ManualClock();
        const pool = new BouncePool({ ram, log, clock, firstPage, slots: 512, areas });
        const device = makeDevice();
        const live: { position: number; size: number; slots: [number, number] }[] = [];
        for (const { size, offset, page, cpu, align, minAlign, boundary, free } of steps) {
          device.minAlignMask = minAlign;
          device.segmentBoundaryBytes = boundary;
          const position = pool.map({ cpu }, device, base + page, offset, size, align);
          if (position >= 0) {
            const address = pool.firstPage * 4096 + position;
            const wanted = (base + page) * 4096 + offset;
            // The demanded bits, as long as no larger alignment of the run pads them.
            expect(address & minAlign & (align | 2047)).toBe(wanted & minAlign & (align | 2047));
            expect(address & minAlign).toBe(wanted & minAlign);
            const first = Math.floor((address & ~(align | 2047)) / 2048) - pool.firstPage * 2;
            const lead = position - first * 2048;
            const bytes = Math.ceil((lead + size) / (align + 1)) * (align + 1);
            const last = first + Math.ceil(bytes / 2048) - 1;
            expect(Math.floor(first / 128)).toBe(Math.floor(last / 128));
            if (boundary !== Infinity)
              expect(Math.floor(address / boundary)).toBe(
                Math.floor((address + size - 1) / boundary),
              );
            expect(live.filter(({ slots }) => last >= slots[0] && first <= slots[1])).toEqual([]);
            live.push({ position, size, slots: [first, last] });
          }
          const [gone] = live.splice(free, 1);
          if (gone !== undefined)
            pool.unmap(
              pool.pageOf(gone.position),
              gone.position & 0xfff,
              gone.size,
              TO_DEVICE,
              false,
              false,
            );
          expectCounts(
            pool,
            live.map(({ slots }) => slots),
          );
        }
        for (const { position, size } of live)
          pool.unmap(pool.pageOf(position), position & 0xfff, size, TO_DEVICE, true, false);
        expect(pool.slots.used).toBe(0);
        expectCounts(pool, []);
      }),
      { seed: 435, numRuns: 50 },
    );
  });
});

/** Counts the free slots from each slot on by looking at all mappings. */
function expectCounts({ slots }: BouncePool, live: readonly [number, number][]): void {
  const taken = new Set<number>();
  for (const [first, last] of live) for (let slot = first; slot <= last; slot += 1) taken.add(slot);
  expect(slots.used).toBe(taken.size);
  const wrong: number[] = [];
  for (let free = 0, slot = slots.slotCount - 1; slot >= 0; slot -= 1) {
    if (slot % 128 === 127) free = 0;
    free = taken.has(slot) ? 0 : free + 1;
    if (slots.freeFrom(slot) !== free) wrong.push(slot);
  }
  expect(wrong).toEqual([]);
}
