/** A device that gives back one used entry for a burst, which IN_ORDER allows. */

import { createCore, runConformance, virtioDeviceTarget } from '@viommu/conformance';
import { describe, expect, it } from 'vitest';

const batching = virtioDeviceTarget('batching', (wish) => createCore(wish, { batchUsed: true }));

describe('a device that batches', () => {
  it.each(['split', 'packed'] as const)('conforms, over %s rings', async (format) => {
    for (const only of ['basic.dev.reserved.in-order', 'fact.split.in-order-offset']) {
      const { results } = await runConformance(batching, { only, format });
      const skipped = format === 'packed' && only.startsWith('fact.split');
      expect(new Set(results.map(({ result }) => result))).toEqual(
        new Set([skipped ? 'skip' : 'pass']),
      );
      if (only.startsWith('fact.') && !skipped)
        expect(results[0]?.evidence).toEqual(['1 used entries for 8 requests']);
    }
  });
});
