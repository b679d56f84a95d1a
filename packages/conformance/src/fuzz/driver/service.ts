/** Does the requests that the device in front of a driver has taken. */

import { RequestTail, RequestType, Status } from '@viommu/common';
import type { PeerDevice } from '@viommu/device';
import type { SharedMemory } from '@viommu/ring';
import type { Monitor, MonitoredRequest } from '../../driver/monitor.ts';
import { expectedOf } from './property-list.ts';
import type { Answer, Seen } from './seen-request.ts';
import type { Span } from './used-place.ts';

/** Statuses from 0 up to this are those of the standard. */
const KNOWN_STATUSES = 9;
const TAIL_BYTES = RequestTail.size;

/** What the device wrote last where requests have their tails, since it has them. */
export class TailBook {
  readonly #statuses: Map<number | undefined, number> = new Map();

  wrote({ spans, status }: Seen): void {
    this.#statuses.set(spans[1]?.[0], status);
  }

  /** Nothing that counts as an answer to this one was written. */
  forget({ spans }: Seen): void {
    this.#statuses.delete(spans[1]?.[0]);
  }

  /** True if that says that it is done; perhaps it was meant for another one that had its place before. */
  saysDone({ spans, status }: Seen): boolean {
    return status === Status.OK || this.#statuses.get(spans[1]?.[0]) === Status.OK;
  }
}

/** Does a request as `answer` has it, or as our device does; writes what comes of it, and notes it. */
export function serveRequest(
  request: Seen,
  answer: Answer,
  memory: SharedMemory,
  core: PeerDevice,
): void {
  const [[readable, readableBytes], [writable, writableBytes]] = request.spans as [Span, Span]; // As it was taken.
  const { type, raw } = request;
  const tailAt = writable + writableBytes - TAIL_BYTES;
  const { untouched = false, undone = false, kept = false } = answer;
  let length = writableBytes;
  let { status = Status.OK } = answer as { status?: number }; // Any byte.
  if (untouched) {
    length = 0;
    status = memory.getUint8(tailAt);
  } else {
    if (raw === undefined && !undone && type !== RequestType.PROBE) {
      length = core.handlePair(readable, readableBytes, writable, writableBytes);
      if (answer.status === undefined) status = memory.getUint8(tailAt);
    }
    if (type === RequestType.PROBE && writableBytes > TAIL_BYTES) {
      const room = new Uint8Array(writableBytes - TAIL_BYTES);
      const { properties = room, sparse = false } = answer;
      room.set(properties.subarray(0, room.length));
      memory.write(writable, room, 0, sparse ? properties.length : room.length);
    }
    if (answer.status !== undefined) length = writableBytes;
    if (length > 0) {
      const reserved = Uint8Array.from(answer.reserved ?? [0, 0, 0]);
      memory.write(tailAt, RequestTail.encode({ status, reserved }), 0, TAIL_BYTES);
    }
  }
  request.status = status;
  request.length = answer.length ?? length;
  request.kept = kept;
}

/** Tells the monitor what the device said, if it did so clearly. */
export function tellMonitor(
  monitor: Monitor,
  { status, length, writableBytes, kept }: Seen,
  fields: MonitoredRequest,
  { properties }: Answer,
): void {
  const clear = length === writableBytes && status >= 0 && status < KNOWN_STATUSES && !kept;
  const regions =
    clear && status === Status.OK && properties !== undefined ? expectedOf(properties).regions : [];
  monitor.answered(fields, clear ? status : undefined, regions);
}
