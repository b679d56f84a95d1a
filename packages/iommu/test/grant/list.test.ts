import { describe, expect, it } from 'vitest';
import { Direction, ScatterEntry } from '../../src/dma-ops.ts';
import { grantWorld } from './world.ts';

const context = { cpu: 0 };

describe('a list of grants', () => {
  it('S0.6 of no pieces is refused, and one that is unmapped twice takes nothing of anybody else', () => {
    const { dma, table, device, into } = grantWorld();
    const entry = Object.assign(new ScatterEntry(), { page: 5, offset: 100, sizeBytes: 10 });
    const { TO_DEVICE } = Direction;
    expect(dma.mapList(context, device, [entry], 0, TO_DEVICE, 0)).toBe('EINVAL');
    expect(dma.mapList(context, device, [entry], 1, TO_DEVICE, 0)).toBe(1);
    dma.unmapList(context, device, [entry], 1, TO_DEVICE, 0);
    expect(dma.map(context, device, 6, 0, 10, TO_DEVICE, 0, into)).toBe(true);
    dma.unmapList(context, device, [entry], 1, TO_DEVICE, 0);
    expect([table.used, dma.broken]).toEqual([1, false]);
  });
});
