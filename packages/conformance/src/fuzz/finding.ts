/** Findings: what somebody did wrong, and the shortest input known that makes it do so. */

import { Deviation } from './deviation.ts';
import { type Stream, annotateSteps } from './stream.ts';
import { TargetFailure } from '../target.ts';

/** What shows a finding again. */
export type FindingInput =
  | { readonly kind: 'stream'; readonly stream: Stream }
  /** Random values that a fuzzer drew, and what it told of itself. */
  | { readonly kind: 'tape'; readonly tape: readonly number[]; readonly notes: readonly string[] };

export interface Finding {
  /** The name of what found it. */
  readonly fuzzer: string;
  /** As of `Deviation`; `crash` and `hang` besides. */
  readonly kind: string;
  readonly matter: string;
  /** What was seen, for people. */
  readonly evidence: string;
  /** The seed that it was found with. */
  readonly seed: number;
  /** Steps or requests until it showed. */
  readonly foundAfter: number;
  readonly input: FindingInput;
  /** Signatures of what is wrong besides, and was not looked at. */
  readonly tolerated: readonly string[];
}

/** What an error of a stream comes to. */
export function symptomOf(error: unknown): Pick<Finding, 'kind' | 'matter' | 'evidence'> {
  if (error instanceof Deviation) {
    const { kind, matter, message } = error;
    return { kind, matter, evidence: message };
  }
  if (error instanceof TargetFailure) {
    const { how, message, lastWords } = error;
    return { kind: how, matter: general(message), evidence: [message, ...lastWords].join('\n') };
  }
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const stack = error instanceof Error ? error.stack : undefined;
  return { kind: 'crash', matter: general(text), evidence: stack ?? text };
}

/** What leads to it: the last steps, with every byte of their requests named, or the notes of a fuzzer. */
export function annotateFinding({ input }: Finding, stepsMax = 40): string[] {
  if (input.kind === 'tape') return [...input.notes];
  const { steps, setup } = input.stream;
  const from = Math.max(0, steps.length - stepsMax);
  const { wish, format, queueSize, indirect, refuse } = setup;
  const wishes = Object.entries(wish).map(([name, value]) => `${name} ${formatWish(value)}`);
  return [
    `${format} queues of ${queueSize}${indirect ? ', indirect tables' : ''}; features left alone: 0x${refuse.toString(16)}`,
    ...wishes.map((line) => `  ${line}`),
    ...(from > 0 ? [`… ${from} earlier steps`] : []),
    ...annotateSteps(steps.slice(from), from),
  ];
}

/** Text without numbers, which are different each time. */
function general(text: string): string {
  return text.replaceAll(/0x[\da-f]+|\d+/gi, '#');
}

function formatWish(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'bigint' ? `0x${each.toString(16)}` : each,
  );
}
