/** Section "IOMMU Device / ATTACH request". */

import { AttachFlag, Status } from '@viommu/common';
import type { IommuState } from './state.ts';

/** Puts an endpoint into a domain, out of another one if need be. Everything is checked first (2.2). */
export function attach(
  state: IommuState,
  domain: number,
  endpointId: number,
  flags: number,
): Status {
  // iommu.dev.attach.flags-unknown; 2.6: the flag is known once the feature is negotiated.
  const known = state.bypassConfig ? AttachFlag.BYPASS : 0;
  if ((flags & ~known) !== 0) return Status.INVAL;
  const bypass = (flags & AttachFlag.BYPASS) !== 0;

  const { first, last } = state.domainRange;
  if (domain < first || domain > last) return Status.RANGE; // 2.3

  const endpoint = state.endpoints.get(endpointId);
  if (endpoint === undefined) return Status.NOENT; // iommu.dev.attach.endpoint-missing

  const from = endpoint.domain;
  const to = state.domains.get(domain);
  if (to === undefined) {
    // A domain that this move ends makes room for the new one.
    const ending = from !== undefined && from.endpoints.size === 1 ? 1 : 0;
    if (state.domains.size - ending >= state.limits.domains) return Status.NOMEM;
  } else {
    if (to.bypass !== bypass) return Status.INVAL; // iommu.dev.attach.bypass-flag-mismatch, 2.7
    if (to === from) return Status.OK; // 2.1: nothing changes.
    if (to.conflictsWith(endpoint)) return Status.UNSUPP; // 2.8, iommu.dev.attach.incompatible-properties
  }

  // iommu.dev.attach.move-acts-like-detach
  if (from !== undefined) state.leave(endpoint, from);
  state.enter(endpoint, domain, bypass);
  return Status.OK;
}
