/** Faults: how cases make an endpoint cause one, and how they take what the device reports. */

import { FaultFlag, MapFlag } from '@viommu/common';
import type { CaseText } from '../../case.ts';
import type { DmaDirection } from '../../target.ts';
import type { EventAnswer } from '../event-queue.ts';
import { mappedUnit, setBypass, settle, unit } from '../place.ts';
import type { Session } from '../session.ts';

const { ADDRESS } = FaultFlag;

export type CauseName =
  | 'unattached-read'
  | 'unattached-write'
  | 'unmapped-read'
  | 'unmapped-write'
  | 'read-only'
  | 'no-permission';

/** Ways to cause a fault, with the access that does. */
export const CAUSES: Readonly<Record<CauseName, Cause>> = {
  'unattached-read': { attached: false, direction: 'read' },
  'unattached-write': { attached: false, direction: 'write' },
  'unmapped-read': { attached: true, direction: 'read' },
  'unmapped-write': { attached: true, direction: 'write' },
  'read-only': { attached: true, direction: 'write', flags: MapFlag.READ },
  'no-permission': { attached: true, direction: 'read', flags: 0 },
};

export interface Cause {
  readonly attached: boolean;
  readonly direction: DmaDirection;
  /** What unit 2, where the access is, is mapped with. */
  readonly flags?: number;
}

/** An access that was refused. */
export interface Fault {
  readonly endpoint: number;
  readonly iova: bigint;
  readonly length: number;
}

/** What all of these cases need. */
export const NEEDS: Pick<CaseText, 'needs' | 'wish'> = {
  needs: ['dma', 'map-unmap'],
  wish: { bypass: false },
};

/** Makes an endpoint do what is refused. */
export function caused(s: Session, { attached, direction, flags }: Cause, id?: number): Fault {
  setBypass(s, false);
  const endpoint = id ?? s.dma.endpoint();
  if (attached) {
    const domain = s.attached(endpoint);
    if (flags !== undefined) mappedUnit(s, domain, 2, { flags });
  }
  const iova = unit(s, 2).virtStart + 4n;
  s.dma.access(endpoint, direction, iova, new Uint8Array(8).fill(0x33));
  return { endpoint, iova, length: 8 };
}

/** What the device reports until it is quiet. */
export function collect(s: Session): EventAnswer[] {
  s.target.wait(() => s.events.ring.ready(), s.target.quietMs);
  settle(s);
  return s.events.take();
}

export type Recorded = EventAnswer & { readonly record: NonNullable<EventAnswer['record']> };

/** The records that come, of which there may be none. */
export function records(s: Session, { endpoint, iova }: Fault): Recorded[] {
  const events = collect(s);
  if (events.length === 0) s.note(`no record of a fault of ${endpoint} at 0x${iova.toString(16)}`);
  return events.flatMap((event) => {
    s.must(!event.overrun, 'the device wrote behind the buffer');
    s.transcript.note(
      `a record: ${Array.from(event.bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')}`,
    );
    return event.record === undefined || event.length === 0
      ? []
      : [{ ...event, record: event.record }];
  });
}

/** The address, if there is one, must be in the access. */
export function checkAddress(
  s: Session,
  { flags, address }: Recorded['record'],
  fault: Fault,
): void {
  if ((flags & ADDRESS) === 0) return s.note('it has none');
  const inside = address >= fault.iova && address < fault.iova + BigInt(fault.length);
  const what = `it is 0x${address.toString(16)}, and the access was at 0x${fault.iova.toString(16)}`;
  // Some know no more than the page.
  const inPage = address / s.granule === fault.iova / s.granule;
  if (inPage) s.should(inside, what);
  else s.must(inside, what);
}
