/** Recordings of real guests as inputs: what the guest did, on endpoints that targets have, in pieces. */

import { gunzipSync } from 'node:zlib';
import { IommuError, RequestType, StreamParser } from '@viommu/common';
import { QUEUE_SIZE_MAX } from './limit.ts';
import { type Setup, type Step, type Stream, stepOf } from './stream.ts';
import { fieldsOf } from './feedback/step-field.ts';

/** The endpoints of the built-in targets: those of a recording become these, in the order in which they come. */
const ENDPOINTS: readonly bigint[] = [8n, 0x1_0028n, 9n];
/** Steps of a piece, and pieces of a recording: what comes later is much the same. */
const STEPS_MAX = 500;
const PIECES_MAX = 40;
/** The most bytes of a recording that is not compressed. */
const BYTES_MAX = 256 << 20;
const GZIP_MAGIC = [0x1f, 0x8b];

const SETUP: Setup = {
  wish: { reserved: [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' }] },
  format: 'split',
  refuse: 0n,
  queueSize: QUEUE_SIZE_MAX,
  indirect: false,
};

/**
 * The inputs that a recording makes, `viommu-stream` as text or compressed. Each begins with the ATTACH requests of those
 * before it, so that it stands for itself.
 *
 * @throws {IommuError} `EINVAL` if it is none.
 */
export function recordedStreams(bytes: Uint8Array): Stream[] {
  const steps = stepsOf(bytes);
  const streams: Stream[] = [];
  const attached: Step[] = [];
  for (let from = 0; from < steps.length && streams.length < PIECES_MAX; from += STEPS_MAX) {
    const piece = steps.slice(from, from + STEPS_MAX);
    streams.push({ setup: SETUP, steps: [...attached.slice(-STEPS_MAX), ...piece] });
    attached.push(...piece.filter(isAttach));
  }
  return streams;
}

function stepsOf(bytes: Uint8Array): Step[] {
  const parser = new StreamParser();
  const endpoints = new Map<bigint, bigint>();
  const steps: Step[] = [];
  const lines = textOf(bytes).split('\n');
  if (lines.at(-1) === '') lines.pop();
  for (const line of lines) {
    if (steps.length >= STEPS_MAX * PIECES_MAX) return steps;
    const event = parser.line(line);
    if (event === undefined) continue;
    if (event.kind === 'error') throw invalid(`line ${event.line}: ${event.reason}`);
    const step = stepOf(event);
    if (step !== undefined) steps.push(renumbered(step, endpoints));
  }
  const missing = parser.end();
  if (missing !== undefined) throw invalid(missing.reason);
  return steps;
}

function textOf(bytes: Uint8Array): string {
  const compressed = GZIP_MAGIC.every((byte, index) => bytes[index] === byte);
  try {
    const plain = compressed ? gunzipSync(bytes, { maxOutputLength: BYTES_MAX }) : bytes;
    return new TextDecoder().decode(plain);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
}

function renumbered(step: Step, endpoints: Map<bigint, bigint>): Step {
  const field = fieldsOf(step).find(({ name }) => name === 'endpoint');
  if (field === undefined) return step;
  const number = endpoints.get(field.value) ?? ENDPOINTS[endpoints.size];
  // Those beyond are not there: their requests are refused, and harm nobody.
  if (number === undefined) return step;
  endpoints.set(field.value, number);
  return field.with(number);
}

function isAttach(step: Step): boolean {
  return step.kind === 'request' && step.readable[0] === RequestType.ATTACH;
}

function invalid(reason: string): IommuError {
  return new IommuError('EINVAL', `The file holds no recording: ${reason}.`);
}
