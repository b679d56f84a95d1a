/**
 * The choices that the standard leaves to a device, by name.
 *
 * With a value for each of them the model is a function: the same requests always have the same answers. The numbers are
 * those of the list of open points; a `Refusal` stands for "rejected, whatever the status".
 */

import type { Status } from '@viommu/common';

/** The name of a status. */
export type StatusName = keyof typeof Status;

/** A status that is not OK. */
export type Refusal = Exclude<StatusName, 'OK'>;

/** How a device may differ from others and still conform. */
export interface Choices {
  // Completion.
  /**
   * 1.1: what comes back with a refusal. The status and its exact length; the status, and the length of the whole
   * writable part; nothing at all; or the status in the buffer, but length 0.
   */
  readonly rejectedLength: 'exact' | 'full' | 'none' | 'zero';
  /** 1.4: a known type, but not all of its bytes. */
  readonly shortRequest: Refusal | 'untouched';
  /** 1.5: fewer bytes than a head has. */
  readonly noHead: 'untouched' | 'needsReset';
  /** 1.6: no room for a tail. */
  readonly noTail: 'untouched' | 'needsReset';
  /** 1.7: whether a request without room for a tail is carried out. */
  readonly noTailEffect: 'none' | 'done';
  /** 1.8: bytes behind the structure. */
  readonly longRequest: 'served' | 'INVAL';
  /** 1.9: where the tail stands in more room than it needs. */
  readonly longTail: 'start' | 'end';
  /** 1.11: a type that nobody knows. */
  readonly unknownType: 'untouched' | 'UNSUPP';
  /** 1.12: MAP, UNMAP or PROBE without their feature accepted. */
  readonly unnegotiatedType: Refusal | 'untouched' | 'served';
  /** PROBE of a device that does not offer it. */
  readonly unofferedProbe: Refusal | 'untouched';

  /** 2.5, 4.15: one more domain or mapping, below the limits that the model was told of. */
  readonly resources: 'served' | 'NOMEM';

  // ATTACH.
  /** 2.1: an endpoint that is in that domain already; `renewed` is DETACH and then ATTACH. */
  readonly attachAgain: 'nothing' | 'renewed' | 'UNSUPP';
  /** 2.2: whether an endpoint keeps its domain if its move is refused for the other kind of domain. */
  readonly refusedMove: 'stays' | 'detached';
  /** 2.3: a domain outside the range. */
  readonly attachOutside: Refusal | 'served';
  /** 2.6: the BYPASS flag without BYPASS_CONFIG accepted. */
  readonly attachBypassFlag: 'INVAL' | 'served';
  /** The BYPASS flag differs from the kind of the domain. */
  readonly attachMismatch: Refusal;
  /** 2.7: the same, but the domain has no endpoint other than this one. */
  readonly attachMismatchAlone: Refusal | 'served';
  /** 2.8: mappings of the domain touch a reserved region of the endpoint. */
  readonly attachReserved: 'UNSUPP' | 'served';
  /** A second endpoint in a domain. */
  readonly sharing: 'served' | 'UNSUPP';
  /** An endpoint of one domain into another. */
  readonly moving: 'served' | 'UNSUPP';

  // DETACH.
  /** 3.1: the endpoint is in another domain. OK may or may not detach it. */
  readonly detachWrong: 'INVAL' | 'detached' | 'nothing';
  /** 3.2: the endpoint is in no domain. */
  readonly detachUnattached: 'INVAL' | 'OK' | 'NOENT';
  /** 3.3: out of a domain with other endpoints. */
  readonly detachShared: 'served' | 'UNSUPP';

