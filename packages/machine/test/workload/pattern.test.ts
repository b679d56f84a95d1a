import { describe, expect, it } from 'vitest';
import { Pattern, WORKLOADS, type WorkloadName } from '../../src/workload/pattern.ts';

const BLOCKS = 50;
const DRAWS = 2000;

/** What a pattern chooses, one block in flight at a time. */
function draw(name: WorkloadName, count: number): { block: number; writes: boolean }[] {
  const pattern = new Pattern(BLOCKS, 99);
  pattern.use(name);
  return Array.from({ length: count }, () => {
    expect(pattern.next()).toBe(true);
    const { block, writes } = pattern;
    pattern.done(block);
    return { block, writes };
  });
}

describe('pattern of a workload', () => {
  it('never has a block in flight twice, and has room for all but one of them', () => {
    for (const name of WORKLOADS) {
      const pattern = new Pattern(BLOCKS, 3);
      pattern.use(name);
      const busy = new Set<number>();
      for (let n = 0; n < BLOCKS - 1; n += 1) {
        expect(pattern.next()).toBe(true);
        expect(busy.has(pattern.block)).toBe(false);
        busy.add(pattern.block);
      }
      const freed = [...busy][17] ?? 0;
      pattern.done(freed);
      busy.delete(freed);
      expect(pattern.next()).toBe(true);
      expect(busy.has(pattern.block)).toBe(false);
    }
  });

  it.each([
    ['randread', 0, 0],
    ['seqread', 0, 0],
    ['randwrite', 1, 1],
    ['seqwrite', 1, 1],
    ['mixed', 0.25, 0.35],
  ] as const)('%s writes a share of %d to %d', (name, least, most) => {
    const share = draw(name, DRAWS).filter(({ writes }) => writes).length / DRAWS;
    expect(share).toBeGreaterThanOrEqual(least);
    expect(share).toBeLessThanOrEqual(most);
  });

  it.each(['seqread', 'seqwrite'] as const)('%s goes from the first block to the last', (name) => {
    const blocks = draw(name, BLOCKS + 2).map(({ block }) => block);
    expect(blocks).toEqual([...Array.from({ length: BLOCKS }, (_, block) => block), 0, 1]);
  });

  it.each(['randread', 'randwrite', 'mixed'] as const)('%s goes everywhere', (name) => {
    const blocks = draw(name, DRAWS).map(({ block }) => block);
    expect(new Set(blocks).size).toBe(BLOCKS);
    expect(blocks.slice(0, 5)).not.toEqual([0, 1, 2, 3, 4]);
  });

  it.each(['read', 'write'] as const)('a sweep has every block once (%s)', (what) => {
    const pattern = new Pattern(BLOCKS, 1);
    pattern.use('mixed');
    pattern.next();
    pattern.done(pattern.block);
    pattern.sweep(what);
    const seen: number[] = [];
    while (pattern.next()) {
      seen.push(pattern.block);
      expect(pattern.writes).toBe(what === 'write');
      pattern.done(pattern.block);
    }
    expect(seen).toEqual(Array.from({ length: BLOCKS }, (_, block) => block));
  });
});
