/** Sections "IOMMU Device / MAP request" and "/ UNMAP request". */

import { ADDRESS_MAX, IommuFeature, MapFlag, Status } from '@viommu/common';
import type { Map, Unmap } from './request.ts';
import type { Change, Domain, State } from './state.ts';
import type { Judgement } from './judgement.ts';

const ALL_FLAGS = MapFlag.READ | MapFlag.WRITE | MapFlag.MMIO;
const ACCESS_FLAGS = MapFlag.READ | MapFlag.WRITE;

/** Makes a range of addresses stand for a physical one. */
export function map(state: State, request: Map, judgement: Judgement): void {
  const { start, last, phys, domain: domainId } = request;
  const flags = mapFlags(state, request.flags, judgement);
  const inverted = last < start;
  if (inverted) judgement.end(Status[judgement.ask('mapInverted')], 'mapInverted');
  else mapRange(state, request, judgement);

  const domain = state.domains.get(domainId);
  // iommu.dev.map.domain-missing
  if (domain === undefined) judgement.end(Status[judgement.ask('mapNoDomain')], 'mapNoDomain');
  // iommu.dev.map.bypass-domain
  else if (domain.bypass)
    judgement.end(Status[judgement.ask('mapBypassDomain')], 'mapBypassDomain');

  // iommu.dev.map.unaligned. One after the last address of all is 0, which is aligned.
  const aligned = ((start | phys | (last + 1n)) & state.granuleMask) === 0n;
  if (!aligned) judgement.endUnlessServed('mapUnaligned');

  if (inverted || domain === undefined || domain.bypass) return;
  // iommu.dev.resv.map-overlap-rejected
  if (state.isReserved(domain, start, last)) judgement.endUnlessServed('mapReserved');
  // iommu.dev.map.overlap
  if (domain.mappings.touches(start, last))
    judgement.end(Status[judgement.ask('mapOverlap')], 'mapOverlap');
  if (isFull(state, domain)) judgement.end(Status.NOMEM, 'limits');
  judgement.endUnlessServed('resources');
  judgement.changes = [{ kind: 'map', domain: domainId, mapping: { start, last, phys, flags } }];
}

/** Judges the flags, and returns those that the mapping has. */
function mapFlags(state: State, flags: number, judgement: Judgement): number {
  const mmio = (flags & MapFlag.MMIO) !== 0;
  if ((flags & ~ALL_FLAGS) !== 0) judgement.end(Status.INVAL, 'iommu.dev.map.flags-unknown');
  else if (mmio && !state.accepted(IommuFeature.MMIO)) judgement.endUnlessServed('mapMmioFlag');
  const access = flags & ACCESS_FLAGS;
  if (access === 0) judgement.endUnlessServed('mapNoAccess');
  if (access !== MapFlag.WRITE) return flags;
  const writeOnly = judgement.ask('mapWriteOnly'); // iommu.dev.map.write-only-may-read
  if (writeOnly === 'readable') return flags | MapFlag.READ;
  if (writeOnly !== 'exact') judgement.end(Status[writeOnly], 'mapWriteOnly');
  return flags;
}

/** Judges a range that does not end before it starts. */
function mapRange(state: State, { start, last, phys }: Map, judgement: Judgement): void {
  const { inputRange } = state.platform;
  // fact.iommu.input-range-fails
  if (start < inputRange.start || last > inputRange.last) judgement.endUnlessServed('mapOutside');
  if (phys + (last - start) > ADDRESS_MAX) judgement.endUnlessServed('mapPhysOverflow');
  if (last === ADDRESS_MAX) judgement.endUnlessServed('mapToEnd');
  if (last === start && state.granuleMask === 0n) judgement.endUnlessServed('mapByte');
}

function isFull(state: State, domain: Domain): boolean {
  const { mappings, mappingsPerDomain } = state.platform.limits;
  if (domain.mappings.size >= mappingsPerDomain) return true;
  return mappings < Infinity && state.mappings >= mappings;
}

/** Removes the mappings in a range; gaps are fine: iommu.dev.unmap.partial-coverage-ok, 5.1. */
export function unmap(state: State, request: Unmap, judgement: Judgement): void {
  const { start, last, domain: domainId } = request;
  const domain = state.domains.get(domainId);
  const removes = domain !== undefined && !domain.bypass && start <= last;
  const cut = removes ? domain.mappings.firstCut(start, last) : undefined;
  if (removes && cut === undefined)
    judgement.changes = [{ kind: 'unmap', domain: domainId, start, last }];

  if (!request.reservedZero) {
    // iommu.dev.unmap.reserved-nonzero-status, iommu.dev.unmap.reserved-nonzero-may-unmap
    const choice = judgement.ask('unmapReserved');
    if (choice !== 'served')
      judgement.end(
        Status.INVAL,
        'unmapReserved',
        choice === 'unmappedAndINVAL' ? judgement.changes : [],
      );
  }

  if (last < start) judgement.end(Status[judgement.ask('unmapInverted')], 'unmapInverted');
  else if (start === 0n && last === ADDRESS_MAX) judgement.endUnlessServed('unmapEverything');
  else if (start < state.platform.inputRange.start || last > state.platform.inputRange.last)
    judgement.endUnlessServed('unmapOutside');

  // iommu.dev.unmap.domain-missing
  if (domain === undefined) judgement.end(Status[judgement.ask('unmapNoDomain')], 'unmapNoDomain');
  // iommu.dev.unmap.bypass-domain
  else if (domain.bypass)
    judgement.end(Status[judgement.ask('unmapBypassDomain')], 'unmapBypassDomain');

  // iommu.dev.unmap.split-status, iommu.dev.unmap.split-removes-nothing
  if (cut !== undefined) {
    const status = Status[judgement.ask('unmapCut')];
    const before: Change = { kind: 'unmap', domain: domainId, start, last: cut.start - 1n };
    const some = cut.start > start && judgement.ask('unmapCutRemoves') === 'before';
    judgement.end(status, 'unmapCut', some ? [before] : []);
  } else if (((start | (last + 1n)) & state.granuleMask) !== 0n) {
    judgement.endUnlessServed('unmapUnaligned');
  }
}
