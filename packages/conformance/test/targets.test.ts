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

describe('targets whose memory is kept', () => {
  it('begin with none of the bytes of the one before, and share none with each other', async () => {
    const factory = coreTarget.kept?.() ?? coreTarget;
    const first = await factory.open({});
    const { start } = first.window;
    const at = first.memory.locate(Number(start & 0xffff_ffffn), Number(start >> 32n), 4);
    first.memory.setUint32(at, 7);
    first.dispose();
    first.dispose();
    const [second, third] = [await factory.open({}), await factory.open({})];
    expect(second.memory.getUint32(at)).toBe(0);
    third.memory.setUint32(at, 8);
    expect(second.memory.getUint32(at)).toBe(0);
  });
});
