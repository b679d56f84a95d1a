/** A thread of the suite: loads the target once, and runs the cases that it is told. */

import { IommuError } from '@viommu/common';
import type { RingFormat } from '../device/start.ts';
import { casesOf } from '../run.ts';
import { runCase } from '../run-case.ts';
import type { DeviceTargetFactory } from '../target.ts';
import type { CaseResult } from '../verdict.ts';
import { type TargetSpec, loadTarget } from './target-module.ts';

/** One case. */
export interface CaseTask {
  readonly spec: TargetSpec;
  /** Empty: loads the target, and runs nothing. */
  readonly id: string;
  readonly format: RingFormat;
}

const factories = new Map<string, Promise<DeviceTargetFactory>>();

export default async function runTask({
  spec,
  id,
  format,
}: CaseTask): Promise<CaseResult | undefined> {
  const key = JSON.stringify(spec);
  const loading = factories.get(key) ?? loadTarget(spec);
  factories.set(key, loading);
  const factory = await loading;
  if (id === '') return undefined;
  const one = casesOf({ only: id }).find((each) => each.id === id);
  if (one === undefined) throw new IommuError('EINVAL', `There is no case ${id}.`);
  return runCase(one, factory, { format, now: () => performance.now() / 1000 });
}
