import { ADDRESS_MAX, addressAt, offsetInPage, pageOf } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FANOUT, MappingPool } from '../src/core/mapping-pool.ts';
import { MappingStore } from '../src/core/mapping-store.ts';

interface Entry {
  readonly start: bigint;
  readonly last: bigint;
  readonly phys: bigint;
  readonly flags: number;
}

/** The definition: a sorted array of bigints. */
class Model {
  entries: Entry[] = [];

  insert(entry: Entry): boolean {
    if (this.entries.some(({ start, last }) => start <= entry.last && entry.start <= last))
      return false;
    this.entries.push(entry);
    this.entries.sort((a, b) => (a.start < b.start ? -1 : 1));
    return true;
  }

  removeInside(start: bigint, last: bigint): boolean {
    const touched = this.entries.filter((entry) => entry.start <= last && start <= entry.last);
    if (touched.some((entry) => entry.start < start || entry.last > last)) return false;
    this.entries = this.entries.filter((entry) => !touched.includes(entry));
    return true;
  }

  find(address: bigint): Entry | undefined {
    return this.entries.find(({ start, last }) => start <= address && address <= last);
  }

  overlaps(start: bigint, last: bigint): boolean {
    return this.entries.some((entry) => entry.start <= last && start <= entry.last);
  }
}

function entryAt(pool: MappingPool, slot: number): Entry {
  return {
    start: addressAt(pool.startPage(slot), pool.startOffset(slot)),
    last: addressAt(pool.lastPage(slot), pool.lastOffset(slot)),
    phys: addressAt(pool.physPage(slot), pool.physOffset(slot)),
    flags: pool.flags(slot),
  };
}

function entriesOf(pool: MappingPool, store: MappingStore): Entry[] {
  const entries: Entry[] = [];
  for (let slot = store.first(); slot >= 0; slot = store.next(slot))
    entries.push(entryAt(pool, slot));
  return entries;
}

function insert(store: MappingStore, { start, last, phys, flags }: Entry): boolean {
  return store.insert(
    pageOf(start),
    offsetInPage(start),
    pageOf(last),
    offsetInPage(last),
    pageOf(phys),
    offsetInPage(phys),
    flags,
  );
}

function removeInside(store: MappingStore, start: bigint, last: bigint): boolean {
  return store.removeInside(pageOf(start), offsetInPage(start), pageOf(last), offsetInPage(last));
}

function overlaps(store: MappingStore, start: bigint, last: bigint): boolean {
  return store.overlaps(pageOf(start), offsetInPage(start), pageOf(last), offsetInPage(last));
}

