/** What was expected and what was seen, in the words that findings are told apart by. */

import { FaultReason, formatStatus } from '@viommu/common';
import type { AccessPrediction } from '../model/access.ts';
import type { Answer, Completion } from '../model/answer.ts';
import { sameBytes } from './data.ts';

export function formatAccess({ pieces, fault }: AccessPrediction): string {
  if (fault !== undefined) return `a fault is due, ${nameOf(fault.reason)}`;
  return `expected ${[...new Set(pieces.map(({ kind }) => kind))].join()}`;
}

export function formatAnswer({ completed, status, usedLength }: Answer): string {
  if (!completed) return 'DEVICE_NEEDS_RESET';
  return `${status === undefined ? 'nothing written' : formatStatus(status)}, length ${usedLength}`;
}

/** What came back, as far as it is the same for all requests of its kind. */
export function formatCompletion(completion: Completion | undefined): string {
  if (completion === undefined) return 'DEVICE_NEEDS_RESET';
  const { before, after, usedLength } = completion;
  if (sameBytes(before, after)) return `nothing written, length ${usedLength}`;
  const tail = after[usedLength - 4];
  return `${tail === undefined ? 'bytes' : formatStatus(tail)}, length ${usedLength}`;
}

/** Used lengths alone: the same for all requests, whatever decides them. */
export function formatLengths(answer: Answer, { usedLength }: Completion): string {
  const name = (length: number): string => (length > 4 ? 'more' : String(length));
  return `${name(answer.usedLength)} bytes are written, the used length is ${name(usedLength)}`;
}

export function nameOf(reason: FaultReason): string {
  return Object.entries(FaultReason).find(([, value]) => value === reason)?.[0] ?? String(reason);
}
