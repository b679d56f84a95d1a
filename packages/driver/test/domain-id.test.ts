import { domainId } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DomainIds } from '../src/domain-id.ts';

describe('domain numbers', () => {
  it('are always the lowest free one of the range', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(12), { maxLength: 100 }), (choices) => {
        const ids = new DomainIds(5, 12);
        const taken = new Set<number>();
        for (const choice of choices) {
          if (taken.has(choice)) {
            taken.delete(choice);
            ids.release(domainId(choice));
            continue;
          }
          const lowest = [5, 6, 7, 8, 9, 10, 11, 12].find((id) => !taken.has(id));
          expect(ids.take()).toBe(lowest);
          if (lowest !== undefined) taken.add(lowest);
        }
      }),
      { seed: 20_261, numRuns: 200 },
    );
  });

  it('reach both ends of 32 bits', () => {
    const last = new DomainIds(0xffff_ffff, 0xffff_ffff);
    expect(last.take()).toBe(0xffff_ffff);
    expect(last.take()).toBeUndefined();
    expect(new DomainIds(0, 0xffff_ffff).take()).toBe(0);
    expect(new DomainIds(1, 0).take()).toBeUndefined();
  });
});
