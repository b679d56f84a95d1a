/** A thread that runs cases against wrong devices, one device after the other. */

import { type CaseResult, type RingFormat, runConformance } from '@viommu/conformance';
import { mutantTarget } from './mutant-target.ts';

/** Cases to run against one device. */
export interface MutantTask {
  /** Its place in the table; without one the device is as it is. */
  readonly mutant?: number | undefined;
  /** What the ids of the cases begin with. */
  readonly only: string;
  readonly format: RingFormat;
}

export default async function runTask({
  mutant,
  only,
  format,
}: MutantTask): Promise<readonly CaseResult[]> {
  const { results } = await runConformance(await mutantTarget(mutant), { only, format });
  return results;
}
