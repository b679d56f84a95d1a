import fc from 'fast-check';
import { Concurrency, PAGE_MAX } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { IovaSpace } from '../src/iova-space.ts';
import { ManualClock } from './manual-clock.ts';

const LIMIT = 0xfffff;

function create(cpus = 2, firstPage = 1) {
  const concurrency = new Concurrency();
  const clock = new ManualClock();
  return { concurrency, clock, space: new IovaSpace({ concurrency, clock, cpus, firstPage }) };
}

const cpu0 = { cpu: 0 };
const cpu1 = { cpu: 1 };

describe('the caches of an IOVA space', () => {
  it('round three pages up to four, and know them by three when they come back [C2]', () => {
    const { space } = create();
    const page = space.allocate(3, LIMIT, true, cpu0);
    expect(page % 4).toBe(0);
    expect(space.tree.find(page)).toEqual({ first: page, last: page + 3, reserved: false });
    space.free(page, 3, cpu0);
    const searches = space.tree.searches;
    expect(space.allocate(4, LIMIT, true, cpu0)).toBe(page);
    expect(space.tree.searches).toBe(searches);
  });

  it.each([
    [1, 1],
    [2, 2],
    [5, 8],
    [9, 16],
    [17, 32],
    [32, 32],
    [33, 33],
    [100, 100],
  ])('%d pages take %d, at a multiple of the next power of two', (pages, taken) => {
    const { space } = create();
    const page = space.allocate(pages, LIMIT - 1, true, cpu0);
    expect(space.tree.find(page)?.last).toBe(page + taken - 1);
    expect(page % 2 ** Math.ceil(Math.log2(pages))).toBe(0);
    space.free(page, pages, cpu0);
    // Above 32 pages nothing is kept.
    expect(space.tree.rangeCount).toBe(pages > 32 ? 0 : 1);
    space.flushCaches();
    expect(space.tree.rangeCount).toBe(0);
  });

  it('give the same page again, and leave the tree alone [C3]', () => {
    const { space } = create();
    const page = space.allocate(1, LIMIT, true, cpu0);
    const searches = space.tree.searches;
    space.free(page, 1, cpu0);
    expect(space.tree.rangeCount).toBe(1);
    expect(space.allocate(1, LIMIT, true, cpu0)).toBe(page);
    expect(space.tree.searches).toBe(searches);
    // What lies in one processor's cache is nothing to the other.
    space.free(page, 1, cpu0);
    expect(space.allocate(1, LIMIT, true, cpu1)).not.toBe(page);
  });

  it('hand a full magazine to another processor by the depot [C4]', () => {
    const { space } = create();
    const pages = Array.from({ length: 127 * 2 + 1 }, () => space.allocate(1, LIMIT, true, cpu0));
    for (const page of pages.slice(0, -1)) space.free(page, 1, cpu0);
    expect(space.cache.depotLength(0)).toBe(0);
    space.free(pages.at(-1) ?? 0, 1, cpu0);
    expect(space.cache.depotLength(0)).toBe(1);
    const searches = space.tree.searches;
    expect(pages).toContain(space.allocate(1, LIMIT, true, cpu1));
    expect(space.cache.depotLength(0)).toBe(0);
    expect(space.tree.searches).toBe(searches);
  });

  it('trim a depot by a magazine every 100 ms, down to one for each processor [C5]', () => {
    const cpus = 16;
    const { space, clock } = create(cpus);
    const pages = Array.from({ length: 127 * 21 + 1 }, () => space.allocate(1, LIMIT, true, cpu0));
    for (const page of pages) space.free(page, 1, cpu0);
    const lengths = [space.cache.depotLength(0)];
    for (let run = 0; run < 6; run += 1) {
      clock.advance(99);
      expect(space.cache.depotLength(0)).toBe(lengths.at(-1));
      clock.advance(1);
      lengths.push(space.cache.depotLength(0));
    }
    expect(lengths).toEqual([20, 19, 18, 17, 16, 16, 16]);
    expect(clock.pending).toBe(0);
  });

  it('pass over what lies above the limit [C6]', () => {
    const { space } = create();
    const high = space.allocate(4, PAGE_MAX, true, cpu0);
    const low = space.allocate(4, LIMIT, true, cpu0);
    space.free(low, 4, cpu0);
    space.free(high, 4, cpu0);
    // The range has to end at the limit at the latest.
    const other = space.allocate(4, low + 2, true, cpu0);
    expect(other).toBe(low - 4);
    expect(space.allocate(4, low + 3, true, cpu0)).toBe(low);
    expect(space.allocate(4, PAGE_MAX, true, cpu0)).toBe(high);
  });

  it('are emptied before a request fails, if the caller wants that [C10]', () => {
    const { space, concurrency } = create(3);
    const points: string[] = [];
    concurrency.hook = (point) => points.push(point);
    const pages = Array.from({ length: 15 }, () => space.allocate(1, 15, true, cpu0));
    for (const page of pages.slice(0, 8)) space.free(page, 1, cpu1);
    for (const page of pages.slice(8)) space.free(page, 1, { cpu: 2 });
    expect(space.allocate(1, 15, false, cpu0)).toBe(0);
    expect(points).toEqual([]);
    expect(space.allocate(1, 15, true, cpu0)).toBe(15);
    expect(points).toEqual(['iova:afterTree']);
    expect(space.allocate(8, 15, false, cpu0)).toBe(0);
  });

  it('of a processor that goes away come back to the tree', () => {
    const { space } = create();
    const pages = [cpu0, cpu1].map((context) => space.allocate(2, LIMIT, true, context));
    pages.forEach((page, cpu) => space.free(page, 2, { cpu }));
    space.cpuGone(1);
    expect(space.tree.rangeCount).toBe(1);
    expect(space.usedWithin(pages[0] ?? 0, pages[0] ?? 0)).toBe(true);
    expect(space.usedWithin(pages[1] ?? 0, pages[1] ?? 0)).toBe(false);
  });

  it('give every range to one holder only, and all of them back [C9]', () => {
    const pages = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(16, 31, 32, 33, 64));
    const call = fc.record({
      cpu: fc.nat({ max: 2 }),
      pages,
      limit: fc.constantFrom(40, 100, 400, 0xfffff),
      flush: fc.boolean(),
      free: fc.nat(),
      what: fc.constantFrom('allocate', 'allocate', 'free', 'flush', 'gone'),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 400 }), (calls) => {
        const { space } = create(3, 0);
        space.reserve(50, 60);
        const held: { first: number; last: number; pages: number }[] = [];
        for (const { cpu, pages: size, limit, flush, free, what } of calls) {
          if (what === 'flush') space.flushCaches();
          else if (what === 'gone') space.cpuGone(cpu);
          else if (what === 'free') {
            const [range] = held.splice(free % Math.max(1, held.length), 1);
            if (range !== undefined) space.free(range.first, range.pages, { cpu });
          } else {
            const first = space.allocate(size, limit, flush, { cpu });
            if (first === 0) continue;
            const last = first + size - 1;
            expect(last).toBeLessThanOrEqual(limit);
            expect(first > 60 || last < 50).toBe(true);
            expect(held.filter((other) => first <= other.last && other.first <= last)).toEqual([]);
            held.push({ first, last, pages: size });
          }
        }
        for (const { first, pages: size } of held) space.free(first, size, cpu0);
        space.flushCaches();
        expect([space.tree.rangeCount, space.tree.reservedCount]).toEqual([0, 1]);
      }),
      { seed: 20_260_402, numRuns: 200 },
    );
  });
});

