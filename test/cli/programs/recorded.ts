/** A guest program whose recording needs version 1 only: nothing is refused. */

import { type GuestPhysical, PAGE_SIZE, iova, pageOf } from '@viommu/common';
import { Protection, allocPaging, attach, iotlbSyncMap, mapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';

export default function recorded(context: GuestContext): void {
  const { driver, memory } = context;
  const endpoint = driver.probeDevice([8], 'engine');
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const address: GuestPhysical = memory.allocate(2 * PAGE_SIZE);
  mapPages(domain, 0x10, pageOf(address), 2, Protection.READ | Protection.WRITE);
  iotlbSyncMap(domain, 0x10, 2);
  const result = context
    .copyEngine('engine')
    .copy({ from: iova(0x1_0000n), to: iova(0x1_1000n), length: 16 });
  if (!result.ok) throw new Error('the copy was refused');
  driver.remove();
}
