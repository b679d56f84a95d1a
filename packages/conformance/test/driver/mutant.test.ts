/** Wrong drivers are caught, and by the clause that they break. */

import { type CaseResult, runDriverConformance } from '@viommu/conformance';
import { describe, expect, it } from 'vitest';
import { type DriverMutant, DRIVER_MUTANTS } from './mutant.ts';
import { PlainDriver } from './plain-driver.ts';

async function verdict({ name, caught, habits }: DriverMutant): Promise<CaseResult | undefined> {
  const factory = { name, open: () => new PlainDriver(habits) };
  const { results } = await runDriverConformance(factory, { only: caught });
  return results.find(({ id }) => id === caught);
}

describe('a driver that is wrong in one point', () => {
  it('is one of many', () => {
    expect(new Set(DRIVER_MUTANTS.map(({ name }) => name)).size).toBe(DRIVER_MUTANTS.length);
    expect(DRIVER_MUTANTS.length).toBeGreaterThanOrEqual(60);
  });

  it.each(DRIVER_MUTANTS.map((one) => [one.name, one.caught, one] as const))(
    '%s: %s',
    async (_, _id, one) => {
      const result = await verdict(one);
      // A MAY is broken where nothing allows what it would.
      expect(['fail', 'warn']).toContain(result?.result);
      expect(result?.evidence[0]).toBeTruthy();
    },
  );
});
