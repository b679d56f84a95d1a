/** Where cases with accesses put their mappings and memory, and how they turn bypass on and off. */

import { IommuFeature } from '@viommu/common';
import { writeBytes } from '../ring/bytes.ts';
import type { Answer } from './answer.ts';
import type { MapFields } from './request.ts';
import type { Session } from './session.ts';

/** No access of a case is longer than this within one unit. */
const UNIT_BYTES_MIN = 16n;

/** What such a case maps: a page, or where pages are tiny, as many as have 16 bytes. */
export interface Unit {
  readonly virtStart: bigint;
  /** Included. */
  readonly virtEnd: bigint;
}

/** Bytes of a unit. */
export function unitBytes({ granule }: Session): bigint {
  return granule < UNIT_BYTES_MIN ? UNIT_BYTES_MIN : granule;
}

/** Units `index` to `index + count - 1`, one behind the other; there are 16. */
export function unit(s: Session, index: number, count = 1): Unit {
  const bytes = unitBytes(s);
  const virtStart = s.page(0) + BigInt(index) * bytes;
  return { virtStart, virtEnd: virtStart + BigInt(count) * bytes - 1n };
}

/** Fresh, zeroed memory of so many units: the guest-physical address, a multiple of the granule and of 4096. */
export function memory(s: Session, count = 1): bigint {
  const bytes = Number(unitBytes(s)) * count;
  const at = s.arena.allocate(bytes, s.granule < 4096n ? 4096n : s.granule);
  writeBytes(s.target.memory, at, new Uint8Array(bytes));
  return at;
}

/** Sends a MAP for one unit. */
export function mapUnit(
  s: Session,
  domain: number,
  index: number,
  physStart: bigint,
  more: Partial<MapFields> = {},
): Answer {
  return s.map({ domain, ...unit(s, index), physStart, ...more });
}

/** Maps one unit to fresh memory, which must succeed, and returns where that is. */
export function mappedUnit(
  s: Session,
  domain: number,
  index: number,
  more: Partial<MapFields> = {},
): bigint {
  const physStart = more.physStart ?? memory(s);
  s.setUp(mapUnit(s, domain, index, physStart, more));
  return physStart;
}

/** Says what becomes of endpoints that are attached to nothing. Without the field they have no access. */
export function setBypass(s: Session, on: boolean): void {
  if (!s.offers(IommuFeature.BYPASS_CONFIG)) {
    if (on) s.skip('the device does not offer BYPASS_CONFIG');
    return;
  }
  s.config.bypass = on ? 1 : 0;
  if (s.config.bypass !== (on ? 1 : 0)) s.skip(`bypass cannot be set to ${on ? 1 : 0}`);
}

/** Lets the device do all it might, and returns when that is certainly over. */
export function settle({ target }: Session): void {
  target.wait(() => false, target.quietMs);
}
