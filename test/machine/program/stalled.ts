/** Sends a request to a device that does not answer for longer than the driver waits. */

import { allocPaging, attach, iotlbSyncMap, mapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';

export default function program(context: GuestContext): void {
  const driver = context.startDriver({ timeoutMs: 100 });
  const endpoint = driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  mapPages(domain, 100, 100, 1, 3);
  context.endpoint('stall').port.write(0, 4, 600);
  // Until the host is in its stall: the write is answered before it begins.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  iotlbSyncMap(domain, 100, 1);
}