  // MAP.
  /** 4.1: a range up to the last address of all. */
  readonly mapToEnd: 'served' | 'RANGE' | 'DEVERR' | 'NOMEM';
  /** 4.2: the end before the start. OK maps nothing. */
  readonly mapInverted: StatusName;
  /** 4.3: one byte, where the granule is one byte. */
  readonly mapByte: Refusal | 'served';
  /** 4.4: neither READ nor WRITE. */
  readonly mapNoAccess: 'served' | 'INVAL' | 'UNSUPP';
  /** 4.5: WRITE without READ. */
  readonly mapWriteOnly: 'exact' | 'readable' | 'INVAL' | 'UNSUPP';
  /** 4.7: the MMIO flag without its feature accepted. */
  readonly mapMmioFlag: 'INVAL' | 'served';
  /** 4.8: outside the input range. */
  readonly mapOutside: Refusal | 'served';
  /** 4.9: a physical range beyond 64 bits. */
  readonly mapPhysOverflow: Refusal | 'served';
  /** 4.11: a reserved region of an endpoint of the domain. */
  readonly mapReserved: Refusal | 'served';
  /** A start, an end or a physical address off the granule. */
  readonly mapUnaligned: Refusal | 'served';
  /** 4.13: a mapping in the range. */
  readonly mapOverlap: Refusal;
  readonly mapNoDomain: Refusal;
  readonly mapBypassDomain: Refusal;

  // UNMAP.
  /** 5.2: the end before the start. Nothing is removed. */
  readonly unmapInverted: StatusName;
  /** 5.3: a range off the granule that cuts nothing. */
  readonly unmapUnaligned: 'served' | 'RANGE';
  /** 5.4: outside the input range. */
  readonly unmapOutside: 'served' | 'RANGE';
  /** 5.5: the range of all addresses. */
  readonly unmapEverything: 'served' | 'RANGE';
  /** A mapping that would be cut. */
  readonly unmapCut: Refusal;
  /** 5.6: what a refused cut removes: nothing, or what lies before the first mapping that it cuts. */
  readonly unmapCutRemoves: 'nothing' | 'before';
  /** 5.7: reserved bytes that are not zero. */
  readonly unmapReserved: 'served' | 'INVAL' | 'unmappedAndINVAL';
  readonly unmapNoDomain: Refusal;
  readonly unmapBypassDomain: Refusal;

  // PROBE.
  /** 6.1: where the status stands if there is too little room; `start` is at the first byte, length 4. */
  readonly probeShort: 'end' | 'start' | 'untouched';
  /** The status of it. */
  readonly probeShortStatus: Refusal;
  /** 6.2: where the tail stands if there is too much room. */
  readonly probeLong: 'structure' | 'end';
  /** 6.3: what is in place of properties if the request is refused. */
  readonly probeRefusedArea: 'zeroed' | 'untouched';
  readonly probeNoEndpoint: Refusal;

  // Bypass, configuration and reset.
  /** 7.1: `bypass` at a device reset. */
  readonly resetBypass: 'kept' | 'initial';
  /** 7.4: a write to `bypass` without the feature accepted. */
  readonly bypassUnaccepted: 'ignored' | 'taken' | 'needsReset';
  /** 7.5: a value other than 0 and 1. */
  readonly bypassValue: 'ignored' | 'lowBit' | 'needsReset';
  /** 7.7: a write of another width that covers `bypass`. */
  readonly bypassWidth: 'ignored' | 'taken';
  /** 7.10: domains and mappings at a device reset. */
  readonly resetState: 'dropped' | 'kept';

  // Faults.
  /** 6.12: a write into a region for interrupts. */
  readonly interruptWrite: 'interrupt' | 'fault';
  /** 8.1: whether faults are reported. */
  readonly faultReport: 'always' | 'never';
  /** 8.2: a record that finds no buffer. */
  readonly faultUnbuffered: 'dropped' | 'waits';
  /** 8.4: a buffer below 24 bytes. */
  readonly shortBuffer: 'returned' | 'lost' | 'needsReset';
  /** 8.7: when the record says READ or WRITE. */
  readonly faultAccess: 'always' | 'permission' | 'never';
  /** 8.8: the first byte that cannot be accessed, or the first of the access; or it is left out. */
  readonly faultAddress: 'byte' | 'access' | 'absent';
  /** 8.9: the reason of a missing permission. */
  readonly faultPermission: 'MAPPING' | 'UNKNOWN';
  /** 8.10: the reason if the endpoint is in no domain. */
  readonly faultUnattached: 'DOMAIN' | 'UNKNOWN';
  /** The reason of an access to a reserved region. */
  readonly faultReserved: 'MAPPING' | 'UNKNOWN';
}

/** The name of a choice. */
export type ChoiceName = keyof Choices;
