/** Section "IOMMU Device / PROBE request". */

import { Status } from '@viommu/common';
import type { IommuState } from './state.ts';

/** Writes the properties of an endpoint into the first `probe_size` bytes of `into`; the same at any time (6.10). */
export function probe(state: IommuState, endpointId: number, into: Uint8Array): Status {
  // iommu.dev.probe.fill-zero; 6.3: also if there is no such endpoint.
  into.fill(0, 0, state.probeSize);
  const endpoint = state.endpoints.get(endpointId);
  if (endpoint === undefined) return Status.NOENT; // iommu.dev.probe.endpoint-missing
  into.set(endpoint.properties);
  return Status.OK;
}
