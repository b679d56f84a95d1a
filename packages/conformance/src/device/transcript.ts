/** What a case sent and got, kept as it happens and told only if somebody asks why. */

import { RequestTail, annotate, annotateRequest } from '@viommu/common';
import type { Answer } from './answer.ts';

/** Steps before the last exchange that are told in a line each. */
const STEPS_MAX = 12;
const HEX_BYTES_MAX = 64;

interface Exchange {
  readonly label: string;
  readonly request: Uint8Array;
  /** `undefined` until the device answers, if it does. */
  answer: Answer | undefined;
  /** Sent by the framework to see whether the queue is alive. */
  readonly routine: boolean;
}

type Step = Exchange | string;

export class Transcript {
  readonly #steps: Step[] = [];

  /** A request that is about to be sent. */
  request(request: Uint8Array, label: string, routine: boolean): Exchange {
    const exchange: Exchange = { label, request, answer: undefined, routine };
    this.#steps.push(exchange);
    return exchange;
  }

  /** Anything else that happened, as one line. */
  note(line: string): void {
    this.#steps.push(line);
  }

  /** The last steps, and of the last request every byte. */
  lines(): string[] {
    const last = this.#steps.findLastIndex((step) => typeof step !== 'string' && !step.routine);
    const from = Math.max(0, this.#steps.length - STEPS_MAX);
    return [
      ...(from > 0 ? [`… ${from} earlier steps`] : []),
      ...this.#steps.flatMap((step, index) => {
        if (index === last && typeof step !== 'string') return bytesOf(step);
        return index < from ? [] : [typeof step === 'string' ? step : oneLine(step)];
      }),
    ];
  }
}

function oneLine({ label, answer }: Exchange): string {
  return `${label}: ${answer === undefined ? 'no answer' : answer.toString()}`;
}

function bytesOf(exchange: Exchange): string[] {
  const { request, answer } = exchange;
  return [
    oneLine(exchange),
    ...annotateRequest(request).map((line) => `  > ${line}`),
    ...(answer === undefined ? [] : answerLines(answer).map((line) => `  < ${line}`)),
  ];
}

function answerLines(answer: Answer): string[] {
  const { bytes, tailAt, tail } = answer;
  if (answer.untouched) return [`${bytes.length} writable bytes, all as before`];
  const before = bytes.subarray(0, Math.max(tailAt, 0));
  const behind = tailAt < 0 ? bytes : bytes.subarray(tailAt + RequestTail.size);
  return [
    ...(before.length > 0 ? [`${before.length} bytes before the tail: ${hexOf(before)}`] : []),
    ...(tail.length > 0 ? annotate(RequestTail, tail, tailAt) : []),
    ...(behind.length > 0 ? [`${behind.length} bytes behind the tail: ${hexOf(behind)}`] : []),
  ];
}

/** Bytes as hex, long runs cut. */
export function hexOf(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, HEX_BYTES_MAX), (byte) =>
    byte.toString(16).padStart(2, '0'),
  );
  return shown.join(' ') + (bytes.length > HEX_BYTES_MAX ? ' …' : '');
}
