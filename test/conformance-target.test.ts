import { runConformance } from '@viommu/conformance';
import { loadTarget } from '@viommu/conformance/node';
import { describe, expect, it } from 'vitest';

const load = (name: string) =>
  loadTarget({
    module: new URL(`../examples/conformance-target/${name}.ts`, import.meta.url).href,
  });

describe('the example of a target', () => {
  it('has a device that conforms, with and without features that it cannot turn off', async () => {
    const { results, summary } = await runConformance(await load('target'));
    const worse = results.filter(({ result }) => result === 'fail' || result === 'warn');
    expect(worse.map(({ id, evidence }) => [id, ...evidence].join('\n'))).toEqual([]);
    expect(summary.pass).toBeGreaterThan(4 * summary.skip);
  });

  it('and the template load', async () => {
    expect((await load('target')).name).toBe('example');
    const { summary, results } = await runConformance(await load('template'), {
      only: 'iommu.dev.map.overlap',
    });
    expect(summary.pass).toBe(0);
    expect(results[0]).toMatchObject({ how: 'crash', evidence: ['the template has no device'] });
  });
});
