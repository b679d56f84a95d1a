/** ATTACH and DETACH as other devices do them. */

import {
  AttachFlag,
  AttachRequest,
  DetachRequest,
  IommuFeature,
  Status,
  hasFeature,
} from '@viommu/common';
import type { Iommu } from '../core/iommu.ts';
import { handle } from '../request.ts';
import type { Habits } from './habit.ts';

/** Does the ATTACH at the start of `view`. */
export function attach(iommu: Iommu, habits: Habits, view: DataView): number {
  const { offset, size } = AttachRequest;
  const domain = view.getUint32(offset.domain, true);
  const endpoint = view.getUint32(offset.endpoint, true);
  const flags = view.getUint32(offset.flags, true);
  const from = iommu.domainOf(endpoint);
  const exists = iommu.endpoints.some((id) => id === endpoint);
  const others = endpointsOf(iommu, domain).filter((id) => id !== endpoint);
  if (from !== undefined && from !== domain && habits.moving !== undefined) return Status.UNSUPP;
  if (from !== domain && exists && others.length > 0 && habits.sharing !== undefined)
    return Status.UNSUPP;

  const status = handle(iommu, view, 0, size);
  if (from === undefined) return status;
  if (status === Status.OK && from === domain) {
    if (habits.attachAgain === 'UNSUPP') return Status.UNSUPP;
    if (habits.attachAgain === 'renewed') return renew(iommu, from, domain, endpoint, flags);
  }
  if (status !== Status.INVAL || !isPlain(iommu, view)) return status;
  // The flags are fine, so it was the kind of the domain.
  if (from === domain && others.length === 0) {
    if (habits.attachMismatchAlone === 'served') return renew(iommu, from, domain, endpoint, flags);
  }
  if (habits.refusedMove === 'detached') iommu.detach(from, endpoint);
  return status;
}

/** Does the DETACH at the start of `view`. */
export function detach(iommu: Iommu, habits: Habits, view: DataView): number {
  const { offset, size } = DetachRequest;
  const domain = view.getUint32(offset.domain, true);
  const endpoint = view.getUint32(offset.endpoint, true);
  const from = iommu.domainOf(endpoint);
  if (from === undefined) {
    const status = handle(iommu, view, 0, size);
    // There is no such endpoint, or else it is in no domain.
    if (status === Status.INVAL && habits.detachUnattached !== undefined)
      return Status[habits.detachUnattached];
    return status;
  }
  if (habits.detachShared !== undefined && endpointsOf(iommu, from).length > 1)
    return Status.UNSUPP;
  if (from === domain || habits.detachWrong === undefined) return handle(iommu, view, 0, size);
  return habits.detachWrong === 'nothing' ? Status.OK : iommu.detach(from, endpoint);
}

function renew(
  iommu: Iommu,
  from: number,
  domain: number,
  endpoint: number,
  flags: number,
): number {
  iommu.detach(from, endpoint);
  return iommu.attach(domain, endpoint, flags);
}

/** True if nothing is wrong with the flags and the reserved bytes. */
function isPlain(iommu: Iommu, view: DataView): boolean {
  const { offset } = AttachRequest;
  const known = hasFeature(iommu.features, IommuFeature.BYPASS_CONFIG) ? AttachFlag.BYPASS : 0;
  const flags = view.getUint32(offset.flags, true);
  return (flags & ~known) === 0 && view.getUint32(offset.reserved1, true) === 0;
}

function endpointsOf(iommu: Iommu, domain: number): readonly number[] {
  return iommu.endpoints.filter((id) => iommu.domainOf(id) === domain);
}
