/** Fault records that came, against those that were due. */

import { FaultRecord } from '@viommu/common';
import type { Event } from '../model/event.ts';
import { Deviation } from './deviation.ts';

/** @throws {Deviation} unless they are the same. */
export function checkEvents(seen: readonly Event[], expected: readonly Event[]): void {
  if (seen.length !== expected.length)
    throw new Deviation(
      'event',
      seen.length < expected.length ? 'an event is missing' : 'an event too many',
      `${seen.length}, not ${expected.length}`,
    );
  for (const [index, event] of seen.entries()) {
    const { buffer, usedLength, record } = expected[index]!; // As many.
    if (event.buffer !== buffer || event.usedLength !== usedLength)
      throw new Deviation(
        'event',
        'another used length',
        `${event.usedLength} in buffer ${event.buffer}, not ${usedLength} in ${buffer}`,
      );
    const at = record.findIndex((byte, place) => byte !== event.record[place]);
    if (at >= 0)
      throw new Deviation(
        'event',
        `the record differs at ${at}`,
        `it holds ${event.record[at]}, not ${record[at]}`,
      );
  }
}

/** For a target whose choices are not known: a record names the endpoint of the access, or there is none. */
export function checkRecords(seen: readonly Event[], endpoint: number): void {
  for (const { usedLength, record } of seen) {
    if (usedLength === 0) continue;
    const about =
      usedLength < FaultRecord.size
        ? undefined
        : FaultRecord.read(new DataView(record.buffer, record.byteOffset, record.length));
    if (about === undefined || about.endpoint !== endpoint)
      throw new Deviation(
        'event',
        'a record does not tell of the last fault',
        `${usedLength} bytes, endpoint ${about?.endpoint}, not ${endpoint}`,
      );
  }
}
