import fc from 'fast-check';
import { PAGE_MAX } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { IovaTree } from '../src/iova-tree.ts';

/** The pages of a small space, each free, given out or reserved: what the tree is compared with. */
class PageSets {
  readonly used = new Map<number, { first: number; last: number }>();
  readonly reserved = new Set<number>();
  readonly #lowest: number;

  constructor(lowest: number) {
    this.#lowest = lowest;
  }

  free(page: number): boolean {
    return page >= this.#lowest && !this.used.has(page) && !this.reserved.has(page);
  }

  allocate(pages: number, limit: number, aligned: boolean): number {
    let alignment = 1;
    if (aligned) while (alignment < pages) alignment *= 2;
    for (let first = limit + 1 - pages; first >= this.#lowest; first -= 1) {
      if (first % alignment !== 0) continue;
      const range = { first, last: first + pages - 1 };
      const all = Array.from({ length: pages }, (_, i) => first + i);
      if (!all.every((page) => this.free(page))) continue;
      for (const page of all) this.used.set(page, range);
      return first;
    }
    return 0;
  }

  release(page: number): boolean {
    const range = this.used.get(page);
    if (range === undefined) return false;
    for (let at = range.first; at <= range.last; at += 1) this.used.delete(at);
    return true;
  }

  reserve(first: number, last: number): void {
    for (let page = Math.max(first, this.#lowest); page <= last; page += 1)
      if (!this.used.has(page)) this.reserved.add(page);
  }
}

describe('the tree of taken ranges', () => {
  it('gives out the highest place, aligned if asked to [C1]', () => {
    const tree = new IovaTree(1);
    expect(tree.allocate(1, 0xfffff, false)).toBe(0xfffff);
    expect(tree.allocate(4, 0xfffff, true)).toBe(0xffff8);
    // The hole between the two is the highest place for what fits.
    expect(tree.allocate(2, 0xfffff, true)).toBe(0xffffc);
    expect(tree.allocate(1, 0xfffff, true)).toBe(0xffffe);
    expect(tree.allocate(5, 0xfffff, false)).toBe(0xffff3);
  });

  it('reaches from its first page to the last page there is', () => {
    const tree = new IovaTree(3);
    expect(tree.allocate(1, PAGE_MAX, true)).toBe(PAGE_MAX);
    expect(tree.allocate(1, Infinity, true)).toBe(PAGE_MAX - 1);
    expect([1, 2, 3, 4].map((limit) => tree.allocate(1, limit, true))).toEqual([0, 0, 3, 4]);
    expect(tree.find(PAGE_MAX)).toEqual({ first: PAGE_MAX, last: PAGE_MAX, reserved: false });
    expect(tree.find(2)).toBeUndefined();
  });

  it('fails a larger request without a walk, until something below 4 GiB is freed [C7]', () => {
    const tree = new IovaTree(0xffff0);
    for (let i = 0; i < 4; i += 1) expect(tree.allocate(4, 0xfffff, true)).not.toBe(0);
    expect(tree.allocate(2, 0xfffff, true)).toBe(0);
    const walked = tree.searches;
    expect(tree.allocate(8, 0xfffff, true)).toBe(0);
    expect(tree.allocate(2, 0xffff8, true)).toBe(0);
    expect(tree.searches).toBe(walked);
    // Nothing is known about less, and nothing about addresses above.
    expect(tree.allocate(1, 0xfffff, true)).toBe(0);
    expect(tree.allocate(8, 0x1fffff, true)).toBe(0x1ffff8);
    expect(tree.searches).toBe(walked + 2);

    expect(tree.free(0x1ffff8)).toBe(true);
    expect(tree.allocate(8, 0xfffff, true)).toBe(0);
    expect(tree.searches).toBe(walked + 2);
    expect(tree.free(0xffff4)).toBe(true);
    expect(tree.allocate(8, 0xfffff, true)).toBe(0);
    expect(tree.searches).toBe(walked + 3);
    expect(tree.allocate(4, 0xfffff, true)).toBe(0xffff4);
  });

  it('does not take a failure under a low limit for one under a higher', () => {
    const tree = new IovaTree(1);
    for (let page = 15; page > 0; page -= 1) expect(tree.allocate(1, 15, true)).toBe(page);
    expect(tree.allocate(1, 15, true)).toBe(0);
    expect(tree.allocate(1, 0xfffff, true)).toBe(0xfffff);
  });

  it('finds at once what was freed above 4 GiB', () => {
    const tree = new IovaTree(PAGE_MAX);
    expect(tree.allocate(1, PAGE_MAX, true)).toBe(PAGE_MAX);
    expect(tree.allocate(1, PAGE_MAX, true)).toBe(0);
    expect(tree.free(PAGE_MAX)).toBe(true);
    expect(tree.allocate(1, PAGE_MAX, true)).toBe(PAGE_MAX);
  });

  it('joins reservations that overlap, and gives out none of them [C9]', () => {
    const tree = new IovaTree(1);
    tree.reserve(10, 20);
    tree.reserve(15, 30);
    expect(tree.reservedCount).toBe(1);
    expect(tree.find(12)).toEqual({ first: 10, last: 30, reserved: true });
    tree.reserve(12, 18);
    tree.reserve(0, 0);
    expect(tree.reservedCount).toBe(1);
    const given = new Set<number>();
    for (let page = tree.allocate(1, 40, true); page !== 0; page = tree.allocate(1, 40, true))
      given.add(page);
    const all = Array.from({ length: 41 }, (_, page) => page);
    expect([...given].toSorted((a, b) => a - b)).toEqual(
      all.filter((page) => page > 0 && (page < 10 || page > 30)),
    );
    expect(tree.free(10)).toBe(false);
  });

  it('reserves around what is given out', () => {
    const tree = new IovaTree(1);
    expect(tree.allocate(2, 21, true)).toBe(20);
    tree.reserve(10, 30);
    expect(tree.find(19)).toEqual({ first: 10, last: 19, reserved: true });
    expect(tree.find(20)).toEqual({ first: 20, last: 21, reserved: false });
    expect(tree.find(30)).toEqual({ first: 22, last: 30, reserved: true });
    expect(tree.usedWithin(0, 19)).toBe(false);
    expect(tree.usedWithin(0, 20)).toBe(true);
    expect(tree.usedWithin(21, PAGE_MAX)).toBe(true);
    expect(tree.usedWithin(22, PAGE_MAX)).toBe(false);
  });

  it('does what sets of pages do, for any calls', () => {
    const LAST = 70;
    const page = fc.nat({ max: LAST });
    const pages = fc.integer({ min: 1, max: 9 });
    const call = fc.oneof(
      fc.tuple(fc.constant('allocate' as const), pages, page, fc.boolean()),
      fc.tuple(fc.constant('free' as const), page),
      fc.tuple(fc.constant('reserve' as const), page, page),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.array(call, { maxLength: 120 }),
        (lowest, calls) => {
          const tree = new IovaTree(lowest);
          const model = new PageSets(lowest);
          for (const [name, ...args] of calls) {
            if (name === 'allocate') {
              const [size, limit, aligned] = args as [number, number, boolean]; // as made above
              expect(tree.allocate(size, limit, aligned)).toBe(
                model.allocate(size, limit, aligned),
              );
            } else if (name === 'free') {
              const [at] = args as [number]; // as made above
              expect(tree.free(at)).toBe(model.release(at));
            } else {
              const [first, last] = args as [number, number]; // as made above
              tree.reserve(first, last);
              model.reserve(first, last);
            }
          }
          for (let at = 0; at <= LAST; at += 1) {
            const found = tree.find(at);
            expect(found === undefined).toBe(at < lowest || model.free(at));
            if (found !== undefined) {
              expect(found.reserved).toBe(model.reserved.has(at));
              if (!found.reserved) expect(found).toMatchObject(model.used.get(at) ?? {});
            }
            expect(tree.usedWithin(at, at + 1)).toBe(model.used.has(at) || model.used.has(at + 1));
          }
          expect(tree.rangeCount).toBe(new Set(model.used.values()).size);
        },
      ),
      { seed: 20_260_401, numRuns: 400 },
    );
  });

  it('stays shallow: a hundred thousand ranges cost little more than a thousand', () => {
    const costOf = (count: number): number => {
      const tree = new IovaTree(1);
      const first = Array.from({ length: count }, () => tree.allocate(1, PAGE_MAX, true));
      const rounds = 20_000;
      const begin = performance.now();
      for (let i = 0; i < rounds; i += 1) {
        const at = (i * 7919) % count;
        tree.free(first[at] ?? 0);
        first[at] = tree.allocate(1, PAGE_MAX, true);
      }
      expect(tree.rangeCount).toBe(count);
      return (performance.now() - begin) / rounds;
    };
    costOf(1000);
    // Growing with the number would make it 100 times, and the logarithm twice. Caches of the machine do the rest.
    expect(costOf(100_000)).toBeLessThan(25 * costOf(1000));
  });
});
