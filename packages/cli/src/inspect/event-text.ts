/** One event of a stream in words. */

import {
  AttachFlag,
  FaultReason,
  MapFlag,
  ReservedMemoryType,
  type RefusedRequest,
  type StreamAccess,
  type StreamEvent,
  formatFlags,
  formatStatus,
} from '@viommu/common';
import { featureNames } from '../features.ts';
import { formatAddress, formatBytes, formatRange } from '../output.ts';

/** What happened, in one line: what it was, who took part, what came of it. */
export function eventText(event: StreamEvent): string {
  switch (event.kind) {
    case 'features':
      return `features ${featureNames(event.bits).join(' ')}`;
    case 'config':
      return (
        `configuration page_size_mask ${formatAddress(event.pageSizeMask)}` +
        ` input ${formatRange(event.inputStart, event.inputLast)}` +
        ` domains ${event.domainFirst}-${event.domainLast}` +
        ` probe_size ${event.probeSize} bypass ${event.bypass}`
      );
    case 'probe':
      return `PROBE endpoint ${event.endpoint} has ${regionText(event)}`;
    case 'probe-empty':
      return `PROBE endpoint ${event.endpoint} has no reserved region`;
    case 'attach':
    case 'detach':
    case 'map':
      return requestText(event);
    case 'unmap': {
      const removed = event.removed.map(({ start, last }) => formatRange(start, last));
      return `${requestText(event)} removed ${removed.length === 0 ? 'nothing' : removed.join(' ')}`;
    }
    case 'refused':
      return `${requestText(event.request)} refused: ${formatStatus(event.status)}`;
    case 'access':
      return (
        `access endpoint ${event.endpoint} ${ACCESS_NAMES[event.access]} ${formatAddress(event.address)}` +
        (event.result === '=' ? ' passed untranslated' : ` -> ${formatAddress(event.result)}`)
      );
    case 'fault':
      return (
        `access endpoint ${event.endpoint} ${ACCESS_NAMES[event.access]} ${formatAddress(event.address)}` +
        ` refused: ${faultReasonText(event.reason)}`
      );
    case 'device-reset':
      return 'device reset by the driver';
    case 'system-reset':
      return 'system reset';
    case 'bypass':
      return `bypass set to ${event.value}`;
    case 'notify':
      return `notification of queue ${event.queue}`;
  }
}

/** A request as it was asked, without the answer. */
export function requestText(request: RefusedRequest): string {
  switch (request.kind) {
    case 'probe':
      return `PROBE endpoint ${request.endpoint}`;
    case 'attach':
      return (
        `ATTACH endpoint ${request.endpoint} to domain ${request.domain}` +
        (request.flags === 0 ? '' : ` ${formatFlags(AttachFlag, request.flags)}`)
      );
    case 'detach':
      return `DETACH endpoint ${request.endpoint} from domain ${request.domain}`;
    case 'map': {
      const size = request.virtLast - request.virtStart + 1n;
      return (
        `MAP domain ${request.domain} ${formatRange(request.virtStart, request.virtLast)}` +
        ` -> ${formatAddress(request.physStart)} ${formatFlags(MapFlag, request.flags)}` +
        (size > 0n ? ` (${formatBytes(size)})` : '')
      );
    }
    case 'unmap':
      return `UNMAP domain ${request.domain} ${formatRange(request.virtStart, request.virtLast)}`;
  }
}

/** A reserved region with its type. */
export function regionText(region: { subtype: number; start: bigint; last: bigint }): string {
  const type =
    region.subtype === ReservedMemoryType.MSI
      ? 'an MSI region'
      : region.subtype === ReservedMemoryType.RESERVED
        ? 'a reserved region'
        : `a region of subtype ${region.subtype}`;
  return `${type} at ${formatRange(region.start, region.last)}`;
}

/** Why an access was refused. */
export function faultReasonText(reason: number): string {
  switch (reason) {
    case FaultReason.UNKNOWN:
      return 'no reason given';
    case FaultReason.DOMAIN:
      return 'not attached to a domain (DOMAIN)';
    case FaultReason.MAPPING:
      return 'no mapping that allows it (MAPPING)';
    default:
      return `reason ${reason}`;
  }
}

/** Accesses by what they ask for. */
export const ACCESS_NAMES: Readonly<Record<StreamAccess, string>> = {
  r: 'read',
  w: 'write',
  rw: 'read-write',
};
