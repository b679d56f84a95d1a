/** Section "IOMMU Device / DETACH request". */

import { Status } from '@viommu/common';
import type { IommuState } from './state.ts';

/** Takes an endpoint out of the domain it is attached to. */
export function detach(state: IommuState, domain: number, endpointId: number): Status {
  const endpoint = state.endpoints.get(endpointId);
  if (endpoint === undefined) return Status.NOENT; // iommu.dev.detach.endpoint-missing
  const from = endpoint.domain;
  // iommu.dev.detach.wrong-domain; 3.1, 3.2: also if it is attached nowhere.
  if (from === undefined || from.id !== domain) return Status.INVAL;
  state.leave(endpoint, from);
  return Status.OK;
}
