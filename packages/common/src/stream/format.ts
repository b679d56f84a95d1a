/** Events as lines of a `viommu-stream`; the inverse of `StreamParser`. */

import type { RefusedRequest, StreamEvent, StreamVersion } from './event.ts';

/** What the header line says before the version number. */
export const STREAM_MAGIC = '# viommu-stream ';

/** The first line of every stream, without its line end. */
export function streamHeader(version: StreamVersion): string {
  return `${STREAM_MAGIC}${version}`;
}

/** The line of an event, without its line end. The caller sees to it that the header's version has such a line. */
export function formatStreamEvent(event: StreamEvent): string {
  switch (event.kind) {
    case 'features':
      return `F ${hex(event.bits)}`;
    case 'config':
      return (
        `C ${hex(event.pageSizeMask)} ${hex(event.inputStart)} ${hex(event.inputLast)}` +
        ` ${hex(event.domainFirst)} ${hex(event.domainLast)} ${hex(event.probeSize)} ${hex(event.bypass)}`
      );
    case 'probe':
      return `P ${event.endpoint} ${event.subtype} ${hex(event.start)} ${hex(event.last)}`;
    case 'probe-empty':
      return `E ${event.endpoint}`;
    case 'attach':
    case 'detach':
    case 'map':
      return formatRequest(event);
    case 'unmap': {
      let line = formatRequest(event);
      for (const { start, last } of event.removed) line += ` ${hex(start)}-${hex(last)}`;
      return line;
    }
    case 'access': {
      const result = event.result === '=' ? '=' : hex(event.result);
      return `T ${event.endpoint} ${hex(event.address)} ${event.access} ${result}`;
    }
    case 'refused':
      return `R ${event.status} ${formatRequest(event.request)}`;
    case 'fault':
      return `X ${event.endpoint} ${hex(event.address)} ${event.access} ${event.reason}`;
    case 'device-reset':
      return 'Z device';
    case 'system-reset':
      return 'Z system';
    case 'bypass':
      return `B ${event.value}`;
    case 'notify':
      return `K ${event.queue}`;
  }
}

function formatRequest(request: RefusedRequest): string {
  switch (request.kind) {
    case 'probe':
      return `P ${request.endpoint}`;
    case 'attach':
      return `A ${request.domain} ${request.endpoint} ${request.flags}`;
    case 'detach':
      return `D ${request.domain} ${request.endpoint}`;
    case 'map':
      return (
        `M ${request.domain} ${hex(request.virtStart)} ${hex(request.virtLast)}` +
        ` ${hex(request.physStart)} ${request.flags}`
      );
    case 'unmap':
      return `U ${request.domain} ${hex(request.virtStart)} ${hex(request.virtLast)}`;
  }
}

function hex(value: bigint | number): string {
  return value.toString(16);
}
