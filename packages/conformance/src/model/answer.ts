/** What comes back for a request: bytes in the writable part, and the used length. */

import { ProbeType, RequestTail, ReservedMemory, ReservedMemoryType, Status } from '@viommu/common';
import type { Endpoint } from './state.ts';
import type { Judgement } from './judgement.ts';

/** Bytes that the device writes. */
export interface Written {
  /** From the start of the writable part. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** The answer to one request. */
export interface Answer {
  /** False if the device gives nothing back and shows DEVICE_NEEDS_RESET instead. */
  readonly completed: boolean;
  readonly usedLength: number;
  /** The status in the tail, or undefined if no tail is written. */
  readonly status: Status | undefined;
  readonly written: readonly Written[];
  /** What the bytes are that are not written: as before, or anything. */
  readonly rest: 'untouched' | 'any';
}

/** What a device did with one request. */
export interface Completion {
  readonly usedLength: number;
  /** The writable part beforehand. */
  readonly before: Uint8Array;
  /** The writable part afterwards. */
  readonly after: Uint8Array;
}

/** Nothing written, length 0. */
export const UNTOUCHED: Answer = {
  completed: true,
  usedLength: 0,
  status: undefined,
  written: [],
  rest: 'untouched',
};

/** The device gives up. */
export const NEEDS_RESET: Answer = { ...UNTOUCHED, completed: false };

const TAIL_BYTES = RequestTail.size;

/** The usual answers, by status: a tail of its own, and its exact length. */
const TAILS: readonly Answer[] = Object.values(Status).map((status) => ({
  completed: true,
  usedLength: TAIL_BYTES,
  status,
  written: [{ at: 0, bytes: tailBytes(status) }],
  rest: 'untouched',
}));

/** True if the device did what is expected. */
export function agrees(answer: Answer, { usedLength, before, after }: Completion): boolean {
  if (!answer.completed || usedLength !== answer.usedLength) return false;
  if (after.length !== before.length) return false;
  const { written, rest } = answer;
  let end = 0;
  for (const { at, bytes } of written) {
    if (rest === 'untouched' && !sameBytes(before, after, end, at)) return false;
    for (let index = 0; index < bytes.length; index += 1)
      if (after[at + index] !== bytes[index]) return false;
    end = at + bytes.length;
  }
  return rest === 'any' || sameBytes(before, after, end, before.length);
}

/** The answer of everything but a PROBE, in a writable part of `room` bytes, 4 or more. */
export function tailAnswer(status: Status, room: number, judgement: Judgement): Answer {
  // 1.9
  const atEnd = room > TAIL_BYTES && judgement.ask('longTail') === 'end';
  const exact = TAILS[status]!; // There is one for each status.
  const answer: Answer = atEnd
    ? {
        ...exact,
        usedLength: room,
        written: [{ at: room - TAIL_BYTES, bytes: tailBytes(status) }],
        rest: 'any',
      }
    : exact;
  return status === Status.OK ? answer : refused(answer, room, judgement);
}

/** The answer to a PROBE that is carried out or refused. `endpoint` is the one that it names, if there is one. */
export function probeAnswer(
  status: Status,
  endpoint: Endpoint | undefined,
  room: number,
  probeSize: number,
  judgement: Judgement,
): Answer {
  // 6.2: the tail stands behind `probe_size` bytes of properties.
  const long = room > probeSize + TAIL_BYTES && judgement.ask('probeLong') === 'end';
  const usedLength = long ? room : Math.min(room, probeSize + TAIL_BYTES);
  const tail = { at: usedLength - TAIL_BYTES, bytes: tailBytes(status) };
  const answer: Answer = {
    completed: true,
    usedLength,
    status,
    written: [tail],
    rest: 'untouched',
  };
  if (status === Status.OK) {
    // iommu.dev.probe.fill-zero
    const bytes = new Uint8Array(tail.at);
    bytes.set(properties(endpoint));
    return { ...answer, written: [{ at: 0, bytes }, tail] };
  }
  // iommu.dev.probe.too-small-no-property, 6.3
  const zeroed = tail.at > 0 && judgement.ask('probeRefusedArea') === 'zeroed';
  const written = zeroed ? [{ at: 0, bytes: new Uint8Array(tail.at) }, tail] : [tail];
  return refused({ ...answer, written }, room, judgement);
}

/** 6.1: the answer to a PROBE in a writable part that is too small for it. */
export function shortProbeAnswer(room: number, probeSize: number, judgement: Judgement): Answer {
  const status = Status[judgement.ask('probeShortStatus')];
  switch (judgement.ask('probeShort')) {
    case 'untouched':
      return UNTOUCHED;
    case 'start':
      return TAILS[status]!; // There is one for each status.
    case 'end':
      return probeAnswer(status, undefined, room, probeSize, judgement);
  }
}

/** The properties of an endpoint: section "IOMMU Device / PROBE properties". */
function properties(endpoint: Endpoint | undefined): Uint8Array {
  const regions = endpoint?.regions ?? [];
  const bytes = new Uint8Array(regions.length * ReservedMemory.size);
  regions.forEach(({ start, last, type }, index) => {
    // iommu.dev.probe.property-stride: one behind the other.
    ReservedMemory.write(new DataView(bytes.buffer), index * ReservedMemory.size, {
      type: ProbeType.RESV_MEM,
      length: ReservedMemory.size - ReservedMemory.offset.subtype, // iommu.dev.probe.property-length
      subtype: type === 'msi' ? ReservedMemoryType.MSI : ReservedMemoryType.RESERVED,
      start,
      end: last,
    });
  });
  return bytes;
}

/** 1.1: what becomes of an answer that refuses. */
function refused(answer: Answer, room: number, judgement: Judgement): Answer {
  switch (judgement.ask('rejectedLength')) {
    case 'exact':
      return answer;
    case 'full':
      return {
        ...answer,
        usedLength: room,
        rest: answer.usedLength === room ? answer.rest : 'any',
      };
    case 'none':
      return UNTOUCHED;
    case 'zero':
      return { ...answer, usedLength: 0 };
  }
}

/** iommu.dev.req.tail-reserved-zero */
function tailBytes(status: Status): Uint8Array {
  return RequestTail.encode({ status });
}

function sameBytes(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  for (let index = from; index < to; index += 1) if (a[index] !== b[index]) return false;
  return true;
}
