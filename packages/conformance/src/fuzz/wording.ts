/** What was expected and what was seen, in the words that findings are told apart by. */

import { FaultReason, RequestTail, formatStatus } from '@viommu/common';
import type { AccessPrediction } from '../model/access.ts';
import type { Answer, Completion } from '../model/answer.ts';
import type { Prediction } from '../model/prediction.ts';
import { statusOf } from './adoption.ts';
import { sameBytes } from './data.ts';
import { Deviation } from './deviation.ts';

export function formatAccess({ pieces, fault, asked }: AccessPrediction): string {
  if (fault !== undefined) {
    const where = asked.includes('faultReserved') ? ' in a reserved region' : '';
    return `a fault is due, ${nameOf(fault.reason)}${where}`;
  }
  return `expected ${[...new Set(pieces.map(({ kind }) => kind))].join()}`;
}

/** An answer that no conforming device gives, where `answer` by `rule` was expected. */
export function answerDeviation(
  { answer, rule }: Pick<Prediction, 'answer' | 'rule'>,
  completion: Completion | undefined,
  evidence = '',
): Deviation {
  return new Deviation('answer', `${rule}: ${formatDifference(answer, completion)}`, evidence);
}

/** The same for an answer of which nothing but the length is wrong. */
export function lengthDeviation(answer: Answer, completion: Completion, evidence = ''): Deviation {
  return new Deviation('length', formatLengths(answer, completion), evidence);
}

/** Lengths only if there is no other difference. */
function formatDifference(answer: Answer, completion: Completion | undefined): string {
  const expected = nameOfAnswer(answer);
  if (completion === undefined) return `expected ${expected}, got ${NEEDS_RESET}`;
  const { before, after, usedLength } = completion;
  const status = usedLength < RequestTail.size ? statusOf(completion) : after[usedLength - 4];
  const got = sameBytes(before, after)
    ? NOTHING
    : status === undefined
      ? 'bytes'
      : formatStatus(status);
  if (got !== expected) return `expected ${expected}, got ${got}`;
  if (usedLength === answer.usedLength) return `expected ${expected}, got it with other bytes`;
  return `expected ${expected}, length ${answer.usedLength}, got length ${usedLength}`;
}

const NEEDS_RESET = 'DEVICE_NEEDS_RESET';
const NOTHING = 'nothing written';

function nameOfAnswer({ completed, status }: Answer): string {
  if (!completed) return NEEDS_RESET;
  return status === undefined ? NOTHING : formatStatus(status);
}

/** Used lengths alone: the same for all requests, whatever decides them. */
function formatLengths(answer: Answer, { usedLength }: Completion): string {
  const name = (length: number): string => (length > 4 ? 'more' : String(length));
  return `${name(answer.usedLength)} bytes are written, the used length is ${name(usedLength)}`;
}

export function nameOf(reason: FaultReason): string {
  return Object.entries(FaultReason).find(([, value]) => value === reason)?.[0] ?? String(reason);
}
