import { Protection } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Domain, type DomainType } from '../src/domain.ts';
import {
  PageRuns,
  map,
  mapNoSync,
  mapRange,
  mapRuns,
  syncUnmap,
  translate,
  unmap,
  unmapFast,
  unmapRange,
} from '../src/map.ts';
import { codeOf } from './group-guest.ts';
import { ScriptedDomain, ScriptedIommu, type ScriptedOptions } from './kit/scripted-iommu.ts';

const RW = Protection.READ | Protection.WRITE;
const KIB = 1024n;
const MIB = 1024n * KIB;

interface Place {
  readonly iommu: ScriptedIommu;
  readonly ops: ScriptedDomain;
  readonly domain: Domain;
}

function createDomain(options: ScriptedOptions = {}, type: DomainType = 'unmanaged'): Place {
  const iommu = new ScriptedIommu({ pageSizes: 0x20_1000n, ...options });
  const ops = new ScriptedDomain(iommu, 'd', type === 'identity' ? 'identity' : 'paging');
  return { iommu, ops, domain: new Domain(iommu, ops, type) };
}

describe('the size of blocks', () => {
  it('S1.28 is the largest that fits, with small ones up to its boundary [B26]', () => {
    const { iommu, domain } = createDomain();
    map(domain, 0x1f_f000n, 0x3f_f000n, 2n * MIB + 8n * KIB, RW);
    expect(iommu.calls).toEqual([
      'map 1ff>3ff 1*1',
      'map 200>400 200*1',
      'map 400>600 1*1',
      'syncMap 1ff+202',
    ]);
  });

  it.each([
    // Both on a boundary: the larger ones at once, then the rest.
    [0x200, 0x400, 0x403, ['200>400 200*2', '600>800 1*3']],
    // The addresses never meet a boundary together.
    [0x200, 0x401, 0x400, ['200>401 1*1024']],
    // They would, but no large block fits behind it.
    [0x1ff, 0x3ff, 0x200, ['1ff>3ff 1*512']],
    [0x1ff, 0x3ff, 0x201, ['1ff>3ff 1*1', '200>400 200*1']],
    [0, 0, 1, ['0>0 1*1']],
    // Beyond what bit operations of 32 bits see.
    [0x3_0000_0200, 0x5_0000_0000, 0x200, ['300000200>500000000 200*1']],
    [0x3_0000_01ff, 0x5_0000_01ff, 0x201, ['3000001ff>5000001ff 1*1', '300000200>500000200 200*1']],
  ])('S1.28 suits %i, %i and %i pages', (start, phys, count, expected) => {
    const { iommu, domain } = createDomain();
    mapNoSync(domain, start, phys, count, RW);
    expect(iommu.took('map')).toEqual(expected.map((call) => `map ${call}`));
  });

  it('S1.28 reaches beyond 2^31 pages, if there are blocks of that size', () => {
    const { iommu, domain } = createDomain({ pageSizes: (1n << 45n) | 0x1000n });
    const block = 2 ** 33;
    mapNoSync(domain, block, 3 * block, 2 * block + 1, RW);
    mapNoSync(domain, 4 * block - 1, 6 * block - 1, block + 1, RW);
    expect(iommu.took('map')).toEqual([
      'map 200000000>600000000 200000000*2',
      'map 600000000>a00000000 1*1',
      'map 7ffffffff>bffffffff 1*1',
      'map 800000000>c00000000 200000000*1',
    ]);
  });

  it('S1.28 covers every page once, with blocks that divide both addresses', () => {
    const page = fc.oneof(
      fc.integer({ min: 0, max: 5000 }),
      fc.integer({ min: 2 ** 31 - 3000, max: 2 ** 31 + 3000 }),
      fc.integer({ min: 2 ** 50 - 3000, max: 2 ** 50 + 3000 }),
    );
    const sizes = fc.uniqueArray(fc.integer({ min: 13, max: 24 }), { maxLength: 4 });
    fc.assert(
      fc.property(page, page, fc.integer({ min: 1, max: 5000 }), sizes, (start, phys, n, bits) => {
        const pageSizes = bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0x1000n);
        const { iommu, domain } = createDomain({ pageSizes });
        mapNoSync(domain, start, phys, n, RW);
        let done = 0;
        for (const call of iommu.calls) {
          const [at, to, block, count] = /map (\w+)>(\w+) (\w+)\*(\d+)/
            .exec(call)!
            .slice(1)
            .map((text, index) => parseInt(text, index === 3 ? 10 : 16)); // All calls map.
          expect([at, to]).toEqual([start + done, phys + done]);
          expect([at! % block!, to! % block!]).toEqual([0, 0]); // Four numbers.
          done += block! * count!; // Four numbers.
        }
        expect(done).toBe(n);
      }),
      { seed: 28, numRuns: 300 },
    );
  });

  it('goes on where an IOMMU has mapped some of the blocks', () => {
    const { iommu, ops, domain } = createDomain();
    ops.blocksMax = 2;
    mapRange(domain, 0x10, 0x20, 5, RW);
    expect(iommu.took('map')).toEqual(['map 10>20 1*2', 'map 12>22 1*2', 'map 14>24 1*1']);
    expect(unmapRange(domain, 0x10, 5)).toBe(5);
    expect(iommu.calls).toEqual(['unmap 10+2', 'unmap 12+2', 'unmap 14+1', 'sync']);
  });

  it('is not waited for if nothing is mapped at all', () => {
    const { ops, domain } = createDomain();
    ops.blocksMax = 0;
    expect(codeOf(() => mapRange(domain, 1, 1, 1, RW))).toBe('EIO');
  });
});

