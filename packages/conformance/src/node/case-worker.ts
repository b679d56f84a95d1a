/** A thread of the suite: loads the target once, and runs the cases that it is told. */

import { IommuError } from '@viommu/common';
import type { Side } from '../catalogue.ts';
import type { RingFormat } from '../device/start.ts';
import { driverCasesOf, runDriverCase } from '../driver/run.ts';
import type { Finding } from '../driver/ledger.ts';
import { casesOf } from '../run.ts';
import { runCase } from '../run-case.ts';
import type { CaseResult } from '../verdict.ts';
import { type TargetSpec, loadDriver, loadTarget } from './target-module.ts';

/** One case. */
export interface CaseTask {
  readonly spec: TargetSpec;
  readonly side: Side;
  /** Empty: loads the target, and runs nothing. */
  readonly id: string;
  readonly format: RingFormat;
}

/** What it comes to; on the driver's side with what was found about other clauses. */
export interface CaseOutcome {
  readonly result: CaseResult;
  readonly findings: readonly Finding[];
}

type RunOne = (task: CaseTask) => Promise<CaseOutcome>;

const runners = new Map<string, Promise<RunOne>>();

export default async function runTask(task: CaseTask): Promise<CaseOutcome | undefined> {
  const key = JSON.stringify([task.side, task.spec]);
  const loading = runners.get(key) ?? runnerOf(task);
  runners.set(key, loading);
  const run = await loading;
  return task.id === '' ? undefined : run(task);
}

async function runnerOf({ spec, side }: CaseTask): Promise<RunOne> {
  if (side === 'driver') {
    const factory = await loadDriver(spec);
    return ({ id }) => runDriverCase(only(driverCasesOf({ only: id }), id), factory, now);
  }
  const factory = await loadTarget(spec);
  return async ({ id, format }) => ({
    result: await runCase(only(casesOf({ only: id }), id), factory, { format, now }),
    findings: [],
  });
}

function only<Case extends { readonly id: string }>(cases: readonly Case[], id: string): Case {
  const one = cases.find((each) => each.id === id);
  if (one === undefined) throw new IommuError('EINVAL', `There is no case ${id}.`);
  return one;
}

function now(): number {
  return performance.now() / 1000;
}
