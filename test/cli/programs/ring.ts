/** Says which format the queues have, once they have worked. */

import { VirtioFeature } from '@viommu/common';
import { allocPaging, attach } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';

export default function ring({ driver }: GuestContext): boolean {
  const endpoint = driver.probeDevice([8]);
  attach(allocPaging(endpoint), endpoint);
  return driver.has(VirtioFeature.RING_PACKED);
}