describe('what is refused before the IOMMU is asked', () => {
  it.each([
    ['EINVAL', 0x1001n, 0x2000n, 0x1000n],
    ['EINVAL', 0x1000n, 0x2800n, 0x1000n],
    ['EINVAL', 0x1000n, 0x2000n, 0x1800n],
    ['EINVAL', 0x1000n, 0x2000n, 0n],
    ['EINVAL', 0xffff_ffff_ffff_f000n, 0x2000n, 0x2000n],
    ['EINVAL', 0x1000n, 0xffff_ffff_ffff_f000n, 0x2000n],
    [undefined, 0xffff_ffff_ffff_f000n, 0xffff_ffff_ffff_f000n, 0x1000n],
  ])('%s for %#, a matter of alignment and size', (code, iova, phys, size) => {
    const { iommu, domain } = createDomain();
    expect(codeOf(() => map(domain, iova, phys, size, RW))).toBe(code);
    expect(iommu.calls.length > 0).toBe(code === undefined);
  });

  it('S1.27 is what suits another IOMMU: the smallest block is each one’s own', () => {
    const large = createDomain({ pageSizes: 0x1_0000n });
    expect(large.domain.blocks()).toEqual([16]);
    expect(codeOf(() => mapRange(large.domain, 1, 16, 16, RW))).toBe('EINVAL');
    expect(codeOf(() => mapRange(large.domain, 16, 1, 16, RW))).toBe('EINVAL');
    expect(codeOf(() => mapRange(large.domain, 16, 16, 15, RW))).toBe('EINVAL');
    mapRange(large.domain, 16, 32, 16, RW);
    expect(unmapRange(large.domain, 16, 8)).toBe(0);
    expect(unmapRange(large.domain, 17, 16)).toBe(0);
    expect(unmapRange(large.domain, 16, 16)).toBe(16);
    const small = createDomain({ pageSizes: 0x1_0200n });
    expect(small.domain.blocks()).toEqual([1, 16]);
    mapRange(small.domain, 1, 16, 1, RW);
  });

  it('is any mapping of an identity domain', () => {
    const { domain } = createDomain({}, 'identity');
    expect(codeOf(() => mapRange(domain, 1, 1, 1, RW))).toBe('EINVAL');
    expect(unmapFast(domain, 1, 1)).toBe(0);
  });

  it('is what comes before a domain is finalised [A23]', () => {
    const { ops, domain } = createDomain();
    const { pageSizeBitmap } = ops;
    ops.pageSizeBitmap = 0n;
    expect(codeOf(() => mapRange(domain, 1, 1, 1, RW))).toBe('ENODEV');
    expect(unmapFast(domain, 1, 1)).toBe(0);
    ops.pageSizeBitmap = pageSizeBitmap;
    mapRange(domain, 1, 1, 1, RW);
  });
});

