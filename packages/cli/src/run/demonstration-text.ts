/** The steps of the demonstration in plain words. */

import type { DemonstrationEvent } from '@viommu/machine';
import { featureNames } from '../features.ts';
import { formatAddress, formatBytes, formatCount, formatNoun, formatRange } from '../output.ts';

/** What a step is called, and what it came to. */
export interface StepText {
  readonly title: string;
  readonly lines: readonly string[];
}

/** One step, as people read it. */
export function stepText(event: DemonstrationEvent): StepText {
  switch (event.step) {
    case 'device':
      return {
        title: 'device',
        lines: [
          `driver and device agree on ${featureNames(event.features).join(', ')}`,
          `pages of ${formatBytes(event.pageSizeBitmap & -event.pageSizeBitmap)} and more,` +
            ` addresses ${formatRange(event.aperture.start, event.aperture.last)}`,
        ],
      };
    case 'probe':
      return {
        title: 'probe',
        lines: [
          `endpoint ${event.endpoint} has ${formatNoun(event.regions.length, 'reserved region')}: ` +
            event.regions
              .map(({ type, start, last }) => `${type} ${formatRange(start, last)}`)
              .join(', '),
        ],
      };
    case 'blocked':
      return {
        title: 'blocked',
        lines: [
          `attached to nothing, endpoint ${event.endpoint} reaches nothing (fault ${event.reason})`,
        ],
      };
    case 'attach':
      return {
        title: 'attach',
        lines: [`endpoint ${event.endpoint} is in domain ${event.domain} now`],
      };
    case 'map':
      return {
        title: 'map',
        lines: [
          `two lists of ${event.pieces} scattered pieces, ${formatBytes(BigInt(event.bytes))} each,` +
            ` lie in one piece at ${formatAddress(event.source)} and ${formatAddress(event.target)}`,
          figures(event),
        ],
      };
    case 'transfer':
      return {
        title: event.direction === 'out' ? 'DMA out' : 'DMA back',
        lines: [
          `the endpoint copied ${formatBytes(BigInt(event.bytes))} through the IOMMU` +
            ` in ${micro(event.microseconds)}, ${rate(event.bytes, event.microseconds)};` +
            ` every byte arrived (checksum ${event.checksum.toString(16).padStart(8, '0')})`,
        ],
      };
    case 'fault':
      return {
        title: 'refused',
        lines: [
          `a ${event.access} at ${formatAddress(event.address)}: ${event.why};` +
            ` the device reported it (fault ${event.reason})`,
        ],
      };
    case 'interrupt':
      return {
        title: 'interrupt',
        lines: [
          `a write of ${formatAddress(BigInt(event.data))} to ${formatAddress(event.address)}` +
            ' went to the interrupt controller and not to memory',
        ],
      };
    case 'unmap':
      return {
        title: 'unmap',
        lines: [
          `${formatBytes(BigInt(event.bytes))} given back; the endpoint reaches none of it any more` +
            ` (fault ${event.reason})`,
          figures(event),
        ],
      };
    case 'speed':
      return {
        title: `batches of ${event.batch}`,
        lines: [
          `${formatCount(event.requests)} MAP and UNMAP in ${event.seconds.toFixed(3)} s:` +
            ` ${formatCount(Math.round(event.requests / event.seconds))} requests/s,` +
            ` ${formatNoun(event.notifications, 'notification')}`,
        ],
      };
  }
}

function figures(event: {
  requests: number;
  notifications: number;
  microseconds?: number;
}): string {
  const time = event.microseconds === undefined ? '' : ` in ${micro(event.microseconds)}`;
  return (
    `${formatNoun(event.requests, 'request')} with` +
    ` ${formatNoun(event.notifications, 'notification')}${time}`
  );
}

function micro(microseconds: number): string {
  return `${formatCount(Math.round(microseconds))} µs`;
}

function rate(bytes: number, microseconds: number): string {
  return `${formatCount(Math.round(bytes / microseconds))} MB/s`;
}
