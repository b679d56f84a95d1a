import { PAGE_MAX } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MappingTree } from '../src/mapping-tree.ts';

type Entry = [startPage: number, lastPage: number, physPage: number, flags: number];

function contents(tree: MappingTree): Entry[] {
  const entries: Entry[] = [];
  tree.forEach((...entry) => entries.push(entry));
  return entries;
}

/** Two chunks side by side hold 33 mappings or more. */
function chunksMax(size: number): number {
  return 2 * Math.floor(size / 33) + 1;
}

/** The same by looking at every mapping. */
class NaiveTree {
  entries: Entry[] = [];

  insert(...entry: Entry): boolean {
    const [start, last] = entry;
    if (this.entries.some(([s, l]) => s <= last && l >= start)) return false;
    this.entries.push(entry);
    this.entries.sort(([a], [b]) => a - b);
    return true;
  }

  translate(page: number): number {
    const found = this.entries.find(([s, l]) => s <= page && page <= l);
    return found === undefined ? -1 : found[2] + page - found[0];
  }

  lastOfRun(start: number, limit: number): number {
    let end = -1;
    for (const [s, l] of this.entries) {
      if (s < start) continue;
      if (s !== (end < 0 ? start : end + 1) || end === limit) break;
      if (l > limit) return -1;
      end = l;
    }
    return end;
  }

  remove(start: number, last: number): void {
    this.entries = this.entries.filter(([s, l]) => l < start || s > last);
  }
}

describe('the tree of mappings', () => {
  it('is the same as a plain list, whatever is done to it', () => {
    const page = fc.integer({ min: 0, max: 1000 });
    const step = fc.record({
      kind: fc.constantFrom('insert', 'insert', 'insert', 'remove', 'look'),
      page,
      pages: fc.integer({ min: 1, max: 4 }),
      span: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 800, size: 'max' }), (steps) => {
        const tree = new MappingTree();
        const naive = new NaiveTree();
        for (const { kind, page: start, pages, span } of steps) {
          const limit = start + span - 1;
          if (kind === 'insert') {
            const entry: Entry = [start, start + pages - 1, start * 7, span & 7];
            expect(tree.insert(...entry)).toBe(naive.insert(...entry));
          } else if (kind === 'remove') {
            const last = tree.lastOfRun(start, limit);
            expect(last).toBe(naive.lastOfRun(start, limit));
            if (last < 0) continue;
            tree.remove(start, last);
            naive.remove(start, last);
            expect(tree.chunkCount).toBeLessThanOrEqual(chunksMax(tree.size));
          } else {
            expect(tree.translate(start)).toBe(naive.translate(start));
            expect(tree.touches(start, limit)).toBe(
              naive.entries.some(([s, l]) => s <= limit && l >= start),
            );
            expect(tree.has(start, start + pages - 1)).toBe(
              naive.entries.some(([s, l]) => s === start && l === start + pages - 1),
            );
          }
        }
        expect(contents(tree)).toEqual(naive.entries);
        expect(tree.size).toBe(naive.entries.length);
      }),
      { seed: 20_260, numRuns: 100 },
    );
  });

  it.each([
    ['upwards', (n: number) => n],
    ['downwards', (n: number) => 4999 - n],
    ['scattered', (n: number) => (n * 1973) % 5000],
  ])('holds thousands of mappings made %s, and gives runs of them back', (direction, pageOf) => {
    const tree = new MappingTree();
    for (let n = 0; n < 5000; n += 1) {
      const page = pageOf(n);
      expect(tree.insert(page, page, page + 1, 3)).toBe(true);
    }
    expect(contents(tree).map(([start]) => start)).toEqual(
      Array.from({ length: 5000 }, (_, n) => n),
    );
    // Where pages are given out in one direction chunks are full.
    expect(tree.chunkCount).toBeLessThanOrEqual(direction === 'scattered' ? 5000 / 32 : 80);
    expect(tree.lastOfRun(17, 4000)).toBe(4000);
    tree.remove(17, 4000);
    expect(tree.size).toBe(5000 - 3984);
    expect(contents(tree).map(([start]) => start)).toEqual(
      Array.from({ length: 5000 }, (_, n) => n).filter((n) => n < 17 || n > 4000),
    );
    expect(tree.translate(4000)).toBe(-1);
    expect(tree.translate(4001)).toBe(4002);
  });

  it('reaches the last page of the address space', () => {
    const tree = new MappingTree();
    expect(tree.insert(0, PAGE_MAX, 0, 3)).toBe(true);
    expect(tree.insert(PAGE_MAX, PAGE_MAX, 0, 3)).toBe(false);
    expect(tree.translate(PAGE_MAX)).toBe(PAGE_MAX);
    expect(tree.lastOfRun(0, PAGE_MAX - 1)).toBe(-1);
    expect(tree.lastOfRun(0, PAGE_MAX)).toBe(PAGE_MAX);
    tree.remove(0, PAGE_MAX);
    expect(tree.size).toBe(0);
    expect(tree.touches(0, PAGE_MAX)).toBe(false);
  });

  it('joins what a removal leaves on both sides, whatever lies in front of it', () => {
    const tree = new MappingTree();
    for (let page = 0; page < 192; page += 1) tree.insert(page, page, page, 3);
    expect(tree.chunkCount).toBe(3);
    tree.remove(5, 63);
    tree.remove(66, 150);
    expect(tree.chunkCount).toBe(2);
    expect(contents(tree).map(([start]) => start)).toEqual(
      Array.from({ length: 192 }, (_, page) => page).filter(
        (page) => page < 5 || page === 64 || page === 65 || page > 150,
      ),
    );
  });

  it('joins the chunk that a removal shrinks with the one behind it', () => {
    const tree = new MappingTree();
    for (let page = 0; page < 70; page += 1) tree.insert(page, page, page, 3);
    expect(tree.chunkCount).toBe(2);
    tree.remove(5, 63);
    expect(tree.chunkCount).toBe(1);
  });

  it('stays small when it is emptied in holes', () => {
    const tree = new MappingTree();
    for (let page = 0; page < 20_000; page += 1) tree.insert(page, page, page, 3);
    for (let page = 0; page < 20_000; page += 1) if (page % 50 !== 0) tree.remove(page, page);
    expect(tree.size).toBe(400);
    for (let page = 0; page < 20_000; page += 50) expect(tree.translate(page)).toBe(page);
    expect(tree.chunkCount).toBeLessThanOrEqual(chunksMax(400));
    for (let page = 19_999; page >= 0; page -= 1) tree.insert(page, page, page, 3);
    expect(contents(tree).map(([start]) => start)).toEqual(
      Array.from({ length: 20_000 }, (_, page) => page),
    );
  });
});