describe('a mapping that fails', () => {
  it('S1.4 is taken back if the device refused it, which the wait tells [A11]', () => {
    const { iommu, ops, domain } = createDomain();
    iommu.failures.plan('syncMap', 'ENOMEM');
    expect(codeOf(() => mapRange(domain, 0x1ff, 0x3ff, 0x202, RW))).toBe('ENOMEM');
    expect(ops.mappings).toEqual([]);
    expect(iommu.calls.slice(-3)).toEqual(['syncMap 1ff+202', 'unmap 1ff+202', 'sync']);
  });

  it('leaves nothing of its first blocks, and nothing else changes', () => {
    const { iommu, ops, domain } = createDomain();
    mapRange(domain, 0x10, 0x10, 1, RW);
    iommu.failures.plan('map', 'ENOSPC', 2);
    expect(codeOf(() => mapRange(domain, 0x1ff, 0x3ff, 0x202, RW))).toBe('ENOSPC');
    expect(ops.pages()).toEqual([{ page: 0x10, phys: 0x10, protection: RW }]);
  });

  it('tells its own failure, even if undoing it fails too', () => {
    const { iommu, domain } = createDomain();
    iommu.failures.plan('syncMap', 'ENOMEM');
    iommu.failures.plan('sync', 'EIO');
    expect(codeOf(() => mapRange(domain, 1, 1, 1, RW))).toBe('ENOMEM');
  });

  it('does not take away what was there before', () => {
    const { ops, domain } = createDomain();
    mapRange(domain, 0x12, 0x12, 1, RW);
    expect(codeOf(() => mapRange(domain, 0x10, 0x20, 4, RW))).toBe('EEXIST');
    expect(ops.pages().map(({ page }) => page)).toEqual([0x12]);
  });
});

describe('a list of runs', () => {
  it('S1.2 is glued where memory goes on, and waited for once [C19]', () => {
    const { iommu, domain } = createDomain();
    const runs = new PageRuns();
    for (const page of [5, 6, 9]) runs.add(page, 1);
    expect([runs.length, runs.pageCount]).toEqual([2, 3]);
    mapRuns(domain, 0x100, runs, RW);
    expect(iommu.calls).toEqual(['map 100>5 1*2', 'map 102>9 1*1', 'syncMap 100+3']);
  });

  it('S1.4 leaves nothing if one of them is refused, at once or by the wait [C21]', () => {
    const runs = new PageRuns();
    for (const page of [5, 9, 13]) runs.add(page, 2);
    for (const [operation, after] of [
      ['map', 0],
      ['map', 1],
      ['map', 2],
      ['syncMap', 0],
    ] as const) {
      const { iommu, ops, domain } = createDomain();
      iommu.failures.plan(operation, 'ENOMEM', after);
      expect(codeOf(() => mapRuns(domain, 0x100, runs, RW))).toBe('ENOMEM');
      expect(ops.mappings).toEqual([]);
    }
  });

  it('keeps any number of runs, and is empty again when cleared', () => {
    const runs = new PageRuns();
    for (let at = 0; at < 1000; at += 1) runs.add(2 ** 40 + 2 * at, 1);
    expect([runs.length, runs.pageCount]).toEqual([1000, 1000]);
    expect([runs.physPageAt(999), runs.pageCountAt(999)]).toEqual([2 ** 40 + 1998, 1]);
    runs.clear();
    expect([runs.length, runs.pageCount]).toEqual([0, 0]);
    runs.add(2 ** 40 + 1999, 3);
    expect([runs.length, runs.pageCount]).toEqual([1, 3]);
  });
});

