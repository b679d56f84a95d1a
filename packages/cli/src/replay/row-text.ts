/** Rows of a script in words, for messages. */

import type {
  DomainId,
  EndpointId,
  GuestPhysical,
  Iova,
  RefusedRequest,
  StreamAccess,
} from '@viommu/common';
import { formatStatus } from '@viommu/common';
import { ACCESS_NAMES, faultReasonText, regionText, requestText } from '../inspect/event-text.ts';
import { formatAddress, formatRange } from '../output.ts';
import { AccessBits, NO_REGION, RowKind, type Script, UNTRANSLATED } from './script.ts';

/** What a row asks for, without the answer. */
export function rowText(script: Script, row: number): string {
  const kind = script.kind(row);
  switch (kind) {
    case RowKind.ATTACH:
    case RowKind.DETACH:
    case RowKind.MAP:
    case RowKind.UNMAP:
    case RowKind.PROBE:
      return requestText(requestOf(script, row));
    case RowKind.ACCESS:
    case RowKind.FAULT:
      return `${accessName(script.flags(row))} by endpoint ${script.endpoint(row)} at ${formatAddress(script.start(row))}`;
    case RowKind.RESET:
      return 'reset';
    case RowKind.BYPASS:
      return `bypass set to ${script.flags(row)}`;
  }
}

/** What the recording says came of an access. */
export function recordedOutcomeText(script: Script, row: number): string {
  if (script.kind(row) === RowKind.FAULT) return refusedText(script.status(row));
  if (script.status(row) === UNTRANSLATED) return PASSED_TEXT;
  return formatAddress(script.target(row));
}

/** An access that nothing translated. */
export const PASSED_TEXT = 'passed untranslated';

/** An access that was refused. */
export function refusedText(reason: number): string {
  return `refused, ${faultReasonText(reason)}`;
}

/** An answer to a request. */
export function answerText(status: number): string {
  return `status ${formatStatus(status)}`;
}

/** The mappings that the recording says an UNMAP removed. */
export function recordedRemovalText(script: Script, row: number): string {
  const count = script.removedCount(row);
  const ranges: string[] = [];
  for (let index = 0; index < Math.min(count, REMOVAL_MAX); index += 1)
    ranges.push(formatRange(script.removedStart(row, index), script.removedLast(row, index)));
  return removalText(ranges, count);
}

/** Ranges in a message at most. */
export const REMOVAL_MAX = 4;

/** `count` removed mappings, of which some are shown. */
export function removalText(ranges: readonly string[], count: number): string {
  if (count === 0) return 'removed nothing';
  const rest = count > ranges.length ? ` and ${count - ranges.length} more` : '';
  return `removed ${ranges.join(' ')}${rest}`;
}

/** The region that the recording says a PROBE returned. */
export function recordedRegionText(script: Script, row: number): string {
  if (script.flags(row) === NO_REGION) return 'no reserved region';
  return regionText({
    subtype: script.flags(row),
    start: script.start(row),
    last: script.last(row),
  });
}

function requestOf(script: Script, row: number): RefusedRequest {
  const domain = script.domain(row) as DomainId; // the parser made it
  const endpoint = script.endpoint(row) as EndpointId; // likewise
  const virtStart = script.start(row) as Iova; // likewise
  const virtLast = script.last(row) as Iova; // likewise
  switch (script.kind(row)) {
    case RowKind.ATTACH:
      return { kind: 'attach', domain, endpoint, flags: script.flags(row) };
    case RowKind.DETACH:
      return { kind: 'detach', domain, endpoint };
    case RowKind.MAP: {
      const physStart = script.target(row) as GuestPhysical; // likewise
      return { kind: 'map', domain, virtStart, virtLast, physStart, flags: script.flags(row) };
    }
    case RowKind.UNMAP:
      return { kind: 'unmap', domain, virtStart, virtLast };
    default:
      return { kind: 'probe', endpoint };
  }
}

function accessName(bits: number): string {
  for (const [access, own] of Object.entries(AccessBits))
    if (own === bits) return ACCESS_NAMES[access as StreamAccess]; // the keys are the accesses
  return 'access';
}
