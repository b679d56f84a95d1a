/** Accesses of endpoints: sections "IOMMU Device / Device operations" and "/ PROBE properties / RESV_MEM". */

import { ADDRESS_MAX, FaultReason, MapFlag } from '@viommu/common';
import type { ChoiceName, Choices } from './choice.ts';
import type { Region, State } from './state.ts';
import { Judgement } from './judgement.ts';

/** A part of an access that is let through. */
export interface Piece {
  /**
   * `memory` was translated, `identity` was not because of a bypass, and `interrupt` is a write into a region for
   * interrupts, which never reaches memory (6.12).
   */
  readonly kind: 'memory' | 'identity' | 'interrupt';
  /** The guest-physical address; that of the access for an interrupt. */
  readonly address: bigint;
  readonly length: number;
}

/** Why an access is refused. */
export interface Fault {
  readonly reason: FaultReason;
  /** The first byte that cannot be accessed. */
  readonly address: bigint;
  /** True if there is a mapping, but without the permission. */
  readonly permission: boolean;
}

/** What becomes of an access: all of its bytes are let through, or none. */
export interface AccessPrediction {
  /** In the order of its bytes, one for each mapping that it touches. */
  readonly pieces: readonly Piece[];
  readonly fault: Fault | undefined;
  readonly asked: readonly ChoiceName[];
}

/** Predicts an access of `length` bytes from `address` on; `access` are bits of `MapFlag`. Changes nothing. */
export function predictAccess(
  state: State,
  choices: Choices,
  endpointId: number,
  address: bigint,
  length: number,
  access: number,
): AccessPrediction {
  const judgement = new Judgement(choices);
  const { asked } = judgement;
  const pieces: Piece[] = [];
  const refuse = (
    reason: keyof typeof FaultReason,
    at: bigint,
    permission = false,
  ): AccessPrediction => ({
    pieces: [],
    fault: { reason: FaultReason[reason], address: at, permission },
    asked,
  });

  const endpoint = state.endpoints.get(endpointId);
  const last = address + BigInt(length) - 1n;
  // There is no such endpoint, or there are no such addresses: nothing in the standard has a name for that.
  if (endpoint === undefined || last > ADDRESS_MAX) return refuse('UNKNOWN', address);
  const { domain, regions } = endpoint;
  const pass = domain === undefined ? state.unattachedPass : domain.bypass;

  let at = address;
  while (at <= last) {
    const region = regionFrom(regions, at);
    if (region !== undefined && region.start <= at) {
      // 6.7: a region rules in bypass as well. iommu.dev.resv.access-contained
      const doorbell = region.type === 'msi' && access === MapFlag.WRITE;
      if (!doorbell || judgement.ask('interruptWrite') === 'fault')
        return refuse(judgement.ask('faultReserved'), at);
      const end = least(last, region.last);
      pieces.push({ kind: 'interrupt', address: at, length: Number(end - at + 1n) });
      at = end + 1n;
      continue;
    }
    let end = region === undefined ? last : least(last, region.start - 1n);
    if (pass) {
      // fact.iommu.bypass-identity
      pieces.push({ kind: 'identity', address: at, length: Number(end - at + 1n) });
    } else {
      // iommu.dev.req.unattached-no-access
      if (domain === undefined) return refuse(judgement.ask('faultUnattached'), at);
      const mapping = domain.mappings.at(at);
      if (mapping === undefined) return refuse('MAPPING', at);
      // iommu.dev.map.write-needs-flag
      if ((mapping.flags & access) !== access)
        return refuse(judgement.ask('faultPermission'), at, true);
      end = least(end, mapping.last);
      // fact.iommu.translate
      const physical = BigInt.asUintN(64, at - mapping.start + mapping.phys);
      pieces.push({ kind: 'memory', address: physical, length: Number(end - at + 1n) });
    }
    at = end + 1n;
  }
  return { pieces, fault: undefined, asked };
}

/** The lowest region that ends at an address or behind it. */
function regionFrom(regions: readonly Region[], address: bigint): Region | undefined {
  let found: Region | undefined;
  for (const region of regions)
    if (region.last >= address && (found === undefined || region.start < found.start))
      found = region;
  return found;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
