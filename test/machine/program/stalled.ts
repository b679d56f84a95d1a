/** Sends a request to a device that does not answer for longer than the driver waits. */

import { allocPaging, attach, iotlbSyncMap, mapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';

export default function program(context: GuestContext): void {
  const driver = context.startDriver({ timeoutMs: 100 });
  const endpoint = driver.probeDevice({ ids: [8] });
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  mapPages(domain, 100, 100, 1, 3);
  context.endpoint('stall').port.write(0, 4, 600);
  iotlbSyncMap(domain, 100, 1);
}
