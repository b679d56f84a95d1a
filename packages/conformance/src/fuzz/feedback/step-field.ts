/** The numbers in a step, each by its name, and the step with another one in its place. */

import {
  AttachRequest,
  DetachRequest,
  type FieldLayout,
  MapRequest,
  ProbeRequest,
  RequestHead,
  RequestType,
  UnmapRequest,
} from '@viommu/common';
import type { Step } from '../stream.ts';
import { stepFrom } from '../stream-shape.ts';

export interface StepField {
  /** As the standard calls it. */
  readonly name: string;
  /** Bytes. */
  readonly width: number;
  readonly value: bigint;
  /** The step with another value, of which what does not fit is cut off; the same step if it would be none then. */
  with(value: bigint): Step;
}

const LAYOUTS: ReadonlyMap<number, readonly FieldLayout[]> = new Map([
  [RequestType.ATTACH, AttachRequest.fields],
  [RequestType.DETACH, DetachRequest.fields],
  [RequestType.MAP, MapRequest.fields],
  [RequestType.UNMAP, UnmapRequest.fields],
  [RequestType.PROBE, ProbeRequest.fields],
]);

export function fieldsOf(step: Step): readonly StepField[] {
  switch (step.kind) {
    case 'request':
      return [...requestFields(step), number(step, 'room', 2)];
    case 'access':
      return [number(step, 'endpoint', 4), wide(step, 'address'), number(step, 'length', 2)];
    case 'post':
      return [number(step, 'bytes', 1)];
    case 'config':
      return [number(step, 'offset', 1), number(step, 'value', step.width)];
    case 'poke':
      return [number(step, 'at', 4), ...words(step)];
    case 'queue':
    case 'kick':
      return [number(step, 'queue', 2)];
    // Features that no driver may refuse are refused for a reason.
    case 'reset':
    case 'save':
    case 'turn':
    case 'wild':
      return [];
  }
}

function requestFields(step: Step & { readonly kind: 'request' }): StepField[] {
  const { readable } = step;
  const layout = LAYOUTS.get(readable[0] ?? 0) ?? RequestHead.fields;
  return layout
    .filter(({ offset, width }) => offset + width <= readable.length)
    .flatMap(({ name, offset, width }) => {
      const bytes = bytesField(readable, name, offset, width <= 8 ? width : 4);
      return { ...bytes, with: (value: bigint) => ({ ...step, readable: bytes.with(value) }) };
    });
}

/** What is poked has fields that only its place tells; any word may be one. */
function words(step: Step & { readonly kind: 'poke' }): StepField[] {
  const { bytes } = step;
  const width = [8, 4, 2, 1].find((each) => bytes.length % each === 0) ?? 1;
  return Array.from({ length: Math.min(bytes.length / width, WORDS_MAX) }, (_, index) => {
    const field = bytesField(bytes, 'bytes', index * width, width);
    return { ...field, with: (value: bigint) => ({ ...step, bytes: field.with(value) }) };
  });
}

const WORDS_MAX = 32;

/** A number that lies in bytes, the lowest first. */
function bytesField(
  bytes: Uint8Array,
  name: string,
  offset: number,
  width: number,
): { name: string; width: number; value: bigint; with: (value: bigint) => Uint8Array } {
  let value = 0n;
  for (let at = width - 1; at >= 0; at -= 1)
    value = (value << 8n) | BigInt(bytes[offset + at] ?? 0);
  return {
    name,
    width,
    value,
    with(other) {
      const changed = bytes.slice();
      for (let at = 0; at < width; at += 1)
        changed[offset + at] = Number((other >> BigInt(8 * at)) & 0xffn);
      return changed;
    },
  };
}

function number(step: Step, name: string, width: number): StepField {
  const value = BigInt(Number(Reflect.get(step, name)));
  return {
    name,
    width,
    value,
    with: (other) => checked(step, name, Number(BigInt.asUintN(8 * width, other))),
  };
}

function wide(step: Step, name: string): StepField {
  const value = BigInt(Reflect.get(step, name) as bigint); // the fields that are named above
  return { name, width: 8, value, with: (other) => checked(step, name, BigInt.asUintN(64, other)) };
}

function checked(step: Step, name: string, value: number | bigint): Step {
  return stepFrom({ ...step, [name]: value }) ?? step;
}
