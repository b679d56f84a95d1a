import { describe, expect, it } from 'vitest';
import type { Reached } from './kit/reach.ts';
import { PROBER, type ReachArgs } from './program/reach.ts';
import { moduleOf, run } from './run.ts';

/** The long run does a million. */
const OPERATIONS = 60_000;

async function reached(...commandLines: string[]): Promise<Reached[]> {
  const args: ReachArgs = { operations: OPERATIONS, commandLines };
  const { value } = await run('reach', {
    args,
    endpoints: { prober: { kind: 'module', module: moduleOf('prober'), id: PROBER } },
  });
  return value as Reached[]; // What the program returns.
}

describe('an endpoint that keeps trying', { timeout: 60_000 }, () => {
  it('S4.16 gets nowhere once unmap has returned, in strict mode', async () => {
    const [strict] = await reached('iommu.strict=1');
    expect(strict).toMatchObject({ late: 0, violations: 0, flushes: 0 });
    // It did try, and got through where it was allowed to.
    expect(strict?.hits).toBeGreaterThan(OPERATIONS / 10);
    expect(strict?.refusals).toBeGreaterThan(OPERATIONS / 10);
  });

  it('S4.17, S1.6 gets nowhere after the flush in lazy mode, and no address is reused before [C12]', async () => {
    for (const lazy of await reached(
      'iommu.strict=0',
      'iommu.strict=0 iommu.fq=single iommu.fqSize=512 iommu.fqTimeout=20',
    )) {
      expect(lazy).toMatchObject({ violations: 0, reused: 0 });
      expect(lazy.hits).toBeGreaterThan(OPERATIONS / 10);
      expect(lazy.flushes).toBeGreaterThan(OPERATIONS / 2 / 1024);
      // Between unmap and flush it does get through: that is the price, and shows that this test would notice.
      expect(lazy.late).toBeGreaterThan(0);
    }
  });
});
