/** A thread that runs cases against wrong devices, one device after the other. */

import {
  type CaseResult,
  DEVICE_CASES,
  type RingFormat,
  clauseOf,
  runConformance,
} from '@viommu/conformance';
import { mutantTarget } from './mutant-target.ts';

/** Cases to run against one device. */
export interface MutantTask {
  /** Its place in the table; without one the device is as it is. */
  readonly mutant?: number | undefined;
  /** Clauses, or cases; without them all. */
  readonly ids?: readonly string[] | undefined;
  readonly format: RingFormat;
}

export default async function runTask({
  mutant,
  ids,
  format,
}: MutantTask): Promise<readonly CaseResult[]> {
  const wanted = new Set(ids);
  const cases = DEVICE_CASES.filter(
    ({ id }) => ids === undefined || wanted.has(id) || wanted.has(clauseOf(id)),
  );
  const { results } = await runConformance(await mutantTarget(mutant), { cases, format });
  return results;
}