/** A small generator of its own, since thousands of operations on one store are too long for a shrinking run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function onePage(store: MappingStore, page: number): boolean {
  return store.insert(page, 0, page, 4095, page, 0, 3);
}

function unmapPages(store: MappingStore, first: number, last: number): boolean {
  return store.removeInside(first, 0, last, 4095);
}

describe('mapping store', () => {
  const granules = [1n, 64n, 4096n, 65536n];
  for (const granule of granules) {
    it(`agrees with a sorted array of bigints, granule ${granule}`, () => {
      const bases = [0n, 0xffff_f000n & -granule, (1n << 53n) & -granule];
      const cells = 48;
      const top = ADDRESS_MAX - granule * BigInt(cells) + 1n;
      const address = fc
        .tuple(fc.constantFrom(...bases, top), fc.nat(cells - 1))
        .map(([base, cell]) => base + granule * BigInt(cell));
      const range = fc
        .tuple(address, fc.nat(5))
        .map(([start, more]): [bigint, bigint] => [start, start + granule * BigInt(more + 1) - 1n])
        .map(([start, last]): [bigint, bigint] => [start, last > ADDRESS_MAX ? ADDRESS_MAX : last]);
      const operation = fc.oneof(
        { weight: 5, arbitrary: fc.tuple(fc.constant('insert' as const), range) },
        { weight: 2, arbitrary: fc.tuple(fc.constant('remove' as const), range) },
        // Ranges of any alignment, up to everything.
        {
          weight: 1,
          arbitrary: fc.tuple(
            fc.constant('remove' as const),
            fc
              .tuple(address, fc.nat(7), address, fc.nat(7))
              .map(([a, da, b, db]): [bigint, bigint] => {
                const x = a + BigInt(da);
                const y = b + BigInt(db);
                return x <= y ? [x, y] : [y, x];
              })
              .map(([start, last]): [bigint, bigint] => [
                start,
                last > ADDRESS_MAX ? ADDRESS_MAX : last,
              ]),
          ),
        },
      );
      fc.assert(
        fc.property(fc.array(operation, { minLength: 60, maxLength: 160 }), (operations) => {
          const pool = new MappingPool();
          const store = new MappingStore(pool);
          const model = new Model();
          operations.forEach(([kind, [start, last]], index) => {
            if (kind === 'insert') {
              const entry = { start, last, phys: ADDRESS_MAX - last, flags: index % 8 };
              expect(overlaps(store, start, last)).toBe(model.overlaps(start, last));
              expect(insert(store, entry)).toBe(model.insert(entry));
            } else expect(removeInside(store, start, last)).toBe(model.removeInside(start, last));
            for (const probe of [start, last]) {
              const slot = store.find(pageOf(probe), offsetInPage(probe));
              expect(slot < 0 ? undefined : entryAt(pool, slot)).toEqual(model.find(probe));
            }
          });
          expect(entriesOf(pool, store)).toEqual(model.entries);
          expect(store.size).toBe(model.entries.length);
          store.clear();
          expect(pool.nodes).toBe(0);
        }),
        { seed: 5, numRuns: 25 },
      );
    });
  }

  it('agrees with a page table through thousands of operations in a deep tree', () => {
    const random = randomFrom(2026);
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    const other = new MappingStore(pool);
    const owner = new Map<number, number>();
    const cells = 1 << 14;
    let deepest = 0;
    for (let operation = 0; operation < 60_000; operation += 1) {
      // Waves: mostly mapping, then mostly unmapping, so that the tree grows and shrinks through several levels.
      const mapping = random(10) < (Math.floor(operation / 10_000) % 2 === 0 ? 8 : 2);
      const first = random(cells);
      const last = Math.min(first + random(mapping ? 2 : 24), cells - 1);
      if (mapping) {
        let free = true;
        for (let page = first; page <= last; page += 1) free &&= !owner.has(page);
        expect(store.insert(first, 0, last, 4095, first, 0, 1)).toBe(free);
        if (free) for (let page = first; page <= last; page += 1) owner.set(page, first);
      } else {
        const cut =
          (owner.has(first) && owner.get(first) !== first) ||
          (owner.has(last) && owner.get(last) === owner.get(last + 1));
        expect(unmapPages(store, first, last)).toBe(!cut);
        if (!cut) for (let page = first; page <= last; page += 1) owner.delete(page);
      }
      const page = random(cells);
      const slot = store.find(page, random(4096));
      expect(slot < 0 ? undefined : pool.startPage(slot)).toBe(owner.get(page));
      deepest = Math.max(deepest, store.levels);
      // Another tree in the same pool comes and goes.
      if (operation % 7 === 0) onePage(other, operation);
      if (operation % 7000 === 0) other.clear();
    }
    expect(deepest).toBeGreaterThanOrEqual(3);
    expect(entriesOf(pool, store).map(({ start }) => pageOf(start))).toEqual(
      [...new Set(owner.values())].sort((a, b) => a - b),
    );
  });

  it('holds the whole address space as one mapping, and its last byte as another (4.1, 4.3)', () => {
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    const all = { start: 0n, last: ADDRESS_MAX, phys: 0n, flags: 3 };
    expect(insert(store, all)).toBe(true);
    expect(insert(store, { ...all, start: ADDRESS_MAX })).toBe(false);
    expect(removeInside(store, 0n, ADDRESS_MAX - 1n)).toBe(false);
    expect(removeInside(store, 1n, ADDRESS_MAX)).toBe(false);
    expect(removeInside(store, 0n, ADDRESS_MAX)).toBe(true);
    expect(insert(store, { ...all, start: ADDRESS_MAX })).toBe(true);
    expect(insert(store, { ...all, last: ADDRESS_MAX - 1n })).toBe(true);
    expect(entriesOf(pool, store).map(({ start }) => start)).toEqual([0n, ADDRESS_MAX]);
  });

  it('fills nodes whole when mappings come in order, from either end', () => {
    for (const direction of [1, -1]) {
      const pool = new MappingPool();
      const store = new MappingStore(pool);
      const mappings = 100_000;
      for (let index = 0; index < mappings; index += 1) onePage(store, 500_000 + direction * index);
      expect(pool.nodes).toBeLessThan((mappings / FANOUT) * 1.05);
    }
  });

  it('shrinks to a single node with its last mapping, however high it was', () => {
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    // Full nodes on two levels, and one mapping more: it has a way of its own down from the root.
    const full = FANOUT * FANOUT;
    for (let page = 0; page <= full; page += 1) onePage(store, page);
    expect(store.levels).toBe(3);
    expect(unmapPages(store, 0, full - 1)).toBe(true);
    expect(store.levels).toBe(1);
    expect(pool.nodes).toBe(1);
    expect(entriesOf(pool, store)).toHaveLength(1);
  });

  it('works in a tree that grew from the low end', () => {
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    const pages = 3 * FANOUT * FANOUT;
    const mapped = new Set<number>();
    for (let page = pages - 1; page >= 0; page -= 1) {
      onePage(store, page);
      mapped.add(page);
    }
    const random = randomFrom(3);
    const low = FANOUT * FANOUT;
    for (let operation = 0; operation < 6000; operation += 1) {
      const first = random(low);
      if (random(2) === 0) {
        const last = first + random(60);
        expect(unmapPages(store, first, last)).toBe(true);
        for (let page = first; page <= last; page += 1) mapped.delete(page);
      } else {
        expect(onePage(store, first)).toBe(!mapped.has(first));
        mapped.add(first);
      }
    }
    expect(entriesOf(pool, store).map(({ start }) => pageOf(start))).toEqual(
      [...mapped].sort((a, b) => a - b),
    );
    for (let page = 0; page < pages; page += 1)
      expect(store.find(page, 0) >= 0).toBe(mapped.has(page));
  });

  it('moves nothing when a mapping goes and one comes to its place', () => {
    const store = new MappingStore(new MappingPool());
    for (let page = 0; page < 20; page += 2) onePage(store, page);
    const slots = (): number[] =>
      [0, 2, 4, 6, 8, 12, 14, 16, 18].map((page) => store.find(page, 9));
    const before = slots();
    expect(new Set(before).size).toBe(9);
    for (const page of [10, 11, 9, 10]) {
      expect(unmapPages(store, 9, 11)).toBe(true);
      expect([store.find(10, 0), store.size]).toEqual([-1, 9]);
      expect(slots()).toEqual(before);
      expect(onePage(store, page)).toBe(true);
      expect(slots()).toEqual(before);
    }
  });

  it('takes a full node apart only when all of its mappings are there', () => {
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    for (let cell = 0; cell < FANOUT; cell += 1) onePage(store, 4 * cell);
    // Room is made from either side, from the nearest place that is free.
    for (const [free, page] of [
      [3, 4 * 20 + 1],
      [28, 4 * 2 + 1],
      [0, 4 * 31 + 1],
      [31, 1],
    ] as const) {
      expect(unmapPages(store, 4 * free, 4 * free)).toBe(true);
      expect(onePage(store, page)).toBe(true);
      expect([pool.nodes, store.size]).toEqual([1, FANOUT]);
    }
    const pages = Array.from({ length: FANOUT }, (_, cell) => 4 * cell)
      .filter((page) => ![0, 3 * 4, 28 * 4, 31 * 4].includes(page))
      .concat(1, 9, 81, 125);
    expect(entriesOf(pool, store).map(({ start }) => pageOf(start))).toEqual(
      pages.toSorted((a, b) => a - b),
    );
    expect(onePage(store, 2)).toBe(true);
    expect(pool.nodes).toBe(3);
  });

  it('finds what came in below a freed first child, after nodes joined', () => {
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    const inner = FANOUT * FANOUT;
    for (let page = 0; page < 4 * inner; page += 1) onePage(store, page);
    // The first leaf of the second inner node goes, and a mapping comes back in its place.
    expect(unmapPages(store, inner, inner + FANOUT - 1)).toBe(true);
    expect(onePage(store, inner + 1)).toBe(true);
    // Both inner nodes lose so many leaves that they join.
    expect(unmapPages(store, FANOUT * 2, inner - 1)).toBe(true);
    expect(unmapPages(store, inner + 6 * FANOUT, 2 * inner - 1)).toBe(true);
    expect(store.find(inner + 1, 0)).toBeGreaterThanOrEqual(0);
    expect(onePage(store, inner + 1)).toBe(false);
    expect(onePage(store, inner)).toBe(true);
    expect(unmapPages(store, inner, inner + 1)).toBe(true);
    expect(store.find(inner + 1, 0)).toBe(-1);
    expect(store.size).toBe(entriesOf(pool, store).length);
  });

  it('keeps its memory bounded whatever is mapped and unmapped', () => {
    // The worst we know: thin out what is there, fill up elsewhere, again and again.
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    const limit = 20_000;
    const random = randomFrom(7);
    let next = 0;
    let worst = 0;
    for (let round = 0; round < 12; round += 1) {
      while (store.size < limit) {
        onePage(store, next);
        next += 1 + random(2);
      }
      const keep = 2 + random(31);
      let index = 0;
      for (const { start } of entriesOf(pool, store)) {
        index += 1;
        const page = pageOf(start);
        if (index % keep !== 0) unmapPages(store, page, page);
        if (store.size > 100) worst = Math.max(worst, (pool.nodes * FANOUT) / store.size);
      }
    }
    // Eight entries to a node, and the inner nodes above.
    expect(worst).toBeLessThan(FANOUT / 8 + 1);
    const { bytes } = pool;
    unmapPages(store, 0, next);
    expect(pool).toMatchObject({ nodes: 0, mappings: 0 });
    expect(pool.bytes).toBeLessThan(bytes / 50);
  });

  it('does not grow while mappings come and go', () => {
    const pool = new MappingPool();
    const store = new MappingStore(pool);
    const random = randomFrom(11);
    const live: number[] = [];
    const churn = (operations: number): void => {
      for (let operation = 0; operation < operations; operation += 1) {
        if (live.length < 5000) {
          const page = random(2 ** 31);
          if (onePage(store, page)) live.push(page);
        } else {
          const index = random(live.length);
          const page = live[index] ?? 0;
          live[index] = live.at(-1) ?? 0;
          live.pop();
          expect(unmapPages(store, page, page)).toBe(true);
        }
      }
    };
    churn(30_000);
    const { bytes } = pool;
    churn(100_000);
    expect(pool.bytes).toBe(bytes);
  });

  it('takes far less than linear time as mappings grow from a thousand to 64 thousand', () => {
    const small = cost(1000);
    const large = cost(64_000);
    // 64 times as many; the walk is one or two nodes longer, and misses the cache more often.
    for (const [operation, time] of Object.entries(large.times))
      expect(time / (small.times[operation] ?? 0), operation).toBeLessThan(12);
    expect(large.levels - small.levels).toBeLessThanOrEqual(2);
  });
});

/** The time of one find, and of one removal with an insertion, in a store of `mappings` spread at random. */
function cost(mappings: number): { times: Record<string, number>; levels: number } {
  const store = new MappingStore(new MappingPool());
  const random = randomFrom(mappings);
  const pages = new Uint32Array(mappings);
  for (let index = 0; index < mappings;) {
    const page = random(2 ** 31);
    if (!onePage(store, page)) continue;
    pages[index] = page;
    index += 1;
  }
  const operations = 4000;
  const times = { find: Infinity, churn: Infinity };
  for (let round = 0; round < 7; round += 1) {
    let at = performance.now();
    for (let index = 0; index < operations; index += 1)
      store.find(pages[random(mappings)] ?? 0, 17);
    times.find = Math.min(times.find, performance.now() - at);
    at = performance.now();
    for (let index = 0; index < operations; index += 1) {
      const page = pages[random(mappings)] ?? 0;
      unmapPages(store, page, page);
      onePage(store, page);
    }
    times.churn = Math.min(times.churn, performance.now() - at);
  }
  return { times, levels: store.levels };
}
