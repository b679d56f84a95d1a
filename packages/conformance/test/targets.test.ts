/** The whole suite against our device: nothing may fail, and nothing may warn. */

import {
  type CaseResult,
  type DeviceTargetFactory,
  coreTarget,
  runConformance,
} from '@viommu/conformance';
import { workerTarget } from '@viommu/conformance/node';
import { describe, expect, it } from 'vitest';

async function worse(
  factory: DeviceTargetFactory,
  format: 'split' | 'packed' = 'split',
): Promise<{ readonly found: readonly string[]; readonly passed: number }> {
  const { results, summary } = await runConformance(factory, { format });
  factory.close?.();
  return {
    found: results.filter(isWorse).map(({ id, evidence }) => [id, ...evidence].join('\n')),
    passed: summary.pass,
  };
}

function isWorse({ result, evidence }: CaseResult): boolean {
  return result === 'fail' || result === 'warn' || evidence[0]?.includes('mistake') === true;
}

describe('our device conforms', () => {
  it.each(['split', 'packed'] as const)('in one thread, over %s rings', async (format) => {
    const { found, passed } = await worse(coreTarget, format);
    expect(found).toEqual([]);
    expect(passed).toBeGreaterThan(0);
  });

  it('in its worker', async () => {
    const { found, passed } = await worse(workerTarget());
    expect(found).toEqual([]);
    expect(passed).toBeGreaterThan(0);
  });
});
