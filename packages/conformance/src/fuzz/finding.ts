/** Findings: what a target did wrong, and the shortest stream known that makes it do so. */

import { Deviation } from './deviation.ts';
import { type Stream, annotateSteps } from './stream.ts';
import { TargetFailure } from '../target.ts';

export interface Finding {
  /** As of `Deviation`; `crash` and `hang` besides. */
  readonly kind: string;
  readonly matter: string;
  /** What was seen, for people. */
  readonly evidence: string;
  /** The seed of the stream that it was found with. */
  readonly seed: number;
  /** Steps of that stream up to the one that showed it. */
  readonly foundAfter: number;
  readonly stream: Stream;
  /** The steps are not known, since the target never returned: the seed makes them again. */
  readonly bySeed: boolean;
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

/** The last steps, with every byte of their requests named. */
export function annotateFinding({ stream }: Finding, stepsMax = 40): string[] {
  const { steps, setup } = stream;
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