describe('an IOVA space', () => {
  it('never gives out page 0 [C9]', () => {
    const { space } = create(1, 0);
    expect(space.firstPage).toBe(1);
    expect(space.allocate(1, 1, true, cpu0)).toBe(1);
    expect(space.allocate(1, 1, true, cpu0)).toBe(0);
  });

  it('begins where its aperture does [C23]', () => {
    const { space } = create(1, LIMIT + 1);
    expect(space.allocate(1, LIMIT, true, cpu0)).toBe(0);
    expect(space.allocate(1, LIMIT + 1, true, cpu0)).toBe(LIMIT + 1);
  });

  it('gives back at once what was never used, and ignores what nobody has', () => {
    const { space } = create();
    const page = space.allocate(1, LIMIT, true, cpu0);
    space.freeNow(page);
    space.freeNow(page);
    expect(space.tree.rangeCount).toBe(0);
  });

  it('lets another context in between the tree and the caches of the others', () => {
    const { space, concurrency } = create();
    const taken = Array.from({ length: 3 }, () => space.allocate(1, 3, true, cpu0));
    for (const page of taken) space.free(page, 1, cpu1);
    let other = -1;
    concurrency.hook = () => concurrency.run(() => (other = space.allocate(1, 3, false, cpu1)));
    expect(space.allocate(1, 3, true, cpu0)).toBe(3);
    expect(other).toBe(1);
    expect(concurrency.parked).toBe(0);
  });
});
