/** Vectors of requests: what is sent, and every answer that conforms. */

import {
  type Alternative,
  type Answer,
  CHOICES,
  type ChoiceName,
  type Prediction,
} from '@viommu/conformance/model';
import { ATTACHMENT } from './attachment.ts';
import { type DeviceName, hex, modelOf, warns } from './device.ts';
import { MAPPING } from './mapping.ts';

export interface AnswerVector {
  readonly result: 'pass' | 'warn';
  readonly usedLength: number;
  /** Two characters for each byte: hex digits, `..` for one that is not written, `??` for any. */
  readonly writable: string;
  /** The open points or clauses that allow it to differ from the first. */
  readonly because?: readonly string[];
}

export interface StepVector {
  readonly readable: string;
  readonly room: number;
  /** The first is recommended. */
  readonly answers: readonly AnswerVector[];
}

export interface RequestVector {
  readonly name: string;
  readonly clause: string;
  readonly device: DeviceName;
  readonly steps: readonly StepVector[];
}

/** All vectors, answered by the model. */
export function requestVectors(): RequestVector[] {
  return [...ATTACHMENT, ...MAPPING].map(({ clause, about, device = 'plain', steps }) => {
    const model = modelOf(device);
    return {
      name: about === undefined ? clause : `${clause}: ${about}`,
      clause,
      device,
      steps: steps.map((sent) => {
        const [readable, room] = sent instanceof Uint8Array ? [sent, 4] : sent;
        const alternatives = model.alternatives(readable, room);
        model.commit(model.predict(readable, room));
        return { readable: hex(readable), room, answers: answersOf(alternatives, room) };
      }),
    };
  });
}

/** Answers without doubles, the recommended one first. */
function answersOf(
  alternatives: readonly Alternative<Prediction>[],
  room: number,
): readonly AnswerVector[] {
  const answers = new Map<string, AnswerVector>();
  for (const { prediction, chosen } of alternatives) {
    // One departure at a time, besides the length of refusals.
    const because = Object.keys(chosen);
    if (because.filter((name) => name !== 'rejectedLength').length > 1) continue;
    if (!prediction.answer.completed) continue;
    const writable = pattern(prediction.answer, room);
    const { usedLength } = prediction.answer;
    const key = `${usedLength} ${writable}`;
    if (answers.has(key)) continue;
    answers.set(key, {
      result: warns(chosen) ? 'warn' : 'pass',
      usedLength,
      writable,
      ...(because.length > 0 && { because: because.map(pointOf) }),
    });
  }
  return [...answers.values()];
}

/** The number of the open point, or the clause that only recommends. */
function pointOf(name: string): string {
  const { point, clause } = CHOICES[name as ChoiceName]; // Choices have no other names.
  return point === '' ? clause : point;
}

function pattern({ written, rest }: Answer, room: number): string {
  const bytes = Array.from<unknown, string>({ length: room }, () => (rest === 'any' ? '??' : '..'));
  for (const { at, bytes: those } of written)
    those.forEach((byte, index) => (bytes[at + index] = hex(Uint8Array.of(byte))));
  return bytes.join('');
}
