/**
 * What a `viommu-stream` tells: one event for each line that is no comment. `docs/stream-format.md` of this package
 * has the lines letter by letter.
 *
 * Requests and accesses stand in the order in which the device handled them, with the answer it gave.
 */

import type { DomainId, EndpointId, GuestPhysical, Iova } from '../address.ts';
import type { Range } from '../range.ts';

/** A version of the format. Version 1 holds successes only; version 2 has everything of version 1. */
export type StreamVersion = 1 | 2;

/** The highest version that is read and written. */
export const STREAM_VERSION_MAX: StreamVersion = 2;

/** What an access asks for: to read, to write, or both in one. */
export type StreamAccess = 'r' | 'w' | 'rw';

/** The feature bits that the device offered, its transport's included; 64 bits. */
export interface FeaturesEvent {
  readonly kind: 'features';
  readonly bits: bigint;
}

/** The device's configuration space at the start; range ends are inclusive. */
export interface ConfigEvent {
  readonly kind: 'config';
  readonly pageSizeMask: bigint;
  readonly inputStart: bigint;
  readonly inputLast: bigint;
  readonly domainFirst: number;
  readonly domainLast: number;
  readonly probeSize: number;
  readonly bypass: number;
}

/** A PROBE returned this reserved region. A PROBE that returned several gives one event for each. */
export interface ProbeEvent {
  readonly kind: 'probe';
  readonly endpoint: EndpointId;
  /** `subtype` of the property, 0..255: a value of `ReservedMemoryType`, if the device is right. */
  readonly subtype: number;
  readonly start: bigint;
  readonly last: bigint;
}

/** A PROBE succeeded and returned no reserved region. Version 2. */
export interface ProbeEmptyEvent {
  readonly kind: 'probe-empty';
  readonly endpoint: EndpointId;
}

/** An ATTACH that succeeded. */
export interface AttachEvent {
  readonly kind: 'attach';
  readonly domain: DomainId;
  readonly endpoint: EndpointId;
  /** Bits of `AttachFlag`. */
  readonly flags: number;
}

/** A DETACH that succeeded. */
export interface DetachEvent {
  readonly kind: 'detach';
  readonly domain: DomainId;
  readonly endpoint: EndpointId;
}

/** A MAP that succeeded. */
export interface MapEvent {
  readonly kind: 'map';
  readonly domain: DomainId;
  readonly virtStart: Iova;
  readonly virtLast: Iova;
  readonly physStart: GuestPhysical;
  /** Bits of `MapFlag`. */
  readonly flags: number;
}

/** An UNMAP that succeeded, with the mappings it removed: a set, in no order that means anything. */
export interface UnmapEvent {
  readonly kind: 'unmap';
  readonly domain: DomainId;
  readonly virtStart: Iova;
  readonly virtLast: Iova;
  readonly removed: readonly Range<Iova>[];
}

/** An access that went through. */
export interface AccessEvent {
  readonly kind: 'access';
  readonly endpoint: EndpointId;
  readonly address: Iova;
  readonly access: StreamAccess;
  /** Where `address` led, or `=` if it passed untranslated, as an interrupt message does. */
  readonly result: GuestPhysical | '=';
}

/** The fields of a request that was refused; ends may lie below starts here. */
export type RefusedRequest =
  | (Pick<ProbeEmptyEvent, 'endpoint'> & { readonly kind: 'probe' })
  | AttachEvent
  | DetachEvent
  | MapEvent
  | Omit<UnmapEvent, 'removed'>;

/** A request that got a status other than OK. Version 2. */
export interface RefusedEvent {
  readonly kind: 'refused';
  /** 1..255: a value of `Status`, if the device is right. */
  readonly status: number;
  readonly request: RefusedRequest;
}

/** An access that was refused. Version 2. */
export interface FaultEvent {
  readonly kind: 'fault';
  readonly endpoint: EndpointId;
  /** The address that could not be translated. */
  readonly address: Iova;
  readonly access: StreamAccess;
  /** 0..255: a value of `FaultReason`, if the device is right. */
  readonly reason: number;
}

/** The driver reset the device: attachments, domains and mappings are gone. Version 2. */
export interface DeviceResetEvent {
  readonly kind: 'device-reset';
}

/** The machine was reset: `bypass` has its first value again as well. Version 2. */
export interface SystemResetEvent {
  readonly kind: 'system-reset';
}

/** The driver wrote `bypass` in the configuration space. Version 2. */
export interface BypassEvent {
  readonly kind: 'bypass';
  /** The byte as written, 0..255. */
  readonly value: number;
}

/** The driver notified the device of new buffers. Version 2. */
export interface NotifyEvent {
  readonly kind: 'notify';
  /** The number of the queue, 0..65535. */
  readonly queue: number;
}

/** One line of a stream, understood. */
export type StreamEvent =
  | FeaturesEvent
  | ConfigEvent
  | ProbeEvent
  | ProbeEmptyEvent
  | AttachEvent
  | DetachEvent
  | MapEvent
  | UnmapEvent
  | AccessEvent
  | RefusedEvent
  | FaultEvent
  | DeviceResetEvent
  | SystemResetEvent
  | BypassEvent
  | NotifyEvent;

/** The lowest version of the format that has a line for `event`. */
export function streamVersionOf(event: StreamEvent): StreamVersion {
  switch (event.kind) {
    case 'features':
    case 'config':
    case 'probe':
    case 'attach':
    case 'detach':
    case 'map':
    case 'unmap':
    case 'access':
      return 1;
    case 'probe-empty':
    case 'refused':
    case 'fault':
    case 'device-reset':
    case 'system-reset':
    case 'bypass':
    case 'notify':
      return 2;
  }
}