describe('unmapping', () => {
  it('waits once for all of it, and says how much there was', () => {
    const { iommu, domain } = createDomain();
    map(domain, 0x1f_f000n, 0x3f_f000n, 2n * MIB + 8n * KIB, RW);
    iommu.calls.length = 0;
    expect(unmap(domain, 0x1f_f000n, 2n * MIB + 8n * KIB)).toBe(2n * MIB + 8n * KIB);
    expect(iommu.calls).toEqual(['unmap 1ff+202', 'sync']);
  });

  it('takes a mapping as a whole, however the two addresses lie', () => {
    // One call maps all three pages, since 4 and 5 never meet a boundary together.
    const { iommu, domain } = createDomain({ pageSizes: 0x7000n });
    mapRange(domain, 4, 5, 3, RW);
    expect(iommu.took('map')).toEqual(['map 4>5 1*3']);
    expect(unmapRange(domain, 4, 3)).toBe(3);
  });

  it('stops at a hole [A20]', () => {
    const { iommu, domain } = createDomain();
    mapRange(domain, 0, 0, 1, RW);
    mapRange(domain, 2, 2, 1, RW);
    expect(unmapRange(domain, 0, 3)).toBe(1);
    expect(translate(domain, 0x2345n)).toBe(0x2345n);
    iommu.calls.length = 0;
    expect(unmapRange(domain, 0, 2)).toBe(0);
    expect(iommu.calls).toEqual([]);
  });

  it('leaves parts of blocks alone [A19]', () => {
    const { domain } = createDomain();
    mapRange(domain, 4, 4, 2, RW);
    expect(unmap(domain, 0x4800n, 0x1000n)).toBe(0n);
    expect(unmap(domain, 0x4000n, 0x1800n)).toBe(0n);
    expect(unmapRange(domain, 4, 1)).toBe(0);
    expect(unmapRange(domain, 4, 2)).toBe(2);
  });

  it('leaves the wait to the caller, if that is wanted', () => {
    const { iommu, domain } = createDomain();
    mapRange(domain, 4, 4, 2, RW);
    iommu.calls.length = 0;
    expect(unmapFast(domain, 4, 2)).toBe(2);
    expect(iommu.calls).toEqual(['unmap 4+2']);
    syncUnmap(domain);
    expect(iommu.calls).toEqual(['unmap 4+2', 'sync']);
  });

  it('reports a wait that failed', () => {
    const { iommu, domain } = createDomain();
    mapRange(domain, 4, 4, 2, RW);
    iommu.failures.plan('sync', 'EIO');
    expect(codeOf(() => unmapRange(domain, 4, 2))).toBe('EIO');
  });
});

describe('translation', () => {
  it('tells address 0 from none', () => {
    const { domain } = createDomain();
    mapRange(domain, 3, 0, 1, RW);
    expect(translate(domain, 0x3000n)).toBe(0n);
    expect(translate(domain, 0x3abcn)).toBe(0xabcn);
    expect(translate(domain, 0x4000n)).toBeUndefined();
  });
});

describe('a fault handler', () => {
  it('is only for domains that the DMA layer does not have', () => {
    const handler = (): undefined => undefined;
    const { ops, domain } = createDomain();
    domain.setFaultHandler(handler);
    expect(ops.handler).toBe(handler);
    for (const type of ['DMA', 'DMA-FQ'] as const)
      expect(codeOf(() => createDomain({}, type).domain.setFaultHandler(handler))).toBe('EBUSY');
  });
});
