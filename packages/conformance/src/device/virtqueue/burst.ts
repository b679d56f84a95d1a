/** Several requests at once, which the courier, who carries one at a time, does not do. */

import { IommuQueue } from '@viommu/common';
import { readBytes, writeBytes } from '../../ring/bytes.ts';
import type { ChainBuffer, Completion, TestRing } from '../../ring/test-ring.ts';
import { NoAnswer, Violation } from '../../verdict.ts';
import type { Session } from '../session.ts';

const ANSWER_MS = 3000;
const FILL = 0xa5;

/** A request that is out. */
export interface Posted {
  readonly id: number;
  readonly request: Uint8Array;
  /** Guest-physical addresses of both parts. */
  readonly readableAt: bigint;
  readonly writableAt: bigint;
  readonly writable: number;
}

/** Puts a request into memory, and leaves it to the caller to make it available. */
export function prepare(
  s: Session,
  request: Uint8Array,
  writable = 4,
): Omit<Posted, 'id'> & { readonly buffers: readonly ChainBuffer[] } {
  const readableAt = s.arena.exchange(request.length);
  const writableAt = s.arena.exchange(writable);
  writeBytes(s.target.memory, readableAt, request);
  writeBytes(s.target.memory, writableAt, new Uint8Array(writable).fill(FILL));
  const buffers = [
    { address: readableAt, length: request.length, writable: false },
    { address: writableAt, length: writable, writable: true },
  ];
  return { request, readableAt, writableAt, writable, buffers };
}

/** Makes requests available, one chain each, and does not notify. */
export function post(s: Session, ring: TestRing, requests: readonly Uint8Array[]): Posted[] {
  if (2 * requests.length > ring.size) s.skip(`a queue of ${ring.size} is too small for this case`);
  return requests.map((request) => {
    const { buffers, ...posted } = prepare(s, request);
    return { ...posted, id: ring.offer(buffers) };
  });
}

export function notify(s: Session, ring: TestRing): void {
  s.target.notify(IommuQueue.REQUEST, ring.position);
}

/**
 * Waits until all of these have come back, in whatever order, and returns their completions in the order of arrival.
 *
 * @throws {NoAnswer} if one does not. @throws {Violation} if another one does.
 */
export function collect(s: Session, ring: TestRing, posted: readonly Posted[]): Completion[] {
  const missing = new Set(posted.map(({ id }) => id));
  const found: Completion[] = [];
  while (missing.size > 0) {
    s.target.wait(() => ring.ready(), ANSWER_MS);
    const used = ring.take();
    if (used === undefined)
      throw new NoAnswer(`${missing.size} of ${posted.length} never come back`);
    if (!missing.delete(used.id))
      throw new Violation(`a request comes back under id ${used.id}, which is not out`, 'fail');
    found.push(used);
  }
  if (ring.ready()) throw new Violation('more comes back than was sent', 'fail');
  return found;
}

/** The status of a request that has come back; `undefined` if it was not written. */
export function statusOf(s: Session, { writableAt, writable }: Posted): number | undefined {
  const status = readBytes(s.target.memory, writableAt + BigInt(writable - 4), 1)[0];
  return status === FILL ? undefined : status;
}

/** What the ring has in memory, from the start of its first part to the end of its last. */
export function ringBytes(s: Session, { layout, size }: TestRing): Uint8Array {
  const start = layout.descriptorArea;
  const end = layout.deviceArea + BigInt(8 * size + 8);
  return readBytes(s.target.memory, start, Number(end - start));
}
