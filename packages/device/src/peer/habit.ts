/**
 * Habits of other devices, for driver authors who want to meet them all. Each is allowed, or was seen in a device that is
 * in use; what is not named is done as our device does it.
 */

/** What a device does differently. The names and values are those of the reference model's choices. */
export interface Habits {
  /**
   * A refusal comes back with the length of the whole writable part; not at all (nothing written, length 0); or written,
   * but with length 0, which a driver that trusts only the length takes for nothing, and a careless one for success.
   */
  readonly rejectedLength?: 'full' | 'none' | 'zero';
  /** A known type without all of its bytes is not answered. */
  readonly shortRequest?: 'untouched';
  /** Bytes behind a request make it invalid. */
  readonly longRequest?: 'INVAL';
  /** In too much room the tail stands in the last four bytes. */
  readonly longTail?: 'end';
  /** Types that nobody knows are answered. */
  readonly unknownType?: 'UNSUPP';
  /** MAP and UNMAP are served without their feature, and PROBE if it is offered. */
  readonly unnegotiatedType?: 'served';

  /** ATTACH to the same domain begins anew, which drops the mappings if there is no other endpoint; or it is refused. */
  readonly attachAgain?: 'renewed' | 'UNSUPP';
  /** An endpoint loses its domain if its move is refused because the domain is of the other kind. */
  readonly refusedMove?: 'detached';
  /** A domain changes its kind if its only endpoint asks for it. */
  readonly attachMismatchAlone?: 'served';
  /** The range of domains is not enforced. */
  readonly attachOutside?: 'served';
  /** No domain has two endpoints. */
  readonly sharing?: 'UNSUPP';
  /** No endpoint moves between domains without a DETACH. */
  readonly moving?: 'UNSUPP';

  /** DETACH does not look at the domain; or it says OK to another one and does nothing. */
  readonly detachWrong?: 'detached' | 'nothing';
  /** What DETACH of an unattached endpoint gets. */
  readonly detachUnattached?: 'OK' | 'NOENT';
  /** No endpoint leaves a domain that has another. */
  readonly detachShared?: 'UNSUPP';

  /** Mappings need not be whole granules. */
  readonly mapUnaligned?: 'served';
  /** The input range is not enforced. */
  readonly mapOutside?: 'served';
  /** A range that ends before it starts. */
  readonly mapInverted?: 'RANGE';
  /** A mapping with the last address of all. */
  readonly mapToEnd?: 'RANGE' | 'DEVERR' | 'NOMEM';
  /** A mapping that gives no access. */
  readonly mapNoAccess?: 'INVAL' | 'UNSUPP';
  /** Write-only mappings can be read; or there are none. */
  readonly mapWriteOnly?: 'readable' | 'INVAL' | 'UNSUPP';

  /** A range that ends before it starts. */
  readonly unmapInverted?: 'RANGE' | 'OK';
  /** UNMAP of all addresses. */
  readonly unmapEverything?: 'RANGE';
  /** UNMAP beyond the input range. */
  readonly unmapOutside?: 'RANGE';
  /** What lies before a mapping that would be cut is gone when the request is refused. */
  readonly unmapCutRemoves?: 'before';
  /** Reserved bytes that are not zero. */
  readonly unmapReserved?: 'INVAL' | 'unmappedAndINVAL';

  /** Too little room for a PROBE: a tail at the start of it, or no answer. */
  readonly probeShort?: 'start' | 'untouched';
  /** Too much room for a PROBE: the tail in the last four bytes. */
  readonly probeLong?: 'end';
  /** No zeros in place of properties if a PROBE is refused. */
  readonly probeRefusedArea?: 'untouched';

  /** Domains and mappings outlive a device reset. */
  readonly resetState?: 'kept';
  /** A device reset sets `bypass` back, if the driver accepted its feature. */
  readonly resetBypass?: 'initial';
  /** Of what is written to `bypass` the lowest bit counts. */
  readonly bypassValue?: 'lowBit';

  /** Faults are not reported. */
  readonly faultReport?: 'never';
  /** Records say READ or WRITE for missing permissions only, or never. */
  readonly faultAccess?: 'permission' | 'never';
  /** Records have no address. */
  readonly faultAddress?: 'absent';
  /** The reason if the endpoint is in no domain. */
  readonly faultUnattached?: 'UNKNOWN';
  /** The reason of a missing permission. */
  readonly faultPermission?: 'UNKNOWN';
}

/**
 * Habits of devices in use, as measured or read, versions and all. Others of the same name may differ. A habit that keeps
 * endpoints from being isolated is in nobody's list: `SECURITY.md`.
 */
export const PEERS = {
  /** QEMU 7.2. */
  qemu72: {
    unknownType: 'UNSUPP',
    unnegotiatedType: 'served',
    attachAgain: 'renewed',
    refusedMove: 'detached',
    attachMismatchAlone: 'served',
    attachOutside: 'served',
    mapOutside: 'served',
    unmapInverted: 'RANGE',
    unmapCutRemoves: 'before',
    faultAccess: 'permission',
  },
  /** QEMU 11.1. */
  qemu111: {
    unknownType: 'UNSUPP',
    unnegotiatedType: 'served',
    attachAgain: 'renewed',
    refusedMove: 'detached',
    attachMismatchAlone: 'served',
    attachOutside: 'served',
    detachUnattached: 'NOENT',
    mapOutside: 'served',
    unmapCutRemoves: 'before',
    probeShort: 'start',
    faultAccess: 'permission',
    faultUnattached: 'UNKNOWN',
  },
  /** crosvm, as of August 2026. */
  crosvm: {
    shortRequest: 'untouched',
    unnegotiatedType: 'served',
    attachAgain: 'renewed',
    attachOutside: 'served',
    detachWrong: 'detached',
    detachUnattached: 'OK',
    detachShared: 'UNSUPP',
    mapOutside: 'served',
    probeLong: 'end',
    faultReport: 'never',
  },
  /** Cloud Hypervisor, as of August 2026. */
  cloudHypervisor: {
    rejectedLength: 'zero',
    longRequest: 'INVAL',
    unnegotiatedType: 'served',
    attachOutside: 'served',
    detachWrong: 'detached',
    detachUnattached: 'OK',
    mapInverted: 'RANGE',
    mapToEnd: 'RANGE',
    unmapInverted: 'RANGE',
    unmapEverything: 'RANGE',
    unmapOutside: 'RANGE',
    probeShort: 'untouched',
    bypassValue: 'lowBit',
    faultReport: 'never',
  },
} as const;
